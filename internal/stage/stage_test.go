package stage

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTask(t *testing.T) {
	var task Task
	if err := task.Wait(); err != nil {
		t.Fatal(err)
	}
	order := 0
	for i := range 100 {
		err := task.Go(func() error {
			if order != i { // a race, were two to run at a time
				return errors.New("out of order")
			}
			order++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := task.Wait(); err != nil || order != 100 {
		t.Fatalf("%d, %v", order, err)
	}
	bad := errors.New("bad")
	if err := task.Go(func() error { return bad }); err != nil {
		t.Fatal(err)
	}
	if err := task.Go(func() error { t.Error("started after an error"); return nil }); err != bad {
		t.Error(err)
	}
	if err := task.Wait(); err != bad {
		t.Error("the error did not stay:", err)
	}
}

// A task that is given up ends by itself: TestMain would see it.
func TestTaskAbandoned(t *testing.T) {
	var task Task
	if err := task.Go(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestParts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, c := range []struct{ n, least, want int }{
		{0, 0, 1}, {0, 1, 1}, {1, 1, 1}, {3, 1, 3}, {7, 2, 3}, {7, 0, 4}, {1000, 1, 4}, {1000, 2000, 1}, {8, 2, 4},
	} {
		if got := Parts(c.n, c.least); got != c.want {
			t.Errorf("%d of at least %d: %d parts, want %d", c.n, c.least, got, c.want)
		}
	}
}

func TestEach(t *testing.T) {
	for n := 1; n < 9; n++ {
		seen := make([]atomic.Int32, n)
		Each(n, func(i int) { seen[i].Add(1) })
		for i := range seen {
			if seen[i].Load() != 1 {
				t.Errorf("%d of %d: %d times", i, n, seen[i].Load())
			}
		}
	}
}

func TestBlock(t *testing.T) {
	b := Get()
	if len(b.Buf) != 0 || cap(b.Buf) < Room {
		t.Fatalf("%d of %d", len(b.Buf), cap(b.Buf))
	}
	b.Buf = append(b.Buf, "secret"...)
	kept := b.Buf
	b.Resize(2)
	Put(b)
	Put(nil)
	if string(kept) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q is left", kept)
	}
}
