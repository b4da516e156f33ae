package main

import "testing"

// TestTrim gives back much, where it is quiet, and nothing else.
func TestTrim(t *testing.T) {
	for name, tc := range map[string]struct {
		now  usage
		want bool
	}{
		"garbage":       {usage{1001 << 20, 100 << 20, 150 << 20, 0}, true},
		"free":          {usage{1001 << 20, 100 << 20, 100 << 20, 50 << 20}, true},
		"little":        {usage{1001 << 20, 100 << 20, 110 << 20, 10 << 20}, false},
		"busy":          {usage{1100 << 20, 100 << 20, 150 << 20, 50 << 20}, false},
		"small":         {usage{1000<<20 + 1, 2 << 20, 4 << 20, 1 << 20}, false},
		"nothing known": {usage{}, false},
	} {
		before := usage{allocated: min(tc.now.allocated, 1000<<20), live: 100 << 20}
		if got := tc.now.spare(before); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if u := measure(); u.allocated == 0 || u.objects == 0 {
		t.Errorf("%+v", u)
	}
}
