package stage

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// fill returns a block with one octet.
func fill(b *Block, octet byte) *Block {
	b.Buf = append(b.Buf, octet)
	return b
}

// Blocks are worked on and delivered in order, on one core and on several, and
// deliver runs beside its owner never.
func TestQueueOrder(t *testing.T) {
	for _, procs := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for _, pause := range []time.Duration{0, 20 * time.Microsecond} {
			worked, delivered, owner := 0, 0, false
			work := func(p []byte) error {
				if len(p) != 1 || p[0] != byte(worked) {
					return errors.New("out of order")
				}
				worked++
				p[0] ^= 0xff
				time.Sleep(rand.N(pause + 1))
				return nil
			}
			deliver := func(q *Queue, b *Block) error {
				p := b.Buf
				defer q.Reuse(b)
				if !owner || len(p) != 1 || p[0]^0xff != byte(delivered) || delivered >= 200 {
					return errors.New("out of order, or beside the owner")
				}
				delivered++
				time.Sleep(rand.N(pause + 1))
				return nil
			}
			q := NewQueue(work, deliver)
			for i := range 199 {
				owner = true
				err := q.Add(fill(q.Empty(), byte(i)))
				if owner = false; err != nil {
					t.Fatal(err)
				}
			}
			owner = true
			if err := q.Last(fill(q.Empty(), 199)); err != nil {
				t.Fatal(err)
			}
			if worked != 200 || delivered != 200 {
				t.Errorf("%d worked on, %d delivered", worked, delivered)
			}
			q.Stop()
			q.Stop()
		}
	}
}

// At most Depth blocks wait, one is in work, and those done wait for delivery.
func TestQueueBounds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	gate := make(chan struct{})
	q := NewQueue(func([]byte) error { <-gate; return nil }, nil)
	added := make(chan int, 100)
	go func() {
		defer close(added)
		for i := range Depth + 3 {
			if err := q.Add(fill(q.Empty(), 0)); err != nil {
				t.Error(err)
			}
			added <- i
		}
	}()
	for range Depth + 1 {
		<-added
	}
	select {
	case i := <-added:
		t.Errorf("block %d did not wait", i)
	case <-time.After(20 * time.Millisecond):
	}
	close(gate)
	for range added {
	}
	if err := q.Wait(); err != nil {
		t.Error(err)
	}
	q.Stop()
}

// Nothing is worked on after an error, and what was done before it is delivered.
func TestQueueErrors(t *testing.T) {
	bad := errors.New("bad")
	for _, procs := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for _, where := range []string{"work", "deliver"} {
			var worked, delivered atomic.Int32
			q := NewQueue(func([]byte) error {
				if worked.Add(1) == 3 && where == "work" {
					return bad
				}
				return nil
			}, func(q *Queue, b *Block) error {
				q.Reuse(b)
				if delivered.Add(1) == 3 && where == "deliver" {
					return bad
				}
				return nil
			})
			err := error(nil)
			for i := 0; i < 100 && err == nil; i++ {
				err = q.Add(fill(q.Empty(), 0))
			}
			if err = q.Wait(); err != bad {
				t.Errorf("%s: %v", where, err)
			}
			if err = q.Last(q.Empty()); err != bad {
				t.Errorf("%s, at the end: %v", where, err)
			}
			wantDelivered := map[string]int32{"work": 2, "deliver": 3}[where]
			if delivered.Load() != wantDelivered || where == "work" && worked.Load() != 3 {
				t.Errorf("%s: %d worked on, %d delivered", where, worked.Load(), delivered.Load())
			}
			q.Stop()
		}
	}
}

// A queue that is stopped early leaves what waits, and delivers nothing more. One
// that is given up ends by itself: TestMain would see it.
func TestQueueStopped(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	gate := make(chan struct{})
	var worked atomic.Int32
	q := NewQueue(func([]byte) error { worked.Add(1); <-gate; return nil }, func(*Queue, *Block) error {
		t.Error("delivered")
		return nil
	})
	for range 3 {
		_ = q.Add(fill(q.Empty(), 0))
	}
	time.AfterFunc(10*time.Millisecond, func() { close(gate) })
	q.Stop()
	if n := worked.Load(); n > 1 {
		t.Errorf("%d blocks were worked on", n)
	}

	q = NewQueue(func([]byte) error { return nil }, nil)
	if err := q.Add(Get()); err != nil {
		t.Error(err)
	}
}
