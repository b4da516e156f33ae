package main

import (
	"context"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// Most connections of a mail proxy are idle, and what they needed to get there is
// garbage: Go collects it when as much again has been allocated, and keeps the
// memory. When nothing much happens it is given back.
const (
	trimEvery = 5 * time.Second
	trimLeast = 4 << 20 // octets that are worth it
)

// trim gives memory back now and then, until ctx is done.
func trim(ctx context.Context) {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	before := measure()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := measure()
		if now.spare(before) {
			debug.FreeOSMemory()
		}
		before = now
	}
}

// usage is what this process has of memory, in octets.
type usage struct{ allocated, live, objects, free uint64 }

func measure() usage {
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	runtimemetrics.Read(samples)
	return usage{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
}

// spare reports whether there is enough to give back, and quiet since before: a
// collection costs about what is live, so that it must not come often.
func (u usage) spare(before usage) bool {
	spare := int64(u.objects) - int64(u.live) + int64(u.free)
	return u.allocated-before.allocated < u.live/8 && spare > trimLeast && spare > int64(u.live)/4
}
