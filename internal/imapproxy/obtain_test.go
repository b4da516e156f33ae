package imapproxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBatches opens so much together, and no more.
func TestBatches(t *testing.T) {
	known := func(size int64) *target { return &target{fact: &fact{size: size}} }
	fresh := func(size int64) *target { return &target{size: size} }
	whole, _ := parseFetch("a", false, "1:* (BODY[])")
	sizes, _ := parseFetch("a", false, "1:* (RFC822.SIZE)")
	for name, tc := range map[string]struct {
		f       *fetch
		targets []*target
		want    []int
	}{
		"none":          {whole, nil, nil},
		"small":         {whole, slices.Repeat([]*target{known(100)}, 2*atOnce+1), []int{atOnce, atOnce, 1}},
		"big":           {whole, slices.Repeat([]*target{known(maxAtOnce)}, 3), []int{1, 1, 1}},
		"bigger":        {whole, []*target{known(1), known(maxAtOnce * 3), known(1), fresh(maxAtOnce - 1), fresh(1)}, []int{1, 1, 2, 1}},
		"remembered":    {sizes, slices.Repeat([]*target{known(maxAtOnce)}, 3), []int{3}},
		"not looked at": {sizes, slices.Repeat([]*target{fresh(maxAtOnce)}, 2), []int{1, 1}},
	} {
		var got []int
		for some := range tc.f.batches(tc.targets) {
			got = append(got, len(some))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestManyWhole gets many messages at once as a whole, each of which is the one of
// its number, also those that were held from before.
func TestManyWhole(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecot(t)
	direct := login(t, upstream, "")
	const n = atOnce + 20
	for i := range n {
		m := strings.Replace(noteMessage, "at noon", fmt.Sprintf("number %d.", i+1), 1)
		if i%3 != 2 {
			m = w.encrypt(t, m, w.alice)
		}
		direct.add("INBOX", m)
	}
	c := login(t, serve(t, w.proxy(), upstream), "INBOX")
	for range 2 {
		c.ok("FETCH 3,5 (BODY.PEEK[])") // they are held
		lines := c.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")
		if len(lines) != n {
			t.Fatalf("%d messages", len(lines))
		}
		seen := make(map[int]bool)
		for _, line := range lines {
			var seq, uid, size int
			if got, err := fmt.Sscanf(line, "* %d FETCH (UID %d RFC822.SIZE %d ", &seq, &uid, &size); got != 3 {
				t.Fatalf("%q: %v", line, err)
			}
			if body := literalOf(t, line); seq != uid || len(body) != size || !strings.Contains(body, fmt.Sprintf("number %d.", seq)) || seen[seq] {
				t.Errorf("message %d:\n%s", seq, line)
			}
			seen[seq] = true
		}
	}
}
