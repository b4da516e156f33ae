package main

import (
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync/atomic"
)

// heapGrowth is by how much the heap may grow before the garbage collector runs, in
// octets, where it would run earlier: a proxy with few connections has next to
// nothing in its heap, and would collect it for every few messages.
const heapGrowth = 16 << 20

// A collection is an object that nothing refers to: its end tells that the garbage
// collector has run.
type collection struct {
	percent int // what was set last
	stopped *atomic.Bool
}

// growHeap has the garbage collector run less often while the heap is small, unless
// the environment says how often (GOGC, GOMEMLIMIT). The function that it returns
// ends that.
func growHeap() func() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	stopped := new(atomic.Bool)
	before := debug.SetGCPercent(percentFor(0))
	runtime.SetFinalizer(&collection{percentFor(0), stopped}, (*collection).next)
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// next sets what holds until the next collection.
func (c *collection) next() {
	if c.stopped.Load() {
		return
	}
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(live)
	if live[0].Value.Kind() == runtimemetrics.KindUint64 {
		// Setting it stops the world, for a moment.
		if percent := percentFor(live[0].Value.Uint64()); percent*4 < c.percent*3 || percent*3 > c.percent*4 {
			c.percent = percent
			debug.SetGCPercent(percent)
		}
	}
	runtime.SetFinalizer(c, (*collection).next)
}

// percentFor returns by how much of itself a heap may grow: by all of it, or by
// heapGrowth.
func percentFor(live uint64) int {
	const least = 2 << 20
	return int(max(100, heapGrowth*100/max(live, least)))
}
