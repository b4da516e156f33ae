package certs_test

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/tls/certs"
)

// TestChoose has certificates for several names and of several kinds of keys.
func TestChoose(t *testing.T) {
	ca := newCA(t, "Root")
	main := host(t, ca, testpki.P256, nil, "mail.example.test", "IMAP.Example.Test")
	old := host(t, ca, testpki.RSA2048, nil, "mail.example.test")
	wild := host(t, ca, testpki.P256, nil, "*.other.test")
	exact := host(t, ca, testpki.P256, nil, "exact.other.test")
	opts := &certs.Options{}
	for _, p := range []*testpki.Person{main, old, wild, exact} {
		opts.Files = append(opts.Files, certs.File{Certificate: save(t, p)})
	}
	m := open(t, opts)
	opts.StrictNames = true
	strict := open(t, opts)
	rsaOnly := []uint16{cryptotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		name   string
		suites []uint16
		want   *testpki.Person
		strict *testpki.Person
	}{
		{"mail.example.test", nil, main, main},
		{"MAIL.example.test", nil, main, main},
		{"imap.example.test", nil, main, main},
		{"mail.example.test", rsaOnly, old, old},
		{"", nil, main, main},
		{"", rsaOnly, old, old},
		{"a.other.test", nil, wild, wild},
		{"exact.other.test", nil, exact, exact},
		{"a.b.other.test", nil, main, nil},
		{"other.test", nil, main, nil},
		{"stranger.test", nil, main, nil},
	} {
		for _, x := range []struct {
			m    *certs.Manager
			want *testpki.Person
		}{{m, c.want}, {strict, c.strict}} {
			cfg := &cryptotls.Config{ServerName: c.name, InsecureSkipVerify: true, CipherSuites: c.suites}
			if c.suites != nil {
				cfg.MaxVersion = cryptotls.VersionTLS12
			}
			_, state, _, err := shake(t, x.m.Config(nil), cfg)
			switch {
			case x.want == nil && err == nil:
				t.Errorf("%q: let in", c.name)
			case x.want != nil && (err != nil || !state.PeerCertificates[0].Equal(x.want.Cert)):
				t.Errorf("%q %v: %v", c.name, c.suites != nil, err)
			}
		}
	}
	if got := m.Status(); len(got) != 4 || got[0].Names[1] != "imap.example.test" || !got[3].NotAfter.Equal(exact.Cert.NotAfter) {
		t.Errorf("%+v", got)
	}
}

// TestChain puts issuers in order, by signature where the name is not enough.
func TestChain(t *testing.T) {
	root := newCA(t, "Root")
	a, err := root.Intermediate("Twin")
	if err != nil {
		t.Fatal(err)
	}
	b, err := root.Intermediate("Twin")
	if err != nil {
		t.Fatal(err)
	}
	p := host(t, b, testpki.P256, nil, "mail.example.test")
	key, err := p.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "all.pem")
	write(t, name, append(testpki.CertPEM(root.Cert, a.Cert, p.Cert, b.Cert), key...))
	m := open(t, &certs.Options{Files: []certs.File{{Certificate: name}}})
	roots := x509.NewCertPool()
	roots.AddCert(root.Cert)
	_, state, _, err := shake(t, m.Config(nil), &cryptotls.Config{ServerName: "mail.example.test", RootCAs: roots})
	if err != nil || len(state.PeerCertificates) != 2 || !state.PeerCertificates[1].Equal(b.Cert) {
		t.Errorf("%v: %d certificates", err, len(state.PeerCertificates))
	}
}

