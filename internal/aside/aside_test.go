package aside

import (
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:noinline
func deep(n int) int {
	var room [512]byte
	room[n%512] = 1
	if n == 0 {
		return int(room[0])
	}
	return deep(n-1) + int(room[1])
}

// stacks returns what all stacks have, in octets.
func stacks() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// TestDo waits for f, and has goroutines that go on waiting keep a small stack.
func TestDo(t *testing.T) {
	const n, need = 100, 64 << 10
	hold := func(do func(f func())) int64 {
		before := stacks()
		ready, end, gone := make(chan int), make(chan struct{}), make(chan struct{})
		for range n {
			go func() {
				got := 0
				do(func() { got = deep(need / 512) })
				ready <- got
				<-end
				gone <- struct{}{}
			}()
		}
		for range n {
			if got := <-ready; got < 1 {
				t.Errorf("f has not ended: %d", got)
			}
		}
		time.Sleep(3 * restTime) // for those that wait for more
		cost := (stacks() - before) / n
		close(end)
		for range n {
			<-gone
		}
		return cost
	}
	apart, here := hold(Do), hold(func(f func()) { f() })
	if here < need || apart > here/2 {
		t.Errorf("%d octets of a stack, and %d without", apart, here)
	}
}

// TestPanic has the caller panic, and others go on.
func TestPanic(t *testing.T) {
	for range 3 {
		done := false
		Do(func() { done = true })
		func() {
			defer func() {
				if p := recover(); p != "thrown" || !done {
					t.Errorf("%v, %t", p, done)
				}
			}()
			Do(func() { panic("thrown") })
		}()
	}
}
