package main

import "testing"

// TestIdleRows holds a few connections of each kind for a moment.
func TestIdleRows(t *testing.T) {
	var rows []idleRow
	figures(t, &rows, "--idle", "30", "--settle", "0s")
	if len(rows) != len(idleCases) {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if _, there := r.KiB[ofNginx]; r.Connections != 30 || there == idleCases[i].behind || r.KiB[ours] < 1 || r.KiB[ours] > 1000 {
			t.Errorf("%+v", r)
		}
	}
}
