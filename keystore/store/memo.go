package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Limits of what is remembered.
const (
	maxMemo      = 1000    // answers
	maxMemoSize  = 8 << 20 // octets of certificates in them
	memoOverhead = 256     // octets that an answer counts for at least
)

// A memo has answers of the database, for as long as nobody has written to it:
// neither this process nor another. It asks SQLite before each use, on a
// connection of its own, since a connection does not see its own writes there
// (PRAGMA data_version); where SQLite would see what it has seen before, it is not
// asked (walIndex).
//
// Private keys are among what it has. They are there no longer than Options.Remember
// after they were read, and not after Close.
type memo struct {
	store *Store
	keep  time.Duration // 0: nothing is remembered

	mu      sync.Mutex
	conn    *sqlite3.Conn // nil until it is needed
	ask     *sqlite3.Stmt
	closed  bool
	index   walIndex
	head    walHead // as it was before SQLite told the version; zero when not known
	version int64   // of the database that answers are of
	answers map[memoKey]any
	size    int
	timer   *time.Timer // ends the time of the answers; nil when there are none
}

// A memoKey names an answer: what was asked, and about what.
type memoKey struct {
	question question
	about    string
}

type question int

const (
	askIdentities question = iota
	askPrivate
	askFound
	askAuthorities
	askDecision
	askNames
)

// remember returns what read returns, or what it has returned before. read tells
// how many octets of certificates are in its answer, which is not changed by
// anybody who gets it.
func remember[T any](ctx context.Context, s *Store, q question, about string, read func() (T, int, error)) (T, error) {
	key := memoKey{q, about}
	before, answer, known := s.memo.recall(ctx, key)
	if answer, ok := answer.(T); ok {
		return answer, nil
	}
	out, size, err := read()
	if err == nil && known {
		s.memo.note(key, out, size, before)
	}
	return out, err
}

// recall returns the version of the database, and an answer or nil. Where the
// version cannot be found out nothing is known.
func (m *memo) recall(ctx context.Context, key memoKey) (version int64, answer any, known bool) {
	if m.keep <= 0 {
		return 0, nil, false
	}
	at, _ := ctx.Value(momentKey{}).(*moment)
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.sees(m) && !m.closed {
		return m.version, m.answers[key], true
	}
	version, ok := m.current()
	if !ok {
		return 0, nil, false
	}
	at.note(m)
	return version, m.answers[key], true
}

// A moment knows which memos were found to be of the current version in it.
type moment struct {
	mu   sync.Mutex
	seen []*memo
}

type momentKey struct{}

// Moment returns a context for questions that are asked together, such as about one
// recipient: whether anybody has changed a store is asked with the first of them,
// as long as Options.Remember is set. It is not for a longer time than that.
func Moment(ctx context.Context) context.Context {
	return context.WithValue(ctx, momentKey{}, &moment{})
}

// sees reports whether a memo was asked before. There may be no moment.
func (at *moment) sees(m *memo) bool {
	if at == nil {
		return false
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	return slices.Contains(at.seen, m)
}

func (at *moment) note(m *memo) {
	if at == nil {
		return
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.seen = append(at.seen, m)
}

// note remembers an answer, unless somebody has written since before.
func (m *memo) note(key memoKey, answer any, size int, before int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if version, ok := m.current(); !ok || version != before {
		return
	}
	size += memoOverhead
	if len(m.answers) >= maxMemo || m.size+size > maxMemoSize {
		m.forget()
	}
	if size > maxMemoSize {
		return
	}
	if m.answers == nil {
		m.answers = make(map[memoKey]any)
		m.timer = time.AfterFunc(m.keep, m.expire)
	}
	if _, there := m.answers[key]; !there { // two may have asked at the same time
		m.size += size
	}
	m.answers[key] = answer
}

// current returns the version of the database, and forgets what is of another
// one. m.mu is held.
func (m *memo) current() (int64, bool) {
	if m.closed || m.conn == nil && !m.connect() {
		return 0, false
	}
	head, known := m.index.read()
	if known && head == m.head {
		return m.version, true
	}
	m.head = walHead{}
	there := m.ask.Step()
	version := m.ask.ColumnInt64(0)
	if err := m.ask.Reset(); err != nil || !there {
		m.forget() // it may be another one
		return 0, false
	}
	if known {
		m.head = head
	} else if m.index.file == nil {
		m.index = walIndexOf(m.conn)
	}
	if version != m.version {
		m.forget()
		m.version = version
	}
	return version, true
}

// connect opens the connection. Without the WAL a reader could wait for writers.
func (m *memo) connect() bool {
	if !vfs.SupportsSharedMemory {
		return false
	}
	c, err := sqlite3.Open(m.store.source)
	if err != nil {
		return false // the database is asked each time
	}
	if err = m.store.prepare(c); err == nil {
		m.ask, _, err = c.Prepare("PRAGMA data_version")
	}
	if err != nil {
		_ = c.Close() // nothing was done with it
		return false
	}
	m.conn = c
	return true
}

// forget drops all answers. m.mu is held.
func (m *memo) forget() {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.answers, m.size, m.timer = nil, 0, nil
}

// expire drops the answers when their time is over.
func (m *memo) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
}

// close drops the answers, for good.
func (m *memo) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	m.closed = true
	if m.conn == nil {
		return nil
	}
	err := m.ask.Close()
	if closeErr := m.conn.Close(); err == nil {
		err = closeErr
	}
	m.conn, m.ask, m.index = nil, nil, walIndex{}
	return err
}
