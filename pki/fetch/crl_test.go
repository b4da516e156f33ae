package fetch_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
)

// A site serves files on loopback and counts requests.
type site struct {
	mu    sync.Mutex
	files map[string][]byte
	hits  int
	hosts map[string]string
}

// newSite serves files for the host crl.example.test.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{files: make(map[string][]byte)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.hosts = map[string]string{"crl.example.test:80": u.Host}
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits++
	data, ok := s.files[r.URL.Path]
	if !ok || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data)
}

func (s *site) put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = data
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

func parseCRL(t *testing.T, raw []byte) *pki.CRL {
	t.Helper()
	crl, err := pki.ParseCRL(raw)
	if err != nil {
		t.Fatal(err)
	}
	return crl
}

// TestOpenSSLCRL checks against CRLs of "openssl ca -gencrl": of versions 1 and
// 2, with reasons, and with a scope.
func TestOpenSSLCRL(t *testing.T) {
	o := newOpenSSL(t)
	good, bad := o.issue("good", false, nil), o.issue("bad", false, nil)
	v1 := parseCRL(t, o.crl("v1", ""))
	if v1.Version != 1 || v1.Entries != 0 || v1.Number != nil {
		t.Errorf("version 1: %+v", v1)
	}
	if _, err := (&pki.Revocation{CRLs: []*pki.CRL{v1}}).Check(t.Context(), good); err != nil {
		t.Errorf("by the CRL of version 1: %v", err)
	}
	compromised := time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)
	o.revoke("bad", "-crl_compromise", compromised.Format("20060102150405Z"))
	v2 := parseCRL(t, o.crl("v2", "numbered"))
	if v2.Version != 2 || v2.Entries != 1 || v2.Number == nil {
		t.Errorf("version 2: %+v", v2)
	}
	for _, crls := range [][]*pki.CRL{{v2}, {v1, v2}, {v2, v1}} {
		check := &pki.Revocation{CRLs: crls}
		if _, err := check.Check(t.Context(), good); err != nil {
			t.Errorf("good: %v", err)
		}
		var revoked *pki.RevokedError
		statuses, err := check.Check(t.Context(), bad)
		if !errors.As(err, &revoked) || revoked.Reason != pki.RevokedKeyCompromise || !revoked.Invalid.Equal(compromised) {
			t.Errorf("bad: %v", err)
		}
		if len(statuses) != 1 || statuses[0].CRL != v2 {
			t.Errorf("the source is not the newest CRL: %+v", statuses)
		}
		// A time before the revocation, and one before the compromise.
		for _, c := range []struct {
			at     time.Time
			proven bool
			good   bool
		}{
			{compromised.Add(-time.Hour), false, true},
			{compromised.Add(-time.Hour), true, true},
			{compromised.Add(time.Hour), true, false},
		} {
			check.Time, check.TimeProven = c.at, c.proven
			if _, err = check.Check(t.Context(), bad); (err == nil) != c.good {
				t.Errorf("at %v: %v", c.at, err)
			}
		}
	}
	for _, c := range []struct {
		check pki.Revocation
		want  pki.SourceFault
	}{
		{pki.Revocation{}, pki.SourceUnavailable},
		{pki.Revocation{CRLs: []*pki.CRL{v2}, Time: time.Now().AddDate(0, 0, 8)}, pki.SourceStale},
		{pki.Revocation{CRLs: []*pki.CRL{v2}, Time: time.Now().AddDate(0, 0, 3), MaxAge: 24 * time.Hour}, pki.SourceStale},
	} {
		if _, err := c.check.Check(t.Context(), good); !hasFault(err, c.want) {
			t.Errorf("%v: %v", c.want, err)
		}
	}
}

