package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// figures runs the benchmark, and reads what it has written; the test is skipped
// where a peer is missing.
func figures(t *testing.T, dst any, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.json")
	o, err := parse(append(args, "--json", file))
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
	if err = json.Unmarshal(data, dst); err != nil || out.Len() == 0 {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// TestMailboxes looks at small mailboxes in every way, once. The benchmark itself
// checks what comes.
func TestMailboxes(t *testing.T) {
	var rows []proxyRow
	figures(t, &rows, "--mailboxes", "--messages", "6", "--runs", "1", "--small", "1ms")
	if len(rows) != len(boxLooks) {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		if len(r.Rates) < 3 || len(r.Ratio) != len(r.Rates)-1 {
			t.Errorf("%s has %v and %v", r.Name, r.Rates, r.Ratio)
		}
		for p, rate := range r.Rates {
			if rate <= 0 {
				t.Errorf("%s, %s: %v", r.Name, p, rate)
			}
		}
	}
}

// TestMailboxCheck refuses what is not what was stored.
func TestMailboxCheck(t *testing.T) {
	b := &boxWorld{mailWorld: &mailWorld{o: &options{messages: 1}}, sizes: make(map[boxSize]int)}
	whole := func(m string) string { return "* 1 FETCH (BODY[] {" + strconv.Itoa(len(m)) + "}\r\n" + m + ")\r\n" }
	good := string(boxMessage(1))
	sizes, all := &boxLook{box: boxSealed, ask: askSizes}, &boxLook{box: boxSealed, ask: askWhole}
	for name, tc := range map[string]struct {
		look    *boxLook
		program string
		text    string
		ok      bool
	}{
		"whole":        {all, ours, whole(good), true},
		"tampered":     {all, ours, whole(good[:len(good)-20] + "x" + good[len(good)-19:]), false},
		"another":      {all, ours, whole(string(boxMessage(2))), false},
		"not there":    {all, ours, "", false},
		"twice":        {all, ours, whole(good) + whole(good), false},
		"in the clear": {all, direct, whole(good), false},
		"size":         {sizes, ours, "* 1 FETCH (RFC822.SIZE " + strconv.Itoa(len(good)) + " BODYSTRUCTURE (\"MIXED\"))\r\n", true},
		"other size":   {sizes, ours, "* 1 FETCH (RFC822.SIZE 7 BODYSTRUCTURE (\"MIXED\"))\r\n", false},
		"not opened":   {sizes, ours, "* 1 FETCH (RFC822.SIZE " + strconv.Itoa(len(good)) + " BODYSTRUCTURE ())\r\n", false},
	} {
		b.setSize(sizes, 1, len(good))
		if err := b.check(tc.look, tc.program, []byte(tc.text)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
