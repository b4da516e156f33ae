package certs_test

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/tls/certs"
)

// A pebble is a running Pebble, the ACME server of Let's Encrypt for tests.
type pebble struct {
	*peers.Process
	directory, management string
	http, tls             string // where it looks at challenges
	roots                 *x509.CertPool
}

// startPebble starts Pebble, for which all names are this host.
func startPebble(t *testing.T) *pebble {
	t.Helper()
	p := host(t, newCA(t, "Pebble's own"), testpki.P256, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, "localhost")
	dir := t.TempDir()
	files, err := p.WriteFiles(dir, "pebble")
	if err != nil {
		t.Fatal(err)
	}
	dns := net.JoinHostPort("127.0.0.1", peers.FreePort(t))
	peers.StartProcess(t, "pebble", "pebble-challtestsrv", "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1",
		"-dns01", dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", net.JoinHostPort("127.0.0.1", peers.FreePort(t)))
	port := func() (address string, number int) {
		text := peers.FreePort(t)
		n, atoiErr := strconv.Atoi(text)
		if atoiErr != nil {
			t.Fatal(atoiErr)
		}
		return net.JoinHostPort("127.0.0.1", text), n
	}
	out := &pebble{roots: x509.NewCertPool()}
	out.roots.AddCert(p.Chain[0])
	listen, _ := port()
	management, _ := port()
	var httpPort, tlsPort int
	out.http, httpPort = port()
	out.tls, tlsPort = port()
	out.directory, out.management = "https://"+listen+"/dir", "https://"+management
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management, "certificate": files.Cert, "privateKey": files.Key,
		"httpPort": httpPort, "tlsPort": tlsPort, "ocspResponderURL": "http://ocsp.test/",
	}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "config.json")
	write(t, name, config)
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "5")
	out.Process = peers.StartProcess(t, "pebble", "pebble", "-config", name, "-dnsserver", dns)
	out.WaitLog(t, "ACME directory available")
	return out
}