// TestOpenSSLPastTime revokes for a reason that leaves older signatures alone.
func TestOpenSSLPastTime(t *testing.T) {
	o := newOpenSSL(t)
	old, doubtful := o.issue("old", false, nil), o.issue("doubtful", false, nil)
	o.revoke("old", "-crl_reason", "superseded")
	o.revoke("doubtful", "-crl_reason", "keyCompromise")
	crls := []*pki.CRL{parseCRL(t, o.crl("now", "numbered"))}
	hourAgo := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name  string
		chain []*pki.Certificate
		check pki.Revocation
		good  bool
	}{
		{"superseded now", old, pki.Revocation{CRLs: crls}, false},
		{"superseded later", old, pki.Revocation{CRLs: crls, Time: hourAgo}, true},
		{"compromised later", doubtful, pki.Revocation{CRLs: crls, Time: hourAgo}, false},
		{"compromised later, time proven", doubtful, pki.Revocation{CRLs: crls, Time: hourAgo, TimeProven: true}, true},
	} {
		var revoked *pki.RevokedError
		_, err := c.check.Check(t.Context(), c.chain)
		if (err == nil) != c.good || err != nil && !errors.As(err, &revoked) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestOpenSSLDelta has a complete CRL and the delta CRL that "openssl crl
// -gendelta" makes, fetched from their places.
func TestOpenSSLDelta(t *testing.T) {
	o, s := newOpenSSL(t), newSite(t)
	first, later := o.issue("first", false, nil), o.issue("later", false, nil)
	o.revoke("first")
	base := o.crl("base", "numbered")
	o.revoke("later", "-crl_reason", "affiliationChanged")
	o.crl("full", "numbered")
	o.run("crl", "-in", "base.crl", "-gendelta", "full.crl", "-sha256", "-key", "ca.key", "-outform", "DER", "-out", "delta.der")
	delta := parseCRL(t, o.read("delta.der"))
	if delta.BaseNumber == nil || delta.Entries != 1 {
		t.Fatalf("delta: %+v", delta)
	}
	s.put("/ca.crl", base)
	c, _ := client(t, s.hosts, nil)
	without := &pki.Revocation{Fetcher: c}
	with := &pki.Revocation{Fetcher: c, CRLs: []*pki.CRL{delta}}
	for _, r := range []struct {
		name    string
		check   *pki.Revocation
		chain   []*pki.Certificate
		revoked bool
	}{
		{"first, base", without, first, true},
		{"first, base and delta", with, first, true},
		{"later, base", without, later, false},
		{"later, base and delta", with, later, true},
	} {
		var revoked *pki.RevokedError
		_, err := r.check.Check(t.Context(), r.chain)
		if errors.As(err, &revoked) != r.revoked || !r.revoked && err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	// A delta CRL says nothing by itself.
	alone := &pki.Revocation{CRLs: []*pki.CRL{delta}}
	if _, err := alone.Check(t.Context(), first); !hasFault(err, pki.SourceUnavailable) {
		t.Errorf("a delta CRL alone: %v", err)
	}
}

// TestOpenSSLScope has a CRL for users alone, with the name of its place.
func TestOpenSSLScope(t *testing.T) {
	o := newOpenSSL(t)
	user := o.issue("user", false, nil)
	elsewhere := o.issue("elsewhere", false, func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"http://crl.example.test/other.crl"}
	})
	ca := o.issue("subca", false, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	crl := parseCRL(t, o.crl("users", "users"))
	if crl.Scope == nil || !crl.Scope.OnlyUser {
		t.Fatalf("scope: %+v", crl.Scope)
	}
	check := &pki.Revocation{CRLs: []*pki.CRL{crl}}
	if _, err := check.Check(t.Context(), user); err != nil {
		t.Errorf("a user: %v", err)
	}
	for _, chain := range [][]*pki.Certificate{elsewhere, ca} {
		if _, err := check.Check(t.Context(), chain); !hasFault(err, pki.SourceOutOfScope) {
			t.Errorf("%s: %v", chain[0].Subject(), err)
		}
	}
}

// TestCacheOffline fetches once, and checks offline after that.
func TestCacheOffline(t *testing.T) {
	o, s := newOpenSSL(t), newSite(t)
	good := o.issue("good", false, nil)
	s.put("/ca.crl", o.crl("ca", "numbered"))
	cache, err := fetch.OpenCache(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := client(t, s.hosts, cache)
	for range 3 {
		if _, err = (&pki.Revocation{Fetcher: c}).Check(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	if s.count() != 1 {
		t.Errorf("%d requests", s.count())
	}
	offline, dials := client(t, nil, cache)
	if _, err = (&pki.Revocation{Fetcher: offline}).Check(t.Context(), good); err != nil || dials.Load() != 0 {
		t.Errorf("offline: %v, %d connections", err, dials.Load())
	}
	empty, _ := client(t, nil, nil)
	if _, err = (&pki.Revocation{Fetcher: empty}).Check(t.Context(), good); !errors.Is(err, errNobody) {
		t.Errorf("without a cache: %v", err)
	}
}
