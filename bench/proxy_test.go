package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestProxies measures every row of the proxies once, for a moment.
func TestProxies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	o, err := parse([]string{"--proxies", "--runs", "1", "--small", "20ms", "--json", file})
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	err = bench(t.Context(), o, &out, &log)
	if errors.Is(err, errAbsent) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []proxyRow
	if err = json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 10 || out.Len() == 0 {
		t.Fatalf("%d rows, and the table\n%s", len(rows), &out)
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
