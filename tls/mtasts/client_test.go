package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
)

// TestFetch has web servers of all kinds.
func TestFetch(t *testing.T) {
	w := newWeb(t, nil)
	expired := newWeb(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-9*time.Hour), time.Now().Add(-time.Hour)
	})
	other := newWeb(t, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} })
	stranger := newWeb(t, nil)
	stranger.roots = x509.NewCertPool()
	typed := func(kind, text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(rw, text)
		}
	}
	redirect := func(code int, to string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/mta-sts.txt" {
				typed("text/plain", good)(rw, r)
				return
			}
			http.Redirect(rw, r, to, code)
		}
	}
	slow := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(rw, "\n")
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		name   string
		web    *web
		answer http.HandlerFunc
		fault  Fault
		status int
	}{
		{"good", w, typed("text/plain; charset=utf-8", good), 0, 0},
		{"redirect on the same host", w, redirect(http.StatusFound, "/elsewhere"), BadStatus, http.StatusFound},
		{"redirect for good", w, redirect(http.StatusMovedPermanently, "https://mta-sts.example.org/elsewhere"), BadStatus, http.StatusMovedPermanently},
		{"not there", w, http.NotFound, BadStatus, http.StatusNotFound},
		{"no content", w, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }, BadStatus, http.StatusNoContent},
		{"HTML", w, typed("text/html", good), BadType, 200},
		{"not a type", w, typed("text plain", good), BadType, 200},
		{"not a policy", w, typed("text/plain", "hello"), BadPolicy, 200},
		{"too long", w, typed("text/plain", good+strings.Repeat("x: y\r\n", MaxSize/4)), BadPolicy, 200},
		{"endless", w, slow, NotReached, 200},
		{"hangs up", w, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, NotReached, 0},
		{"expired", expired, nil, BadCertificate, 0},
		{"another name", other, nil, BadCertificate, 0},
		{"a stranger", stranger, nil, BadCertificate, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.answer != nil {
				c.web.set(c.answer)
			}
			client, err := New(&Options{Resolver: &zone{}, Cache: NewMemoryCache(nil), Roots: c.web.roots, Dial: c.web.dial, Timeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			p, err := client.Fetch(t.Context(), "example.org")
			t.Log(err)
			if c.fault == 0 {
				if err != nil || p.String() != "version: STSv1\r\nmode: enforce\r\nmax_age: 604800\r\nmx: mx.example.org\r\nmx: *.example.net\r\n" {
					t.Errorf("%v, %v", p, err)
				}
				return
			}
			e, ok := errors.AsType[*FetchError](err)
			if !ok || e.Fault != c.fault || e.Status != c.status || p != nil {
				t.Errorf("%v, %v", p, err)
			}
		})
	}
}

// TestLookup is the life of a policy: what the TXT record, the web and the clock
// make of it.
func TestLookup(t *testing.T) {
	s := newStage(t, nil)
	s.zone.set(nil)
	s.look(t, "", 0, is(ErrNoRecord))
	s.zone.set(nil, "v=STSv1; id=1;", "v=STSv1; id=2;")
	s.look(t, "", 0, is(ErrManyRecords))
	s.zone.set(nil, "v=STSv1; id=1;")
	if r := s.look(t, Enforce, 1, no); r.Cached || r.ID != "1" {
		t.Errorf("%+v", r)
	}
	if r := s.look(t, Enforce, 0, no); !r.Cached {
		t.Errorf("%+v", r)
	}

	// Neither a record that is gone, or broken, nor a web server that is gone removes
	// the policy.
	for _, text := range []string{"", "v=STSv1; id=1; id", "v=spf1"} {
		s.zone.set(nil, text)
		s.look(t, Enforce, 0, func(err error) bool { return errors.Is(err, ErrNoRecord) || errors.Is(err, ErrRecordSyntax) })
	}
	for _, reason := range []dane.Reason{dane.Timeout, dane.Bogus, dane.ServFail} {
		s.zone.set(&dane.LookupError{Reason: reason})
		s.look(t, Enforce, 0, func(err error) bool { return errors.As(err, new(*dane.LookupError)) })
	}
	s.zone.set(nil, "v=STSv1; id=2;")
	s.web.fails()
	s.look(t, Enforce, 1, faulty(BadStatus))
	s.look(t, Enforce, 0, faulty(BadStatus)) // it is not asked again at once
	s.clock.add(6 * time.Minute)
	s.look(t, Enforce, 1, faulty(BadStatus))

	// Another id, and another policy.
	s.zone.set(nil, "v=STSv1; id=3;")
	s.web.says(strings.Replace(good, "enforce", "testing", 1))
	if r := s.look(t, Testing, 1, no); r.ID != "3" {
		t.Errorf("%+v", r)
	}
	// A day later it is fetched again, with the same id.
	s.web.says(good)
	s.look(t, Testing, 0, no)
	s.clock.add(25 * time.Hour)
	s.look(t, Enforce, 1, no)
	// It ends with its time.
	s.web.fails()
	s.zone.set(nil)
	s.clock.add(604799 * time.Second)
	s.look(t, Enforce, 0, is(ErrNoRecord))
	s.clock.add(time.Second)
	s.look(t, "", 0, is(ErrNoRecord))
	// A domain that wants no policy any more says so for a while.
	s.zone.set(nil, "v=STSv1; id=4;")
	s.web.says("version: STSv1\nmode: none\nmax_age: 86400\n")
	s.look(t, None, 1, no)
	s.look(t, None, 0, no)
}