// TestOpenErrors names what is wrong.
func TestOpenErrors(t *testing.T) {
	ca := newCA(t, "Root")
	good := host(t, ca, testpki.P256, nil, "a.test")
	other := host(t, ca, testpki.P256, nil, "b.test")
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		write(t, name, data)
		return name
	}
	otherKey, err := other.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	ended := host(t, ca, testpki.P256, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "c.test")
	demanding := host(t, ca, testpki.P256, demandStaple, "d.test")
	encryption, err := ca.Issue(testpki.Profile{Name: "x", Key: testpki.X25519})
	if err != nil {
		t.Fatal(err)
	}
	cert := file("cert", testpki.CertPEM(good.Cert))
	for _, c := range []struct {
		name string
		file certs.File
		want error
	}{
		{"missing", certs.File{Certificate: filepath.Join(dir, "none")}, fs.ErrNotExist},
		{"folder", certs.File{Certificate: dir}, nil},
		{"too large", certs.File{Certificate: file("large", make([]byte, 1<<20+1))}, certs.ErrTooLarge},
		{"no key", certs.File{Certificate: cert}, keystore.ErrNoKey},
		{"another key", certs.File{Certificate: cert, Key: file("key", otherKey)}, keystore.ErrNoMatch},
		{"expired", certs.File{Certificate: file("ended", full(t, ended))}, certs.ErrExpired},
		{"kind of key", certs.File{Certificate: file("x", full(t, encryption))}, certs.ErrKeyType},
		{"must staple, and nobody to ask", certs.File{Certificate: file("demanding", full(t, demanding))}, certs.ErrNoStaple},
	} {
		_, err := certs.Open(&certs.Options{Files: []certs.File{{Certificate: file("good", full(t, good))}, c.file}})
		var load *certs.LoadError
		if !errors.As(err, &load) || load.File != c.file.Certificate || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, opts := range []*certs.Options{nil, {}, {Files: make([]certs.File, 1)}} {
		var config *certs.ConfigError
		if _, err := certs.Open(opts); !errors.As(err, &config) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

// TestReload changes files in every way.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "Root")
		first := host(t, ca, testpki.P256, nil, "a.test")
		second := host(t, ca, testpki.P256, nil, "b.test")
		third := host(t, ca, testpki.RSA2048, nil, "c.test")
		ended := host(t, ca, testpki.P256, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "d.test")
		dir := t.TempDir()
		file := certs.File{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
		put := func(name string, data []byte) {
			t.Helper()
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		key := func(p *testpki.Person) []byte {
			k, err := p.KeyPEM()
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		put(file.Certificate, testpki.CertPEM(first.Cert))
		put(file.Key, key(first))
		var seen events
		m, err := certs.Open(&certs.Options{Files: []certs.File{file}, Report: seen.report})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		serves := func(what string, p *testpki.Person) {
			t.Helper()
			if leaf, _ := ask(t, m, "a.test"); !leaf.Equal(p.Cert) {
				t.Errorf("%s: serves %v", what, leaf.DNSNames)
			}
		}
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		serves("start", first)
		if got := seen.take(certs.Loaded); len(got) != 1 || got[0].Names[0] != "a.test" {
			t.Errorf("%v", got)
		}

		// Certificate and key come a moment apart.
		pass(10 * time.Second)
		put(file.Certificate, testpki.CertPEM(second.Cert))
		pass(time.Second)
		put(file.Key, key(second))
		pass(certs.DefaultInterval + 2*certs.DefaultSettle)
		serves("a pair", second)
		if len(seen.take(certs.LoadFailed)) > 0 {
			t.Error("half a pair was reported")
		}

		// The key is late: what there was is served, and it is said once.
		put(file.Certificate, testpki.CertPEM(third.Cert))
		pass(time.Minute)
		serves("half a pair", second)
		if got := seen.take(certs.LoadFailed); len(got) != 1 || !errors.Is(got[0].Err, keystore.ErrNoMatch) {
			t.Errorf("%v", got)
		}
		put(file.Key, key(third))
		pass(time.Minute)
		serves("the other half", third)

		// Written slowly, in pieces, each of which could be read for itself.
		whole := append(testpki.CertPEM(second.Cert), testpki.CertPEM(ca.Cert)...)
		put(file.Key, key(second))
		for n := 0; n < len(whole); n += len(whole) / 20 {
			put(file.Certificate, whole[:n])
			pass(time.Second)
			serves("pieces", third)
		}
		put(file.Certificate, whole)
		pass(time.Minute)
		serves("all pieces", second)
		if got := seen.take(certs.LoadFailed); len(got) > 0 {
			t.Errorf("%v", got)
		}

		// Broken, missing, expired.
		for what, data := range map[string][]byte{
			"garbage": []byte("garbage"), "empty": {}, "torn": testpki.CertPEM(third.Cert)[:300], "expired": testpki.CertPEM(ended.Cert), "missing": nil,
		} {
			put(file.Certificate, data)
			put(file.Key, key(ended))
			if what == "missing" {
				if err = os.Remove(file.Certificate); err != nil {
					t.Fatal(err)
				}
			}
			pass(time.Minute)
			serves(what, second)
			var load *certs.LoadError
			if got := seen.take(certs.LoadFailed); len(got) != 1 || !errors.As(got[0].Err, &load) || what == "expired" && !errors.Is(got[0].Err, certs.ErrExpired) {
				t.Errorf("%s: %v", what, got)
			}
			if err = m.Reload(); !errors.As(err, &load) {
				t.Errorf("%s: %v", what, err)
			}
		}

		// It is there before its time.
		early := host(t, ca, testpki.P256, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(12 * time.Hour) }, "e.test")
		put(file.Certificate, testpki.CertPEM(early.Cert))
		put(file.Key, key(early))
		pass(11 * time.Hour)
		serves("early", second)
		if got := seen.take(certs.LoadFailed); len(got) != 1 || !errors.Is(got[0].Err, certs.ErrExpired) {
			t.Errorf("%v", got)
		}
		pass(3 * time.Hour)
		serves("in time", early)
		seen.take(0)

		// The operator says that it is ready.
		put(file.Certificate, testpki.CertPEM(first.Cert))
		put(file.Key, key(first))
		if err = m.Reload(); err != nil {
			t.Error(err)
		}
		serves("Reload", first)
		if got := seen.take(certs.Loaded); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// TestSymlink follows links that change, as certbot and Kubernetes have them.
func TestSymlink(t *testing.T) {
	ca := newCA(t, "Root")
	first, second := host(t, ca, testpki.P256, nil, "a.test"), host(t, ca, testpki.P256, nil, "b.test")
	dir := t.TempDir()
	link := filepath.Join(dir, "live.pem")
	for i, p := range []*testpki.Person{first, second} {
		write(t, filepath.Join(dir, []string{"1", "2"}[i]), full(t, p))
	}
	if err := os.Symlink("1", link); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan certs.Event, 2)
	m := open(t, &certs.Options{
		Files: []certs.File{{Certificate: link}}, Interval: 5 * time.Millisecond, Settle: 5 * time.Millisecond,
		Report: func(e certs.Event) { loaded <- e },
	})
	<-loaded
	if err := os.Symlink("2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	if e := <-loaded; e.Kind != certs.Loaded || e.Names[0] != "b.test" {
		t.Errorf("%v", e)
	}
	if leaf, _ := ask(t, m, ""); !leaf.Equal(second.Cert) {
		t.Errorf("%v", leaf.DNSNames)
	}
}
