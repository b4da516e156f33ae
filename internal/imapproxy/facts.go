package imapproxy

import (
	"container/list"
	"context"
	"sync"
)

// A Key names a message, for as long as its mailbox keeps its UIDVALIDITY.
type Key struct {
	Account, Mailbox string
	Validity, UID    uint32
}

// A Fact is what was decided of a message the first time that it was looked at.
type Fact struct {
	// Plain says that the message is shown as it is: there is no S/MIME in it.
	Plain bool
	// Opened says that its layers were taken off.
	Opened bool
	// Status is the verdict in a word of RFC 9219.
	Status string
	// Verdict are the header fields of the verdict.
	Verdict []byte
	// Size is that of the rendering, in octets.
	Size int64
}

// Facts remembers. Implementations are safe for concurrent use.
type Facts interface {
	// Get returns what is known of messages of one mailbox; those of which nothing
	// is known are not in the result.
	Get(ctx context.Context, mailbox Key, uids []uint32) (map[uint32]Fact, error)
	// Put remembers a fact, unless there is one already, which is returned then.
	Put(ctx context.Context, key Key, fact Fact) (Fact, error)
}

// maxMemory bounds the facts that a memory keeps.
const maxMemory = 100_000

// memory are Facts that end with the process. The oldest are forgotten when there
// are too many.
type memory struct {
	mu    sync.Mutex
	facts map[Key]*list.Element
	order *list.List // of remembered, the oldest first
}

type remembered struct {
	key  Key
	fact Fact
}

// NewMemory returns Facts that are kept in memory.
func NewMemory() Facts {
	return &memory{facts: make(map[Key]*list.Element), order: list.New()}
}

// Get implements Facts.
func (m *memory) Get(_ context.Context, mailbox Key, uids []uint32) (map[uint32]Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[uint32]Fact)
	for _, uid := range uids {
		mailbox.UID = uid
		if e, ok := m.facts[mailbox]; ok {
			out[uid] = e.Value.(remembered).fact
		}
	}
	return out, nil
}

// Put implements Facts.
func (m *memory) Put(_ context.Context, key Key, fact Fact) (Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.facts[key]; ok {
		return e.Value.(remembered).fact, nil
	}
	m.facts[key] = m.order.PushBack(remembered{key, fact})
	if m.order.Len() > maxMemory {
		oldest := m.order.Remove(m.order.Front()).(remembered)
		delete(m.facts, oldest.key)
	}
	return fact, nil
}
