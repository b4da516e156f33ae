package main

import "testing"

// TestProxies measures every row of the proxies once, for a moment.
func TestProxies(t *testing.T) {
	var rows []proxyRow
	figures(t, &rows, "--proxies", "--runs", "1", "--small", "20ms")
	if len(rows) != 10 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		if len(r.Rates) < 2 || len(r.Ratio) != len(r.Rates)-1 {
			t.Errorf("%s has %v and %v", r.Name, r.Rates, r.Ratio)
		}
		for p, rate := range r.Rates {
			if rate <= 0 {
				t.Errorf("%s, %s: %v", r.Name, p, rate)
			}
		}
	}
}
