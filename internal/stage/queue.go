package stage

import (
	"errors"
	"io"
	"sync"
)

// Depth is how many blocks of a Queue may wait.
const Depth = 3

// A Queue works on blocks beside its owner, one after the other, in the order in
// which they come. Some of them may wait, so that owner and work do not wait for
// each other at each block. The goroutine that works ends when no block waits: a
// queue that is given up leaves nothing behind. It is not safe for concurrent use.
type Queue struct {
	work    func(p []byte) error
	deliver Deliver

	mu      sync.Mutex
	changed sync.Cond // the owner waits for it
	running bool
	waiting []*Block
	done    []*Block // to be delivered
	free    []*Block
	err     error // the first one of work; nothing is worked on after it
	failed  error // the first one of deliver
}

// Deliver gets blocks that were worked on, in their order and in the goroutine of
// the queue's owner, from within its calls. It gives a block back with
// [Queue.Reuse] or [Put] when it needs it no more.
type Deliver func(q *Queue, b *Block) error

// To returns a Deliver that writes what is in a block.
func To(dst io.Writer) Deliver {
	return func(q *Queue, b *Block) error {
		_, err := dst.Write(b.Buf)
		q.Reuse(b)
		return err
	}
}

// NewQueue returns a queue. Work gets what is in a block, and may change it in
// place; deliver gets the block after that, and may be nil.
func NewQueue(work func(p []byte) error, deliver Deliver) *Queue {
	q := &Queue{work: work, deliver: deliver}
	q.changed.L = &q.mu
	return q
}

// Empty returns an empty block, one that was used before if there is one.
func (q *Queue) Empty() *Block {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.free)
	if n == 0 {
		return Get()
	}
	b := q.free[n-1]
	q.free = q.free[:n-1]
	return b
}

// Reuse takes a block back.
func (q *Queue) Reuse(b *Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(b)
}

func (q *Queue) release(b *Block) {
	b.Resize(0)
	q.free = append(q.free, b)
}

// Add takes a block, and waits if there are too many. The error is that of the
// first block that failed, be it this one or another.
func (q *Queue) Add(b *Block) error {
	if !Parallel() {
		return q.Last(b)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == Depth && !q.handOut() {
		q.changed.Wait()
	}
	q.waiting = append(q.waiting, b)
	if !q.running {
		q.running = true
		go q.run()
	}
	for q.handOut() {
	}
	return q.first()
}

// Last takes a block, waits for those before it, and works on it and delivers it
// in the goroutine of the owner: what is small starts no other.
func (q *Queue) Last(b *Block) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settle()
	q.process(b)
	q.handOut()
	return q.first()
}

// run works on what waits.
func (q *Queue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		b := take(&q.waiting)
		q.changed.Signal()
		q.process(b)
		q.changed.Signal()
	}
	q.running = false
	q.changed.Signal()
}

// process works on a block if nothing has failed. Like all that follow it is
// called with the lock held, which is not held during the work.
func (q *Queue) process(b *Block) {
	if q.first() == nil {
		q.mu.Unlock()
		err := q.work(b.Buf)
		q.mu.Lock()
		q.err = err
	}
	if q.deliver != nil && q.err == nil {
		q.done = append(q.done, b)
	} else {
		q.release(b)
	}
}

// handOut delivers the first block that is done, and tells whether there was one.
func (q *Queue) handOut() bool {
	if len(q.done) == 0 {
		return false
	}
	b := take(&q.done)
	if q.failed != nil {
		q.release(b)
		return true
	}
	q.mu.Unlock()
	err := q.deliver(q, b)
	q.mu.Lock()
	q.failed = err
	return true
}

// settle returns when nothing waits, is in work or has to be delivered.
func (q *Queue) settle() {
	for q.handOut() || q.running {
		if len(q.done) == 0 && q.running {
			q.changed.Wait()
		}
	}
}

func (q *Queue) first() error {
	if q.failed != nil {
		return q.failed
	}
	return q.err
}

func take(blocks *[]*Block) *Block {
	b := (*blocks)[0]
	*blocks = append((*blocks)[:0], (*blocks)[1:]...)
	return b
}

// Wait returns when all blocks have been worked on and delivered, with the error of
// the first one that failed.
func (q *Queue) Wait() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settle()
	return q.first()
}

var errStopped = errors.New("stage: stopped")

// Stop ends the work when the block that is in work is done, delivers nothing more,
// and frees the blocks that it has. It may be called again; nothing else may.
func (q *Queue) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed == nil {
		q.failed = errStopped
	}
	q.settle()
	for _, b := range q.free {
		Put(b)
	}
	q.free = nil
}
