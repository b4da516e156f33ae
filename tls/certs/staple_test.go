package certs_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls/certs"
)

// demandStaple has a certificate demand stapling: RFC 7633.
func demandStaple(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{
		Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5},
	})
}

func withResponder(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.test/"} }

// A responder answers for one authority.
type responder struct {
	mu     sync.Mutex
	ca     *testpki.CA
	signer *testpki.CA // ca when nil
	edit   func(*ocsp.Response)
	pad    int
	err    error
	asked  int
}

// is has a responder do something else from now on.
func (r *responder) is(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// count returns how often it was asked.
func (r *responder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *responder) FetchCRL(context.Context, string) ([]byte, error) {
	return nil, errors.New("no CRLs")
}

func (r *responder) FetchOCSP(_ context.Context, url string, request *pki.OCSPRequest) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.err != nil {
		return nil, r.err
	}
	if url != "http://ocsp.test/" || request.Nonce != nil {
		return nil, errors.New("asked in another way")
	}
	parsed, err := ocsp.ParseRequest(request.Raw)
	if err != nil {
		return nil, err
	}
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: parsed.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(8 * time.Hour),
	}
	if r.pad > 0 {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, r.pad)}}
	}
	if r.edit != nil {
		r.edit(&template)
	}
	by := r.ca
	if r.signer != nil {
		by = r.signer
	}
	return ocsp.CreateResponse(r.ca.Cert, by.Cert, template, by.Key)
}

// TestStapling follows one certificate for some days.
func TestStapling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "Root")
		p := host(t, ca, testpki.P256, withResponder, "a.test")
		name := filepath.Join(t.TempDir(), "cert.pem")
		write(t, name, withRoot(t, p))
		r := &responder{ca: ca}
		var seen events
		m, err := certs.Open(&certs.Options{Files: []certs.File{{Certificate: name}}, OCSP: r, Report: seen.report})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		stapled := func() bool {
			t.Helper()
			synctest.Wait()
			_, raw := ask(t, m, "a.test")
			if raw == nil {
				if s := m.Status()[0].Stapled; !s.IsZero() {
					t.Errorf("status: %v", s)
				}
				return false
			}
			got, parseErr := ocsp.ParseResponseForCert(raw, p.Cert, ca.Cert)
			if parseErr != nil || got.Status != ocsp.Good || !time.Now().Before(got.NextUpdate) || !m.Status()[0].Stapled.Equal(got.NextUpdate) {
				t.Errorf("%+v, %v", got, parseErr)
			}
			return true
		}
		if !stapled() || len(seen.take(certs.Stapled)) != 1 {
			t.Fatal("no response")
		}
		// It is renewed at about half its time, again and again.
		for range 48 {
			time.Sleep(time.Hour)
			if !stapled() {
				t.Fatal("no response")
			}
		}
		if n := r.count(); n < 8 || n > 17 {
			t.Errorf("asked %d times in two days", n)
		}
		// The responder is gone: what there is counts to its end, and no longer.
		r.is(func() { r.err, r.asked = errors.New("gone"), 0 })
		time.Sleep(3 * time.Hour)
		if !stapled() {
			t.Error("dropped too early")
		}
		time.Sleep(6 * time.Hour)
		if stapled() {
			t.Error("stapled after its end")
		}
		if n := r.count(); n < 6 || n > 30 {
			t.Errorf("asked %d times in nine hours", n)
		}
		var failure *certs.StapleError
		if got := seen.take(certs.StapleFailed); len(got) != r.count() || !errors.As(got[0].Err, &failure) || failure.Responder != "http://ocsp.test/" {
			t.Errorf("%v", got)
		}
		// What it says is not good enough.
		stranger := newCA(t, "Root")
		r.is(func() { r.err = nil })
		for what, change := range map[string]func(){
			"stranger": func() { r.signer = stranger },
			"unknown":  func() { r.edit = func(o *ocsp.Response) { o.Status = ocsp.Unknown } },
			"old": func() {
				r.edit = func(o *ocsp.Response) {
					o.ThisUpdate, o.NextUpdate = o.ThisUpdate.Add(-time.Hour*2), o.ThisUpdate.Add(-time.Hour)
				}
			},
			"other": func() { r.edit = func(o *ocsp.Response) { o.SerialNumber = ca.Cert.SerialNumber } },
			"large": func() { r.pad = 17 << 10 },
		} {
			r.is(func() {
				r.signer, r.edit, r.pad, r.asked = nil, nil, 0, 0
				change()
			})
			time.Sleep(2 * time.Hour)
			if n := r.count(); stapled() || n == 0 || len(seen.take(certs.StapleFailed)) != n {
				t.Errorf("%s: asked %d times", what, n)
			}
		}
		r.is(func() { r.signer, r.edit, r.pad = nil, nil, 0 })
		time.Sleep(2 * time.Hour)
		if !stapled() {
			t.Error("not recovered")
		}
		// Revoked: at the next look the good response is dropped.
		seen.take(0)
		r.is(func() { r.edit = func(o *ocsp.Response) { o.Status, o.RevokedAt = ocsp.Revoked, time.Now() } })
		time.Sleep(7 * time.Hour)
		var revoked *pki.RevokedError
		if stapled() || !m.Status()[0].Revoked {
			t.Error("a revoked certificate has a response")
		}
		if got := seen.take(certs.Revoked); len(got) != 1 || !errors.As(got[0].Err, &revoked) {
			t.Errorf("%v", got)
		}
	})
}

