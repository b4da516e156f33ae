// Package facts remembers what was decided of the messages of mailboxes, so that a
// message is shown tomorrow as it was today: a key that comes later, or trust that
// ends, does not change what a mail client has stored. Store is the interface,
// NewMemory remembers for as long as the process lives, and Open keeps facts in an
// SQLite database.
//
// # Security
//
// A fact is in the clear only as far as it says that a message has no S/MIME. All
// else is sealed by whoever puts it: this package sees octets. Names of accounts
// and mailboxes are in the clear, and Message-IDs are hashed. The file is made for its owner alone, and one
// that others may read or write is refused with ErrExposed, where the operating
// system has file modes.
//
// # Compatibility
//
// The file is an SQLite 3 database in WAL mode, which several processes of one
// machine may use at once. Facts of a mailbox whose UIDVALIDITY has changed are
// forgotten (RFC 3501, Section 2.3.1.1: they are of no message any more).
package facts

import (
	"container/list"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
)

// A Mailbox is one of an account, for as long as it keeps its UIDVALIDITY.
type Mailbox struct {
	Server, Account, Name string
	Validity              uint32
}

// A Fact is what was decided of a message the first time that it was looked at.
type Fact struct {
	// Plain says that the message is shown as it is.
	Plain bool
	// Sealed is what else is to be known of it, encrypted; nil for plain ones. It is
	// not changed.
	Sealed []byte
}

// A Store remembers. Implementations are safe for concurrent use, also by several
// processes where they are shared.
type Store interface {
	// Get returns what is known of messages of a mailbox, by UID; those of which
	// nothing is known are not in the result. The caller owns the map.
	Get(ctx context.Context, mailbox Mailbox, uids []uint32) (map[uint32]Fact, error)
	// Put remembers facts by UID. Where there is one already it stays. The result is
	// what is known of these UIDs afterwards.
	Put(ctx context.Context, mailbox Mailbox, facts map[uint32]Fact) (map[uint32]Fact, error)
	// Forget removes what is known of messages.
	Forget(ctx context.Context, mailbox Mailbox, uids []uint32) error

	// NoteEncrypted remembers the Message-IDs, without angle brackets, of messages
	// that came encrypted to an account, and CameEncrypted tells whether one of
	// these is among them.
	NoteEncrypted(ctx context.Context, account string, messageIDs []string) error
	CameEncrypted(ctx context.Context, account string, messageIDs []string) (bool, error)
}

// A digest stands for a Message-ID of an account.
type digest [sha256.Size]byte

func digestOf(account, messageID string) digest {
	return sha256.Sum256([]byte(account + "\x00" + messageID))
}

// maxMemory bounds the facts that a memory keeps, in octets, each with what it
// costs to keep it.
const (
	maxMemory = 64 << 20
	overhead  = 200
)

// A memory is a Store that ends with the process. What was put or asked for the
// longest time ago is forgotten when there is too much.
type memory struct {
	mu    sync.Mutex
	facts map[Mailbox]map[uint32]*list.Element
	order *list.List // of remembered, the oldest first
	size  int
	came  map[digest]bool
}

type remembered struct {
	mailbox Mailbox
	uid     uint32
	fact    Fact
}

// NewMemory returns a Store that is kept in memory, in at most 64 MiB.
func NewMemory() Store {
	return &memory{facts: make(map[Mailbox]map[uint32]*list.Element), order: list.New(), came: make(map[digest]bool)}
}

// maxCame bounds the Message-IDs that a memory keeps.
const maxCame = 1 << 18

// NoteEncrypted implements Store.
func (m *memory) NoteEncrypted(_ context.Context, account string, messageIDs []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range messageIDs {
		for d := range m.came {
			if len(m.came) < maxCame {
				break
			}
			delete(m.came, d) // any of them
		}
		m.came[digestOf(account, id)] = true
	}
	return nil
}

// CameEncrypted implements Store.
func (m *memory) CameEncrypted(_ context.Context, account string, messageIDs []string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(messageIDs, func(id string) bool { return m.came[digestOf(account, id)] }), nil
}

// Get implements Store.
func (m *memory) Get(_ context.Context, mailbox Mailbox, uids []uint32) (map[uint32]Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[uint32]Fact, len(uids))
	box := m.facts[mailbox]
	for _, uid := range uids {
		if e, ok := box[uid]; ok {
			m.order.MoveToBack(e)
			out[uid] = e.Value.(*remembered).fact
		}
	}
	return out, nil
}

// Put implements Store.
func (m *memory) Put(_ context.Context, mailbox Mailbox, facts map[uint32]Fact) (map[uint32]Fact, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := maps.Clone(facts)
	for uid, fact := range facts {
		if e, ok := m.facts[mailbox][uid]; ok {
			out[uid] = e.Value.(*remembered).fact
			continue
		}
		if m.facts[mailbox] == nil {
			m.facts[mailbox] = make(map[uint32]*list.Element)
		}
		m.facts[mailbox][uid] = m.order.PushBack(&remembered{mailbox, uid, fact})
		m.size += len(fact.Sealed) + overhead
	}
	for m.size > maxMemory {
		m.remove(m.order.Front())
	}
	return out, nil
}

func (m *memory) remove(e *list.Element) {
	r := m.order.Remove(e).(*remembered)
	m.size -= len(r.fact.Sealed) + overhead
	box := m.facts[r.mailbox]
	if delete(box, r.uid); len(box) == 0 {
		delete(m.facts, r.mailbox)
	}
}

// Forget implements Store.
func (m *memory) Forget(_ context.Context, mailbox Mailbox, uids []uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range uids {
		if e, ok := m.facts[mailbox][uid]; ok {
			m.remove(e)
		}
	}
	return nil
}