// TestLookupErrors has what must not count as "no policy".
func TestLookupErrors(t *testing.T) {
	s := newStage(t, nil)
	for _, name := range []string{"", ".", "a..b", "a b", strings.Repeat("a.", 200) + "b"} {
		_, err := s.Lookup(t.Context(), name)
		if e, ok := errors.AsType[*dane.LookupError](err); !ok || e.Reason != dane.BadName {
			t.Errorf("%q: %v", name, err)
		}
	}
	var err error
	for _, reason := range []dane.Reason{dane.Bogus, dane.Timeout, dane.ServFail} {
		s.zone.set(&dane.LookupError{Reason: reason})
		_, err = s.Lookup(t.Context(), "example.org")
		if e, ok := errors.AsType[*dane.LookupError](err); !ok || e.Reason != reason {
			t.Errorf("%v: %v", reason, err)
		}
	}
	s.zone.set(nil, "v=STSv1; id=1;")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = s.Lookup(ctx, "example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for _, opts := range []*Options{nil, {}, {Resolver: s.zone}, {Cache: NewMemoryCache(nil)}} {
		if _, err = New(opts); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	// While the web server is slow, the context ends.
	s.web.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = s.Lookup(ctx, "example.org"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v", err)
	}
}

// TestLookupTogether has many ask at once, and the web once.
func TestLookupTogether(t *testing.T) {
	s := newStage(t, nil)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if r, err := s.Lookup(t.Context(), "example.org"); err != nil || r.Policy == nil || r.Policy.Mode != Enforce {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	group.Wait()
	if n := s.web.hits.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	if len(s.busy) != 0 {
		t.Errorf("%d turns are left", len(s.busy))
	}
}

// TestRestart has a policy outlive the program, so that who removes the record and
// waits for a restart gains nothing.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	open := func() *Cache {
		c, err := OpenCache(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := newStage(t, open())
	s.look(t, Enforce, 1, no)
	s.zone.set(nil)
	s.web.fails()
	if err := os.WriteFile(filepath.Join(dir, ".new-cut"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart(t, open())
	if r := s.look(t, Enforce, 0, is(ErrNoRecord)); !r.Cached || !r.Policy.Matches("a.example.net") {
		t.Errorf("%+v", r)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if info, statErr := os.Stat(files[0]); statErr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), statErr)
	}
	if info, statErr := os.Stat(dir); statErr != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), statErr)
	}
	// Damage is told, and not passed over.
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, data[:len(data)-9], []byte(strings.Replace(string(data), "example.org", "example.com", 1)), []byte(strings.Replace(string(data), "enforce", "off", 1))} {
		if err = os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = OpenCache(dir, nil)
		if e, ok := errors.AsType[*CacheError](err); !ok || e.File != files[0] {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	// A folder that is none.
	if _, err = OpenCache(files[0], nil); !errors.As(err, new(*CacheError)) {
		t.Errorf("got %v", err)
	}
}

// TestWriteFails has the policy count although it cannot be kept.
func TestWriteFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := OpenCache(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err = os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, c)
	s.look(t, Enforce, 1, func(err error) bool { return errors.As(err, new(*CacheError)) })
	s.look(t, Enforce, 0, no)
}

// TestFlush has somebody with many domains try to push a policy out of the cache.
func TestFlush(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	c, err := OpenCache(dir, &CacheOptions{MaxPolicies: 4})
	if err != nil {
		t.Fatal(err)
	}
	put := func(domain string, mode Mode, age time.Duration) error {
		p := &Policy{Mode: mode, MaxAge: age, MX: []string{"mx.example"}}
		return c.put(&entry{Domain: domain, Fetched: now, Text: p.String(), policy: p}, now)
	}
	for _, e := range []struct {
		domain string
		mode   Mode
		age    time.Duration
	}{{"victim.example", Enforce, time.Hour}, {"old.example", Enforce, -time.Hour}, {"testing.example", Testing, time.Hour}, {"none.example", None, time.Hour}} {
		if err = put(e.domain, e.mode, e.age); err != nil {
			t.Fatal(err)
		}
	}
	for i, gone := range []string{"old.example", "none.example", "testing.example"} {
		if err = put(fmt.Sprintf("evil%d.example", i), Enforce, 9*time.Hour); err != nil {
			t.Fatal(err)
		}
		if c.all[gone] != nil || len(c.all) != 4 {
			t.Errorf("%s should have gone: %v", gone, c.all)
		}
	}
	if err = put("evil9.example", Enforce, 9*time.Hour); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	if err = put("evil0.example", Enforce, 8*time.Hour); err != nil { // another one of a domain that is there
		t.Error(err)
	}
	if e := c.get("victim.example", now); e == nil || e.policy.Mode != Enforce {
		t.Errorf("got %+v", e)
	}
	again, err := OpenCache(dir, nil)
	if err != nil || len(again.all) != 4 || again.size != c.size {
		t.Errorf("%+v, %v", again, err)
	}
	// By size.
	c = NewMemoryCache(&CacheOptions{MaxSize: 200})
	if err = errors.Join(put("a.example", Enforce, time.Hour), put("b.example", Enforce, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err = put("c.example", Enforce, time.Hour); !errors.Is(err, ErrFull) || c.size > 200 {
		t.Errorf("got %v with %d octets", err, c.size)
	}
}

// TestRefresh looks after policies that nobody asks for.
func TestRefresh(t *testing.T) {
	s := newStage(t, nil)
	first := s.look(t, Enforce, 1, no)
	refresh := func(hits int32) {
		t.Helper()
		s.web.hits.Store(0)
		if err := s.Refresh(t.Context()); err != nil || s.web.hits.Load() != hits {
			t.Errorf("%d requests, %v", s.web.hits.Load(), err)
		}
	}
	refresh(0)
	s.clock.add(25 * time.Hour)
	refresh(1)
	if r := s.look(t, Enforce, 0, no); !r.Fetched.After(first.Fetched) {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.clock.add(25 * time.Hour)
	if err := s.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
