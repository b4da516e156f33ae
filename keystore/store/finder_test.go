package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
)

// source is a Finder with one answer.
type source struct {
	name  string
	found []keystore.Found
	err   error
	asked int
}

func (s *source) Source() string { return s.name }
func (s *source) Find(ctx context.Context, _ string) ([]keystore.Found, error) {
	s.asked++
	if s.name == "slow" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.found, s.err
}

var errDown = errors.New("the server is down")

func TestChain(t *testing.T) {
	w := newWorld(t, "CA")
	usable := func(name string) []keystore.Found {
		return []keystore.Found{{Certificate: w.cert(testpki.Profile{Name: name}), Source: name}}
	}
	expired := []keystore.Found{{Source: "expired", Err: &keystore.UnusableError{Reason: keystore.UnusableExpired}}}
	for _, tc := range []struct {
		name    string
		sources []*source
		all     bool
		found   string // the sources of what is found
		down    string // the sources that are down
		asked   int
	}{
		{"nobody has one", []*source{{name: "a"}, {name: "b"}}, false, "", "", 2},
		{"the first that can be used ends it", []*source{{name: "a"}, {name: "b", found: usable("b")}, {name: "c", found: usable("c")}}, false, "b", "", 2},
		{"one that cannot be used does not end it", []*source{{name: "a", found: expired}, {name: "c", found: usable("c")}}, false, "expired c", "", 2},
		{"all are asked", []*source{{name: "b", found: usable("b")}, {name: "c", found: usable("c")}}, true, "b c", "", 2},
		{"down is an error", []*source{{name: "a", err: errDown}, {name: "b"}}, false, "", "a", 2},
		{"down before an answer is told with it", []*source{{name: "a", err: errDown}, {name: "b", found: usable("b")}}, false, "b", "a", 2},
		{"slow is down", []*source{{name: "slow"}, {name: "b", found: usable("b")}}, false, "b", "slow", 2},
		{"what was not asked is not down", []*source{{name: "b", found: usable("b")}, {name: "a", err: errDown}}, false, "b", "", 1},
		{"two are down", []*source{{name: "a", err: errDown}, {name: "z", err: &keystore.SourceError{Source: "z", Err: errDown}}}, false, "", "a z", 2},
	} {
		chain := &keystore.Chain{All: tc.all, Timeout: 20 * time.Millisecond}
		for _, s := range tc.sources {
			chain.Finders = append(chain.Finders, s)
		}
		// A chain in a chain says the same.
		for _, finder := range []keystore.Finder{chain, &keystore.Chain{Finders: []keystore.Finder{chain}}} {
			found, err := finder.Find(t.Context(), bob)
			var names []string
			for _, f := range found {
				names = append(names, f.Source)
			}
			if got := strings.Join(names, " "); got != tc.found {
				t.Errorf("%s: found %q", tc.name, got)
			}
			if got := strings.Join(down(err), " "); got != tc.down {
				t.Errorf("%s: down %q (%v)", tc.name, got, err)
			}
			if (err == nil) != (tc.down == "") {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
		asked := 0
		for _, s := range tc.sources {
			asked += s.asked
		}
		if asked != 2*tc.asked {
			t.Errorf("%s: %d questions", tc.name, asked)
		}
	}
}

// down returns the sources in an error, in order and once.
func down(err error) []string {
	var out []string
	if e, ok := err.(*keystore.SourceError); ok {
		return []string{e.Source}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, down(e)...)
		}
	}
	return slices.Compact(out)
}

func TestChainCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newStore(t, Options{})
	_, err := (&keystore.Chain{Finders: []keystore.Finder{s, s}}).Find(ctx, bob)
	wantErr(t, err, context.Canceled)
	var e *keystore.SourceError
	if !errors.As(err, &e) || e.Source != "store" {
		t.Errorf("%v", err)
	}
	_, err = (&keystore.Chain{}).Find(ctx, bob)
	wantErr(t, err, context.Canceled)
}

func TestNormalizeAddress(t *testing.T) {
	for in, want := range map[string]string{
		"Alice@Example.ORG": "Alice@example.org", "a@XN--BCHER-KVA.example": "a@xn--bcher-kva.example", "ä@BÜCHER.example": "ä@bücher.example",
		`"a@b c"@example.org`: `"a@b c"@example.org`, "a@[192.0.2.1]": "a@[192.0.2.1]",
		"": "", "a": "", "@b": "", "a@": "", "a\n@b": "", "a@b c": "", "a@b>": "", "a@b\x00": "", "a@\xff": "", "a@b\u0085": "", strings.Repeat("a", 1000) + "@b": "",
	} {
		got, err := keystore.NormalizeAddress(in)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.As(err, new(*keystore.SyntaxError)) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