// trust returns the root that Pebble issues under.
func (p *pebble) trust(t *testing.T) *x509.CertPool {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &cryptotls.Config{RootCAs: p.roots}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(p.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// wants checks what a client gets for a name.
func wants(t *testing.T, m *certs.Manager, roots *x509.CertPool, name string) *x509.Certificate {
	t.Helper()
	_, state, _, err := shake(t, m.Config(nil), &cryptotls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	return state.PeerCertificates[0]
}

// TestACME obtains certificates from Pebble, by both challenges, keeps them, and
// renews them.
func TestACME(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01", "both"} {
		t.Run(challenge, func(t *testing.T) {
			p := startPebble(t)
			dir := filepath.Join(t.TempDir(), "acme")
			conf := &certs.ACME{
				Directory: p.directory, Roots: p.roots, Contact: []string{"postmaster@example.test"}, AgreeTerms: true, Folder: dir,
				Certificates: [][]string{{"mail.example.test", "Imap.Example.Test."}, {"bücher.test"}},
			}
			if challenge != "tls-alpn-01" {
				conf.HTTP = p.http
			}
			if challenge != "http-01" {
				conf.TLS = p.tls
			}
			var seen events
			opts := &certs.Options{ACME: conf, Report: seen.report}
			m := open(t, opts)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			if err := m.Wait(ctx); err != nil {
				t.Fatalf("%v: %v\n%s", err, seen.take(certs.ObtainFailed), p.Log())
			}
			roots := p.trust(t)
			first := wants(t, m, roots, "mail.example.test")
			wants(t, m, roots, "imap.example.test")
			wants(t, m, roots, "xn--bcher-kva.test")
			nothingListens(t, p.http)
			nothingListens(t, p.tls)
			onlyOwner(t, dir, 3)
			m.Close()
			if got := seen.take(certs.Obtained); len(got) != 2 {
				t.Errorf("%v", got)
			}

			// After a restart there is nothing to ask for.
			m = open(t, opts)
			if err := m.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if again := wants(t, m, roots, "mail.example.test"); again == nil || !again.Equal(first) {
				t.Error("not what was kept")
			}
			m.Close()
			if got := seen.take(certs.Obtained); len(got) != 0 {
				t.Errorf("%v", got)
			}
			if challenge == "http-01" {
				renews(t, opts, &seen, roots)
			}
		})
	}
}

// renews puts a certificate into the folder that is near its end, and one without
// all the names: both are renewed, and another server that shares the folder takes
// what it has not renewed itself.
func renews(t *testing.T, opts *certs.Options, seen *events, roots *x509.CertPool) {
	ca := newCA(t, "Before")
	old := host(t, ca, testpki.P256, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-70*time.Hour), time.Now().Add(20*time.Hour)
	}, "mail.example.test", "imap.example.test")
	write(t, filepath.Join(opts.ACME.Folder, "mail.example.test.pem"), full(t, old))
	nameless := host(t, ca, testpki.P256, nil, "xn--else.test")
	write(t, filepath.Join(opts.ACME.Folder, "xn--bcher-kva.test.pem"), full(t, nameless))
	watcher := *opts
	watcher.ACME, watcher.Interval, watcher.Settle = nil, 10*time.Millisecond, 10*time.Millisecond
	watcher.Files = []certs.File{{Certificate: filepath.Join(opts.ACME.Folder, "mail.example.test.pem")}}
	loaded := make(chan certs.Event, 10)
	watcher.Report = func(e certs.Event) { loaded <- e }
	replica := open(t, &watcher)
	<-loaded
	m := open(t, opts)
	for range 1000 {
		if seen.count(certs.Obtained) == 2 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := seen.take(certs.Obtained); len(got) != 2 {
		t.Errorf("%v", got)
	}
	wants(t, m, roots, "mail.example.test")
	wants(t, m, roots, "xn--bcher-kva.test")
	select {
	case <-loaded:
		wants(t, replica, roots, "mail.example.test")
	case <-time.After(10 * time.Second):
		t.Error("the other server did not notice")
	}
}

// TestACMESuggested stands before Pebble, and wants certificates to be renewed: at
// once, and after that in their time.
func TestACMESuggested(t *testing.T) {
	p := startPebble(t)
	transport := &http.Transport{TLSClientConfig: &cryptotls.Config{RootCAs: p.roots}, DisableKeepAlives: true}
	var asked sync.Map // how often, by certificate
	front := httptest.NewUnstartedServer(nil)
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if id, ok := strings.CutPrefix(r.URL.Path, "/renewal/"); ok {
			n, _ := asked.LoadOrStore(id, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			w.Header().Set("Retry-After", "21600")
			now := time.Now().UTC()
			_, _ = fmt.Fprintf(w, `{"suggestedWindow": {"start": %q, "end": %q}}`, now.Add(-2*time.Hour).Format(time.RFC3339), now.Add(-time.Hour).Format(time.RFC3339))
			return
		}
		resp, err := (&http.Client{Transport: transport}).Get(p.directory)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		var directory map[string]any
		if err = json.NewDecoder(resp.Body).Decode(&directory); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		directory["renewalInfo"] = "https://" + r.Host + "/renewal"
		_ = json.NewEncoder(w).Encode(directory)
	})
	front.StartTLS()
	defer front.Close()
	roots := p.roots.Clone()
	roots.AddCert(front.Certificate())
	var seen events
	opts := &certs.Options{Report: seen.report, ACME: &certs.ACME{
		Directory: front.URL + "/dir", Roots: roots, AgreeTerms: true, HTTP: p.http, Folder: t.TempDir(), Certificates: [][]string{{"mail.example.test"}},
	}}
	m := open(t, opts)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Wait(ctx); err != nil {
		t.Fatalf("%v: %v", err, seen.take(certs.ObtainFailed))
	}
	trust := p.trust(t)
	first := wants(t, m, trust, "mail.example.test")
	m.Close()
	if n := seen.count(certs.Obtained); n != 1 {
		t.Fatalf("%d certificates: the new one was renewed at once", n)
	}
	// The server wants it renewed; what comes then has time.
	m = open(t, opts)
	for start := time.Now(); seen.count(certs.Obtained) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("not renewed: %v", seen.take(certs.ObtainFailed))
		}
	}
	if second := wants(t, m, trust, "mail.example.test"); second == nil || second.Equal(first) {
		t.Error("the old certificate is served")
	}
	id, err := acme.ARIUniqueIdentifier(first)
	if err != nil {
		t.Fatal(err)
	}
	// By acmez when it was obtained, and after the restart.
	if n, ok := asked.Load(id); !ok || n.(*atomic.Int64).Load() != 2 {
		t.Errorf("the first certificate was asked about: %v, %v", ok, n)
	}
	time.Sleep(200 * time.Millisecond)
	if n := seen.count(certs.Obtained); n != 2 {
		t.Errorf("%d certificates", n)
	}
}

