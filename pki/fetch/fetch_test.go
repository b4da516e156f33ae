package fetch_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
)

// serve runs a handler on loopback.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func newCA(t *testing.T) *testpki.CA {
	t.Helper()
	ca, err := testpki.NewCA("CA")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newCRL makes an empty CRL that ends after a time.
func newCRL(t *testing.T, ca *testpki.CA, end time.Duration) []byte {
	t.Helper()
	raw, err := x509.CreateRevocationList(nil, &x509.RevocationList{
		ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(end), Number: big.NewInt(1),
	}, ca.Cert, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestLimits(t *testing.T) {
	big := bytes.Repeat([]byte{0x30}, 5000)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(big)
		case "/chunks": // of a length that is not told
			for range 50 {
				_, _ = w.Write(big[:100])
				w.(http.Flusher).Flush()
			}
		case "/slow":
			<-r.Context().Done()
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/hostname", http.StatusFound)
		case "/garbage":
			_, _ = w.Write([]byte("<html>"))
		default:
			http.NotFound(w, r)
		}
	})
	c := fetch.New(&fetch.Options{MaxCRL: 4999, Timeout: 300 * time.Millisecond})
	t.Cleanup(c.CloseIdle)
	var status *fetch.StatusError
	var malformed *pki.RevocationParseError
	for _, r := range []struct {
		address string
		is      error
		as      any
	}{
		{address + "/big", fetch.ErrTooLarge, nil},
		{address + "/chunks", fetch.ErrTooLarge, nil},
		{address + "/slow", context.DeadlineExceeded, nil},
		{address + "/loop", fetch.ErrRedirects, nil},
		{address + "/file", fetch.ErrScheme, nil},
		{address + "/missing", nil, &status},
		{address + "/garbage", nil, &malformed},
		{"ldap://127.0.0.1/cn=ca", fetch.ErrScheme, nil},
		{"file:///etc/hostname", fetch.ErrScheme, nil},
		{"http:///nowhere", fetch.ErrScheme, nil},
		{"http://[", fetch.ErrScheme, nil},
	} {
		_, err := c.FetchCRL(t.Context(), r.address)
		var outer *fetch.Error
		if !errors.As(err, &outer) || outer.URL != r.address {
			t.Errorf("%s: %v", r.address, err)
		}
		if r.is != nil && !errors.Is(err, r.is) || r.as != nil && !errors.As(err, r.as) {
			t.Errorf("%s: %v", r.address, err)
		}
	}
	if status == nil || status.Code != http.StatusNotFound {
		t.Errorf("status: %v", status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.FetchCRL(ctx, address+"/big"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// TestRequests sees what a server sees.
func TestRequests(t *testing.T) {
	ca := newCA(t)
	crl := newCRL(t, ca, time.Hour)
	var mu sync.Mutex
	var seen []*http.Request
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/pem", http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Set-Cookie", "a=b")
		_, _ = w.Write(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}))
	})
	c := fetch.New(nil)
	t.Cleanup(c.CloseIdle)
	withUser := strings.Replace(address, "http://", "HTTP://user:secret@", 1)
	for range 2 {
		data, err := c.FetchCRL(t.Context(), withUser+"/moved")
		if err != nil || !bytes.Equal(data, crl) {
			t.Fatalf("%v, %d octets", err, len(data))
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d requests", len(seen))
	}
	for _, r := range seen {
		for _, field := range []string{"Authorization", "Cookie", "Referer"} {
			if r.Header.Get(field) != "" {
				t.Errorf("%s: %s", field, r.Header.Get(field))
			}
		}
	}
	seen = nil
	if _, err := c.FetchOCSP(t.Context(), address+"/", &pki.OCSPRequest{Raw: []byte{0x30, 0}}); err != nil {
		t.Fatal(err)
	}
	if r := seen[0]; r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" || r.ContentLength != 2 {
		t.Errorf("%+v", r)
	}
}

