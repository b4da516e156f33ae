package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// stream returns events as go test -json prints them.
func stream(t *testing.T, events ...event) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestFilter(t *testing.T) {
	pass := []event{
		{Action: "output", Package: "p", Test: "TestGood", Output: "    a_test.go:1: chatter\n"},
		{Action: "pass", Package: "p", Test: "TestGood"},
	}
	skips := []event{
		{Action: "output", Package: "p", Test: "TestS", Output: "=== RUN   TestS\n"},
		{Action: "output", Package: "p", Test: "TestS", Output: "    a_test.go:7: no peer: not installed\n"},
		{Action: "output", Package: "p", Test: "TestS", Output: "--- SKIP: TestS (0.00s)\n"},
		{Action: "skip", Package: "p", Test: "TestS"},
		{Action: "output", Package: "p", Test: "TestS2", Output: "    a_test.go:9: no peer: not installed\n"},
		{Action: "skip", Package: "p", Test: "TestS2"},
		{Action: "skip", Package: "p", Test: "TestMute"},
	}
	good := []event{
		{Action: "output", Package: "p", Output: "PASS\n"},
		{Action: "output", Package: "p", Output: "ok  \tp\t0.1s\n"},
		{Action: "pass", Package: "p"},
	}
	fail := []event{
		{Action: "output", Package: "p", Test: "TestBad", Output: "    a_test.go:3: wrong\n"},
		{Action: "fail", Package: "p", Test: "TestBad"},
		{Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n"},
		{Action: "fail", Package: "p"},
	}
	crash := []event{
		{Action: "output", Package: "p", Test: "TestCrash", Output: "panic: boom\n"},
		{Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n"},
		{Action: "fail", Package: "p"},
	}
	build := []event{{Action: "build-output", ImportPath: "p", Output: "syntax error\n"}, {Action: "build-fail", ImportPath: "p"}}
	concat := func(lists ...[]event) (all []event) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for _, c := range []struct {
		name   string
		events []event
		ok     bool
		want   string
	}{
		{"good", concat(pass, good), true, "ok  \tp\t0.1s\ntests: 1 passed, 0 failed, 0 skipped\n"},
		{
			"skipped", concat(pass, skips, good), true,
			"ok  \tp\t0.1s\nskip: p TestMute: no reason given\n" +
				"skip: p TestS: no peer: not installed (and 1 more tests)\ntests: 1 passed, 0 failed, 3 skipped\n",
		},
		{"failed", concat(pass, fail), false, "    a_test.go:3: wrong\nFAIL\tp\t0.1s\ntests: 1 passed, 1 failed, 0 skipped\n"},
		{"crashed", concat(pass, crash), false, "panic: boom\nFAIL\tp\t0.1s\ntests: 1 passed, 0 failed, 0 skipped\n"},
		{"not built", concat(pass, good, build), false, "ok  \tp\t0.1s\nsyntax error\ntests: 1 passed, 0 failed, 0 skipped\n"},
		{"nothing ran", nil, false, "tests: 0 passed, 0 failed, 0 skipped\n"},
	} {
		var out bytes.Buffer
		ok, err := filter(strings.NewReader(stream(t, c.events...)), &out)
		if err != nil || ok != c.ok || out.String() != c.want {
			t.Errorf("%s: %v, %v:\n%s", c.name, ok, err, out.String())
		}
	}
}

func TestNotJSON(t *testing.T) {
	ok, err := filter(strings.NewReader("make: *** no rule\n"), new(bytes.Buffer))
	if ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}
