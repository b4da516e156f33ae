package cms

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// crlOf is a CRL of ca with the serial numbers on it.
func crlOf(t *testing.T, ca *testpki.CA, revoked ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-30 * time.Minute), ReasonCode: 1})
	}
	raw, err := x509.CreateRevocationList(nil, list, ca.Cert, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// stapled is an OCSP response as RFC 5940 has it among the CRLs of a message.
func stapled(t *testing.T, ca *testpki.CA, c *x509.Certificate, status int) []byte {
	t.Helper()
	raw, err := ocsp.CreateResponse(ca.Cert, ca.Cert, ocsp.Response{Status: status, SerialNumber: c.SerialNumber, IssuerHash: crypto.SHA256,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now().Add(-30 * time.Minute)}, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	choice, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(der.Context(1, true), func(b *der.Builder) {
			b.AddBytes([]byte{0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x10, 0x02}) // id-ri-ocsp-response
			b.AddBytes(raw)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return choice
}

func certsOf(certs ...*x509.Certificate) []*pki.Certificate {
	out := make([]*pki.Certificate, len(certs))
	for i, c := range certs {
		out[i] = pki.FromX509(c)
	}
	return out
}

// verdictOf signs something, with revocation information in the message, and
// returns what trust says.
func verdictOf(t *testing.T, p *testpki.Person, chain []*x509.Certificate, info [][]byte, trust Trust) error {
	t.Helper()
	s := NewSigner(p.Cert, p.Key.(crypto.Signer))
	s.Chain = certsOf(chain...)
	var msg bytes.Buffer
	w, err := Sign(&msg, []Signer{s}, &SignOptions{CRLs: info})
	write(t, w, err, []byte("content"))
	r, err := newReader(t, msg.Bytes()).Verify(&VerifyOptions{Trust: trust})
	_, err = readAll(r, err)
	return err
}

func TestPathTrustRevocation(t *testing.T) {
	p := person(t, testpki.P256)
	roots := pki.NewRoots(certsOf(testCA.Cert))
	other, err := testpki.NewCA("Postseal Test CA") // of the same name, with another key
	if err != nil {
		t.Fatal(err)
	}
	clean, revoked := crlOf(t, testCA), crlOf(t, testCA, p.Cert)
	forged := crlOf(t, other, p.Cert)
	const good, bad, unknown = "good", "revoked", "unknown"
	for _, test := range []struct {
		name       string
		info       [][]byte
		soft, hard string
	}{
		{"nothing", nil, good, unknown},
		{"CRL", [][]byte{clean}, good, good},
		{"CRL, revoked", [][]byte{revoked}, bad, bad},
		{"CRL, forged", [][]byte{forged}, good, unknown},
		{"CRLs, one is forged", [][]byte{forged, clean}, good, good},
		{"OCSP", [][]byte{stapled(t, testCA, p.Cert, ocsp.Good)}, good, good},
		{"OCSP, revoked", [][]byte{stapled(t, testCA, p.Cert, ocsp.Revoked)}, bad, bad},
		{"OCSP, forged", [][]byte{stapled(t, other, p.Cert, ocsp.Revoked)}, good, unknown},
		{"no CRL at all", [][]byte{{0x30, 0x00}}, good, unknown},
	} {
		for _, soft := range []bool{true, false} {
			want, checked := test.hard, 0
			if soft {
				want = test.soft
			}
			err = verdictOf(t, p, nil, test.info, &PathTrust{Roots: roots, Revocation: &pki.Revocation{SoftFail: soft},
				Checked: func(chain []*pki.Certificate, found []pki.CertificateStatus) { checked += len(chain) - len(found) }})
			if got := revocationWord(err); got != want {
				t.Errorf("%s, soft %v: %s (%v), want %s", test.name, soft, got, err, want)
			}
			if checked != 1 {
				t.Errorf("%s: the chain has %d more certificates than were checked", test.name, checked)
			}
		}
		if err = verdictOf(t, p, nil, test.info, &PathTrust{Roots: roots}); err != nil {
			t.Errorf("%s, not asked about revocation: %v", test.name, err)
		}
	}
}

func revocationWord(err error) string {
	ve, ok := errors.AsType[*VerifyError](err)
	switch {
	case err == nil:
		return "good"
	case !ok || ve.Reason != ReasonUntrusted:
		return "another error"
	case errors.As(ve, new(*pki.RevokedError)):
		return "revoked"
	case errors.As(ve, new(*pki.RevocationUnknownError)):
		return "unknown"
	}
	return "another objection"
}

// issuers answers by URL, and counts.
type issuers struct {
	at    func(url string) []*pki.Certificate
	asked []string
}

var errNotThere = errors.New("not there")

func (f *issuers) FetchIssuers(_ context.Context, url string) ([]*pki.Certificate, error) {
	f.asked = append(f.asked, url)
	if certs := f.at(url); certs != nil {
		return certs, nil
	}
	return nil, errNotThere
}

// TestPathTrustIssuers leaves all intermediate certificates out of the message.
func TestPathTrustIssuers(t *testing.T) {
	at := func(url string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.IssuingCertificateURL = []string{url} }
	}
	upper, err := testCA.IntermediateWith("Upper", testpki.P256, nil)
	if err != nil {
		t.Fatal(err)
	}
	lower, err := upper.IntermediateWith("Lower", testpki.P256, at("http://ca.test/upper"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := lower.Issue(testpki.Profile{Name: "Leaf", Key: testpki.P256, Edit: at("http://ca.test/lower")})
	if err != nil {
		t.Fatal(err)
	}
	certs := map[string][]*pki.Certificate{"http://ca.test/upper": certsOf(upper.Cert), "http://ca.test/lower": certsOf(lower.Cert)}
	roots := pki.NewRoots(certsOf(testCA.Cert))

	f := &issuers{at: func(url string) []*pki.Certificate { return certs[url] }}
	if err = verdictOf(t, p, nil, nil, &PathTrust{Roots: roots, Issuers: f}); err != nil || len(f.asked) != 2 {
		t.Errorf("fetched from %v: %v", f.asked, err)
	}
	f.asked = nil
	if err = verdictOf(t, p, []*x509.Certificate{lower.Cert}, nil, &PathTrust{Roots: roots, Issuers: f}); err != nil {
		t.Errorf("with one in the message: %v", err)
	}
	f.asked = nil
	if err = verdictOf(t, p, []*x509.Certificate{lower.Cert, upper.Cert}, nil, &PathTrust{Roots: roots, Issuers: f}); err != nil || len(f.asked) != 0 {
		t.Errorf("nothing had to be fetched, and %v was: %v", f.asked, err)
	}
	err = verdictOf(t, p, nil, nil, &PathTrust{Roots: roots})
	if ce, ok := errors.AsType[*pki.ChainError](err); !ok || ce.Reason != pki.UnknownIssuer {
		t.Errorf("without fetching: %v", err)
	}
	delete(certs, "http://ca.test/upper")
	err = verdictOf(t, p, nil, nil, &PathTrust{Roots: roots, Issuers: f})
	if !errors.As(err, new(*IssuerError)) || !errors.Is(err, errNotThere) || !errors.As(err, new(*pki.ChainError)) {
		t.Errorf("one is not there: %v", err)
	}
	// A signer that is not below a root gets no path by what can be fetched.
	f.asked = nil
	err = verdictOf(t, p, nil, nil, &PathTrust{Roots: pki.NewRoots(nil), Issuers: f})
	if ce, ok := errors.AsType[*pki.ChainError](err); !ok || ce.Reason != pki.UnknownIssuer {
		t.Errorf("no roots: %v", err)
	}
}

// TestPathTrustEndless has certificates that name ever new URLs.
func TestPathTrustEndless(t *testing.T) {
	other, err := testpki.NewCA("Endless")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	urls := func(c *x509.Certificate) {
		for range 5 {
			n++
			c.IssuingCertificateURL = append(c.IssuingCertificateURL, fmt.Sprintf("http://ca.test/%d", n))
		}
		c.Subject = pkix.Name{CommonName: "Endless"}
	}
	p, err := other.Issue(testpki.Profile{Name: "Leaf", Key: testpki.P256, Edit: urls})
	if err != nil {
		t.Fatal(err)
	}
	f := &issuers{at: func(string) []*pki.Certificate {
		ca, caErr := other.IntermediateWith("Endless", testpki.P256, urls)
		if caErr != nil {
			t.Fatal(caErr)
		}
		return certsOf(ca.Cert)
	}}
	err = verdictOf(t, p, nil, nil, &PathTrust{Roots: pki.NewRoots(certsOf(testCA.Cert)), Issuers: f})
	if !errors.As(err, new(*pki.ChainError)) || len(f.asked) > maxIssuerFetches || len(f.asked) < 2 {
		t.Errorf("%d fetches: %v", len(f.asked), err)
	}
}
