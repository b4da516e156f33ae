// Package stage does work on large blocks of a message beside the goroutine that
// makes or takes them: a hash, a cipher, a write to a file.
//
// A stage is not a goroutine that lives as long as its message. Each block gets
// one that ends by itself, so that a message that is given up leaves nothing
// behind, and a small message starts none at all.
package stage

import (
	"runtime"
	"sync"
)

// Size is the size of a block in octets: enough that the start of a goroutine
// does not count, little enough that the blocks at work stay in the cache.
const Size = 256 << 10

// Parallel tells whether work beside the caller's goroutine pays at all.
func Parallel() bool { return runtime.GOMAXPROCS(0) > 1 }

// A Task runs functions beside its owner, one after the other. The zero value
// is ready for use. A Task is not safe for concurrent use; what the functions
// did has been done when Wait returns.
type Task struct {
	done    chan error // has room for one, so that nobody needs to wait
	running bool
	err     error
}

// Go waits for the function before, and starts f. When one before has failed,
// f is not started, and the error is returned.
func (t *Task) Go(f func() error) error {
	if err := t.Wait(); err != nil {
		return err
	}
	if t.done == nil {
		t.done = make(chan error, 1)
	}
	t.running = true
	done := t.done
	go func() { done <- f() }()
	return nil
}

// Wait returns when no function runs. The first error stays.
func (t *Task) Wait() error {
	if t.running {
		t.running = false
		t.err = <-t.done
	}
	return t.err
}

// Parts returns into how many parts n units are split for the cores there are, of
// at least least units each. There is one at least.
func Parts(n, least int) int { return max(1, min(runtime.GOMAXPROCS(0), n/max(least, 1))) }

// Each calls f for each of n parts at a time, and returns when all are done.
func Each(n int, f func(i int)) {
	var wait sync.WaitGroup
	for i := 1; i < n; i++ {
		wait.Go(func() { f(i) })
	}
	f(0)
	wait.Wait()
}

// A Block is memory for a stage. Its user sets the length of Buf to what is in
// it.
type Block struct {
	Buf  []byte
	used int // the greatest length so far
}

// Room is the space of a Block in octets: Size, and what a cipher may add.
const Room = Size + 64

var blocks = sync.Pool{New: func() any { return &Block{Buf: make([]byte, 0, Room)} }}

// Get returns an empty block with room for Room octets.
func Get() *Block {
	b, _ := blocks.Get().(*Block) // nothing else is in there
	return b
}

// Resize sets the length of Buf, which keeps its octets.
func (b *Block) Resize(n int) {
	b.used = max(b.used, len(b.Buf), n)
	b.Buf = b.Buf[:n]
}

// SmallRoom is the space of a small Block in octets: enough for most mail.
const SmallRoom = 16 << 10

var smallBlocks = sync.Pool{New: func() any { return &Block{Buf: make([]byte, 0, SmallRoom)} }}

// GetFor returns an empty block with room for n octets, of up to Room.
func GetFor(n int64) *Block {
	if n > SmallRoom {
		return Get()
	}
	b, _ := smallBlocks.Get().(*Block) // nothing else is in there
	return b
}

// Put overwrites what was in a block, since it may have been secret, and gives
// it back. It must not be used any more. A nil block is fine.
func Put(b *Block) {
	if b == nil {
		return
	}
	b.Resize(0)
	clear(b.Buf[:b.used])
	b.used = 0
	if cap(b.Buf) == SmallRoom {
		smallBlocks.Put(b)
	} else {
		blocks.Put(b)
	}
}