func nothingListens(t *testing.T, address string) {
	t.Helper()
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Errorf("somebody listens at %s", address)
	}
}

// onlyOwner checks that a folder has so many files, for its owner alone.
func onlyOwner(t *testing.T, dir string, count int) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		if !d.IsDir() {
			n++
		}
		return nil
	})
	if err != nil || n != count {
		t.Errorf("%d files, %v", n, err)
	}
}

// TestACMEFails has a server that refuses, or is none: it is reported, and not
// asked again at once.
func TestACMEFails(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host
		switch r.URL.Path {
		case "/dir":
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"newNonce": "%[1]s/nonce", "newAccount": "%[1]s/account", "newOrder": "%[1]s/order"}`, base)
		case "/nonce":
			w.Header().Set("Replay-Nonce", "abc")
		default:
			asked.Add(1)
			w.Header().Set("Replay-Nonce", "abc")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"type": "urn:ietf:params:acme:error:unauthorized", "detail": "go\u001b[2J away"}`)
		}
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	failures := make(chan certs.Event, 10)
	conf := &certs.ACME{
		Directory: server.URL + "/dir", Roots: roots, AgreeTerms: true, HTTP: "127.0.0.1:0", Folder: t.TempDir(),
		Certificates: [][]string{{"mail.example.test"}},
	}
	m := open(t, &certs.Options{ACME: conf, Report: func(e certs.Event) { failures <- e }})
	e := <-failures
	var failure *certs.ACMEError
	var problem acme.Problem
	if e.Kind != certs.ObtainFailed || !errors.As(e.Err, &failure) || !errors.As(e.Err, &problem) || problem.Type != acme.ProblemTypeUnauthorized {
		t.Errorf("%v", e)
	}
	for _, r := range e.String() {
		if r < ' ' {
			t.Errorf("%q", e.String())
		}
	}
	time.Sleep(100 * time.Millisecond)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// There is nothing to serve yet: clients are refused.
	if _, _, _, err := shake(t, m.Config(nil), &cryptotls.Config{ServerName: "mail.example.test", InsecureSkipVerify: true}); err == nil {
		t.Error("let in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	m.Close()
	if err := m.Wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestACMEConfig finds the caller's mistakes.
func TestACMEConfig(t *testing.T) {
	good := certs.ACME{AgreeTerms: true, HTTP: ":80", Folder: t.TempDir(), Certificates: [][]string{{"a.test"}}}
	for field, edit := range map[string]func(*certs.ACME){
		"Directory":    func(a *certs.ACME) { a.Directory = "http://acme.test/dir" },
		"AgreeTerms":   func(a *certs.ACME) { a.AgreeTerms = false },
		"HTTP":         func(a *certs.ACME) { a.HTTP = "" },
		"Folder":       func(a *certs.ACME) { a.Folder = "" },
		"KeyID":        func(a *certs.ACME) { a.KeyID = "x" },
		"Certificates": func(a *certs.ACME) { a.Certificates = nil },
	} {
		bad := good
		edit(&bad)
		var config *certs.ConfigError
		if _, err := certs.Open(&certs.Options{ACME: &bad}); !errors.As(err, &config) || config.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, names := range [][]string{{}, {"*.a.test"}, {"localhost"}, {"127.0.0.1"}, {"../x.test"}, {"a b.test"}, {""}, {"a..test"}, {".test"}} {
		bad := good
		bad.Certificates = [][]string{names}
		var config *certs.ConfigError
		if _, err := certs.Open(&certs.Options{ACME: &bad}); !errors.As(err, &config) || config.Field != "Certificates" {
			t.Errorf("%q: %v", names, err)
		}
	}
	bad := good
	bad.Certificates = [][]string{{"a.test"}, {"A.test", "b.test"}}
	var config *certs.ConfigError
	if _, err := certs.Open(&certs.Options{ACME: &bad}); !errors.As(err, &config) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(good.Folder, "account.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}
