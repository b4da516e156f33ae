package main

import (
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 800, 2 << 20: 800, 8 << 20: 200, 16 << 20: 100, 1 << 40: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d octets: %d %%, not %d", live, got, want)
		}
	}
}

// TestGrowHeap has a heap grow, and the collector set to what is right for it.
func TestGrowHeap(t *testing.T) {
	percent := func() uint64 {
		s := []runtimemetrics.Sample{{Name: "/gc/gogc:percent"}}
		runtimemetrics.Read(s)
		return s[0].Value.Uint64()
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d %%", what, percent())
			}
			runtime.GC()
		}
	}
	t.Setenv("GOGC", "50")
	before := percent()
	growHeap()()
	if got := percent(); got != before {
		t.Errorf("with GOGC: %d %%, not %d", got, before)
	}
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(int(before))
	stop := growHeap()
	wait("a small heap", func() bool { return percent() >= 150 })
	large := make([]byte, 100<<20)
	wait("a large heap", func() bool { return percent() == 100 })
	runtime.KeepAlive(large)
	wait("a small heap again", func() bool { return percent() >= 150 })
	stop()
	wait("when it has ended", func() bool { return percent() == before })
}
