//go:build !race

package main

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// smallBounds are how often a small message may allocate, and how many KiB: about
// a third above what it does.
var smallBounds = map[string]struct{ count, kib float64 }{
	"sign, RSA2048": {72, 14}, "verify, RSA2048": {200, 23}, "encrypt, RSA2048": {88, 15}, "decrypt, RSA2048": {84, 17},
	"sign, P256": {150, 18}, "verify, P256": {200, 21}, "encrypt, P256": {112, 15}, "decrypt, P256": {98, 16},
	"sign, Ed25519": {72, 13}, "verify, Ed25519": {190, 20},
}

// TestSmallAllocations keeps what a small message allocates low: what the collector
// has to do bounds the rate when all cores have messages. The race detector has
// pools forget at random, and is left out.
func TestSmallAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties the pools
	ca, err := testpki.NewCA("Small CA")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, kind := range smallKinds {
		jobs, jobErr := smallJobs(ca, kind)
		if jobErr != nil {
			t.Fatal(jobErr)
		}
		for _, j := range jobs {
			most, ok := smallBounds[j.name]
			if !ok {
				t.Errorf("there is no bound for %q", j.name)
				continue
			}
			seen++
			const runs = 50
			if err = j.message(); err != nil { // fills the pools
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			count := testing.AllocsPerRun(runs, func() {
				if runErr := j.message(); runErr != nil {
					t.Error(runErr)
				}
			})
			runtime.ReadMemStats(&after)
			// AllocsPerRun has one run more, before it counts.
			kib := float64(after.TotalAlloc-before.TotalAlloc) / (runs + 1) / 1024
			if count > most.count || kib > most.kib {
				t.Errorf("%s: %.0f allocations of %.1f KiB; at most %.0f of %.0f", j.name, count, kib, most.count, most.kib)
			}
			t.Logf("%s: %.0f allocations of %.1f KiB", j.name, count, kib)
		}
	}
	if seen != len(smallBounds) {
		t.Errorf("%d messages were measured, of %d", seen, len(smallBounds))
	}
}
