package imapproxy

import (
	"slices"
	"sync"

	"github.com/postseal/postseal/internal/facts"
)

// maxCached bounds the facts that are held in memory, in octets, each with what
// it costs to hold it.
const (
	maxCached  = 32 << 20
	factMemory = 400
)

// A cache holds facts as they are used, of all connections: what is remembered
// does not change, but where the program has.
type cache struct {
	mu    sync.Mutex
	boxes map[facts.Mailbox]map[uint32]*fact
	size  int
}

func (f *fact) memory() int {
	n := factMemory + len(f.verdict)
	for _, v := range f.views {
		n += len(v)
	}
	return n
}

// get fills in the facts of those targets that are held.
func (c *cache) get(box facts.Mailbox, targets []*target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.boxes[box]
	for _, t := range targets {
		if f, ok := held[t.uid]; ok {
			t.fact = f
		}
	}
}

// one returns the fact about a message; nil when it is not held.
func (c *cache) one(box facts.Mailbox, uid uint32) *fact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boxes[box][uid]
}

// plain reports whether all messages are known to have no S/MIME.
func (c *cache) plain(box facts.Mailbox, uids []uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.boxes[box]
	return !slices.ContainsFunc(uids, func(uid uint32) bool { f := held[uid]; return f == nil || !f.plain })
}

// put holds a fact. When there are too many all are forgotten: they come back as
// they are used.
func (c *cache) put(box facts.Mailbox, uid uint32, f *fact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size += f.memory(); c.boxes == nil || c.size > maxCached {
		c.boxes, c.size = make(map[facts.Mailbox]map[uint32]*fact), f.memory()
	}
	if c.boxes[box] == nil {
		c.boxes[box] = make(map[uint32]*fact)
	}
	c.boxes[box][uid] = f
}

// drop forgets facts.
func (c *cache) drop(box facts.Mailbox, uids []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uid := range uids {
		delete(c.boxes[box], uid)
	}
}