func TestIssuers(t *testing.T) {
	ca := newCA(t)
	o := newOpenSSL(t)
	o.write("one.pem", testpki.CertPEM(ca.Cert))
	o.run("crl2pkcs7", "-nocrl", "-certfile", "one.pem", "-certfile", "ca.pem", "-outform", "DER", "-out", "both.p7c")
	files := map[string][]byte{
		"/der": ca.Cert.Raw, "/pem": testpki.CertPEM(ca.Cert), "/p7c": o.read("both.p7c"), "/garbage": []byte("0123"),
	}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(files[r.URL.Path]) })
	c := fetch.New(nil)
	t.Cleanup(c.CloseIdle)
	for path, want := range map[string]int{"/der": 1, "/pem": 1, "/p7c": 2} {
		certs, err := c.FetchIssuers(t.Context(), address+path)
		if err != nil || len(certs) != want || !bytes.Equal(certs[0].Raw, ca.Cert.Raw) && want == 1 {
			t.Errorf("%s: %v, %d certificates", path, err, len(certs))
		}
	}
	var malformed *pki.ParseError
	if _, err := c.FetchIssuers(t.Context(), address+"/garbage"); !errors.As(err, &malformed) {
		t.Errorf("garbage: %v", err)
	}
}

// TestCacheBounds fills a cache beyond its limits.
func TestCacheBounds(t *testing.T) {
	ca := newCA(t)
	crl := newCRL(t, ca, time.Hour)
	hits := 0
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hits++
		_, _ = w.Write(crl)
	})
	dir := filepath.Join(t.TempDir(), "new", "cache")
	cache, err := fetch.OpenCache(dir, &fetch.CacheOptions{MaxSize: int64(5*len(crl)) + 1, MaxFiles: 100})
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "notes.txt")
	if err = os.WriteFile(other, crl, 0o600); err != nil {
		t.Fatal(err)
	}
	c := fetch.New(&fetch.Options{Cache: cache})
	t.Cleanup(c.CloseIdle)
	get := func(n int) {
		t.Helper()
		if _, bad := c.FetchCRL(t.Context(), fmt.Sprintf("%s/%d", address, n)); bad != nil {
			t.Fatal(bad)
		}
	}
	for n := range 12 {
		get(n)
		time.Sleep(5 * time.Millisecond) // ages differ
	}
	files := cacheFiles(t, dir)
	if len(files) != 5 {
		t.Errorf("%d files", len(files))
	}
	for _, name := range files {
		info, bad := os.Stat(name)
		if bad != nil {
			t.Fatal(bad)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	if _, err = os.Stat(other); err != nil {
		t.Errorf("a file of someone else: %v", err)
	}
	hits = 0
	get(11) // the newest
	if hits != 0 {
		t.Errorf("the newest was fetched again")
	}
	get(0)
	if hits != 1 {
		t.Errorf("the oldest was not fetched again")
	}
	// What is old is fetched again, and what is broken.
	for i, change := range []func(name string) error{
		func(name string) error { return os.Chtimes(name, time.Time{}, time.Now().Add(-25*time.Hour)) },
		func(name string) error { return os.WriteFile(name, []byte("broken"), 0o600) },
	} {
		for _, name := range cacheFiles(t, dir) {
			if err = change(name); err != nil {
				t.Fatal(err)
			}
		}
		hits = 0
		get(11)
		if hits != 1 {
			t.Errorf("change %d: %d requests", i, hits)
		}
	}
}

// TestCacheEnds has CRLs that have ended: they are fetched again each time.
func TestCacheEnds(t *testing.T) {
	ca := newCA(t)
	crl := newCRL(t, ca, -time.Minute)
	hits := 0
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hits++
		_, _ = w.Write(crl)
	})
	cache, err := fetch.OpenCache(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := fetch.New(&fetch.Options{Cache: cache})
	t.Cleanup(c.CloseIdle)
	for range 2 {
		if _, err = c.FetchCRL(t.Context(), address); err != nil {
			t.Fatal(err)
		}
	}
	if hits != 2 {
		t.Errorf("%d requests", hits)
	}
}

// TestCacheTogether has several goroutines, with caches of their own, in one
// folder that is always too small.
func TestCacheTogether(t *testing.T) {
	ca := newCA(t)
	crl := newCRL(t, ca, time.Hour)
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(crl) })
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		cache, err := fetch.OpenCache(dir, &fetch.CacheOptions{MaxFiles: 3})
		if err != nil {
			t.Fatal(err)
		}
		c := fetch.New(&fetch.Options{Cache: cache})
		t.Cleanup(c.CloseIdle)
		wg.Go(func() {
			for n := range 20 {
				data, err := c.FetchCRL(t.Context(), fmt.Sprintf("%s/%d", address, n%6))
				if err != nil || !bytes.Equal(data, crl) {
					t.Errorf("%v, %d octets", err, len(data))
				}
			}
		})
	}
	wg.Wait()
	if n := len(cacheFiles(t, dir)); n == 0 || n > 6 {
		t.Errorf("%d files", n)
	}
}

func cacheFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pkicache"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
