package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
)

// TestQuick runs every operation once on little data, beside OpenSSL where that
// is installed, and checks that each has a figure.
func TestQuick(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	o, err := parse([]string{"--quick", "--size", "96KiB", "--small", "1ms", "--peers", "openssl", "--json", file})
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if err = bench(t.Context(), o, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var res struct{ Rows, Small []map[string]any }
	if err = json.Unmarshal(data, &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != len(rows) || len(res.Small) == 0 {
		t.Errorf("%d rows of %d, and %d of small mail", len(res.Rows), len(rows), len(res.Small))
	}
	if out.Len() == 0 {
		t.Error("no table was printed")
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"7": 7, "64KiB": 64 << 10, "100MiB": 100 << 20, "1GiB": 1 << 30} {
		if n, err := parseSize(s); err != nil || n != want {
			t.Errorf("%s: %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "-1", "0", "KiB", "1TiB", "1.5GiB"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q is %d", s, n)
		}
	}
}

// The figures of a row: the fastest peer is what counts, and one that failed is
// no peer.
func TestRow(t *testing.T) {
	at := func(d time.Duration) *run { return &run{Wall: d} }
	r := &rowOut{Name: "x", Size: 1 << 20, Limit: time.Second, Bound: "copy", Peers: []*peerOut{
		{Name: "postseal", Median: at(2 * time.Second)}, {Name: "a", Median: at(6 * time.Second)},
		{Name: "b", Error: "broken"}, {Name: "c", Median: at(3 * time.Second)}}}
	if r.fastest().Name != "c" {
		t.Errorf("the fastest is %s", r.fastest().Name)
	}
	if cells := r.cells(); cells[3] != "1.5" || cells[4] != "50 % (copy)" || len(cells) != len(heads) {
		t.Errorf("the cells are %q", cells)
	}
}

func TestSmallCells(t *testing.T) {
	s := small{Name: "sign", Rate: 20_000, KeyRate: 30_000, Bare: 25_000, All: 36_000, BareAll: 50_000, Allocs: 77, Octets: 2048}
	cells := s.cells()
	if len(cells) != len(smallHeads) || cells[3] != "50 %" || cells[5] != "10 µs, 20 %" || cells[7] != "1.8 (2.0)" {
		t.Errorf("the cells are %q", cells)
	}
}

func TestMedian(t *testing.T) {
	if m := median([]run{{Wall: 5}, {Wall: 1}, {Wall: 3}}); m.Wall != 3 {
		t.Errorf("the median is %v", m.Wall)
	}
}

// BenchmarkSmall is small mail, as the table has it.
func BenchmarkSmall(b *testing.B) {
	ca, err := testpki.NewCA("Small CA")
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range smallKinds {
		jobs, jobErr := smallJobs(ca, kind)
		if jobErr != nil {
			b.Fatal(jobErr)
		}
		for _, j := range jobs {
			b.Run(j.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if runErr := j.message(); runErr != nil {
						b.Fatal(runErr)
					}
				}
			})
		}
	}
}