// TestMustStaple does not let a certificate that demands a response be served
// before there is one.
func TestMustStaple(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "Root")
		demanding := func(c *x509.Certificate) { demandStaple(c); withResponder(c) }
		first, second := host(t, ca, testpki.P256, nil, "a.test"), host(t, ca, testpki.P256, demanding, "a.test", "b.test")
		third := host(t, ca, testpki.P256, demanding, "a.test", "c.test")
		name := filepath.Join(t.TempDir(), "cert.pem")
		write(t, name, full(t, first))
		r := &responder{ca: ca, err: errors.New("gone")}
		var seen events
		m, err := certs.Open(&certs.Options{Files: []certs.File{{Certificate: name}}, OCSP: r, Report: seen.report})
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, withRoot(t, second))
		time.Sleep(time.Minute)
		synctest.Wait()
		if leaf, _ := ask(t, m, "a.test"); !leaf.Equal(first.Cert) {
			t.Error("served without a response")
		}
		if got := seen.take(certs.LoadFailed); len(got) != 1 || !errors.Is(got[0].Err, certs.ErrNoStaple) {
			t.Errorf("%v", got)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := r.count(); n < 8 || n > 30 || len(seen.take(certs.LoadFailed)) > 0 {
			t.Errorf("asked %d times in ten hours", n)
		}
		r.is(func() { r.err = nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		leaf, raw := ask(t, m, "a.test")
		if !leaf.Equal(second.Cert) || raw == nil || !m.Status()[0].MustStaple {
			t.Error("not served with a response")
		}
		m.Close()

		// At the start there is nothing better.
		write(t, name, withRoot(t, third))
		r.is(func() { r.err = errors.New("gone") })
		if m, err = certs.Open(&certs.Options{Files: []certs.File{{Certificate: name}}, OCSP: r}); err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if leaf, raw = ask(t, m, "a.test"); !leaf.Equal(third.Cert) || raw != nil {
			t.Error("not served")
		}
		r.is(func() { r.err = nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if leaf, raw = ask(t, m, "a.test"); !leaf.Equal(third.Cert) || raw == nil {
			t.Error("not served with a response")
		}
	})
}

// TestStapleKept has a file change around a certificate that stays.
func TestStapleKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "Root")
		p := host(t, ca, testpki.P256, withResponder, "a.test")
		q := host(t, ca, testpki.P256, nil, "a.test") // the same name, and nothing against it
		name, other := filepath.Join(t.TempDir(), "cert.pem"), save(t, q)
		write(t, name, withRoot(t, p))
		r := &responder{ca: ca}
		m, err := certs.Open(&certs.Options{Files: []certs.File{{Certificate: name}, {Certificate: other}}, OCSP: r})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		synctest.Wait()
		_, before := ask(t, m, "a.test")
		write(t, name, append([]byte("a comment\n"), withRoot(t, p)...))
		if err = m.Reload(); err != nil {
			t.Fatal(err)
		}
		if _, after := ask(t, m, "a.test"); before == nil || !bytes.Equal(before, after) {
			t.Error("the response is lost")
		}
		// Once it is revoked the other one is better.
		r.is(func() { r.edit = func(o *ocsp.Response) { o.Status, o.RevokedAt = ocsp.Revoked, time.Now() } })
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if leaf, _ := ask(t, m, "a.test"); !leaf.Equal(q.Cert) {
			t.Error("a revoked certificate is served before a good one")
		}
	})
}
