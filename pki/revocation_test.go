package pki

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/internal/testpki"
)

// A fakeFetcher has answers by URL.
type fakeFetcher struct {
	crls  map[string][]byte
	ocsp  map[string]func(*OCSPRequest) []byte
	calls atomic.Int64
}

var errNotThere = errors.New("not there")

func (f *fakeFetcher) FetchCRL(_ context.Context, url string) ([]byte, error) {
	f.calls.Add(1)
	if data, ok := f.crls[url]; ok {
		return data, nil
	}
	return nil, errNotThere
}

func (f *fakeFetcher) FetchOCSP(_ context.Context, url string, request *OCSPRequest) ([]byte, error) {
	f.calls.Add(1)
	if answer, ok := f.ocsp[url]; ok {
		return answer(request), nil
	}
	return nil, errNotThere
}

const (
	testOCSP = "http://ocsp.example.test/"
	testCRL  = "https://crl.example.test/ca.crl"
)

// withPlaces names where revocation information is.
func withPlaces(c *x509.Certificate) {
	c.OCSPServer = []string{"ldap://ocsp.example.test/", testOCSP}
	c.CRLDistributionPoints = []string{"ldap://crl.example.test/", testCRL}
}

// TestRevocationFetch has an OCSP responder that fails in several ways, and a
// CRL to fall back to.
func TestRevocationFetch(t *testing.T) {
	w := newRevocationWorld(t, withPlaces)
	good := func(*OCSPRequest) []byte { return makeOCSP(t, w, nil, nil) }
	bytesOf := func(s string) func(*OCSPRequest) []byte { return func(*OCSPRequest) []byte { return []byte(s) } }
	crls := map[string][]byte{testCRL: makeCRL(t, w.ca, nil).Raw}
	for _, c := range []struct {
		name   string
		answer func(*OCSPRequest) []byte
		nonce  NoncePolicy
		fault  SourceFault // of OCSP alone
	}{
		{"good", good, NonceIfAnswered, 0},
		{"good without the nonce", good, NonceRequired, SourceNonce},
		{"no answer", nil, NonceIfAnswered, SourceUnavailable},
		{"try later", bytesOf("\x30\x03\x0a\x01\x03"), NonceIfAnswered, SourceRefused},
		{"garbage", bytesOf("<html>"), NonceIfAnswered, SourceMalformed},
		{"unknown", func(*OCSPRequest) []byte {
			return makeOCSP(t, w, nil, func(r *ocsp.Response) { r.Status = ocsp.Unknown })
		}, NonceIfAnswered, SourceNoAnswer},
	} {
		f := &fakeFetcher{ocsp: map[string]func(*OCSPRequest) []byte{testOCSP: c.answer}}
		if c.answer == nil {
			f.ocsp = nil
		}
		check := &Revocation{Fetcher: f, Nonce: c.nonce}
		_, err := check.Check(context.Background(), w.chain)
		if c.fault == 0 && err != nil || c.fault != 0 && !hasSourceFault(err, c.fault) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.fault == 0 && f.calls.Load() != 1 {
			t.Errorf("%s: %d requests", c.name, f.calls.Load())
		}
		f.crls = crls
		var statuses []CertificateStatus
		if statuses, err = check.Check(context.Background(), w.chain); err != nil || (statuses[0].CRL != nil) != (c.fault != 0) {
			t.Errorf("%s, with a CRL: %v", c.name, err)
		}
	}
}

// TestRevocationOffline fetches nothing when all is at hand, when there is no
// fetcher, or when the context is done.
func TestRevocationOffline(t *testing.T) {
	w := newRevocationWorld(t, withPlaces)
	f := &fakeFetcher{}
	check := &Revocation{CRLs: []*CRL{nil, makeCRL(t, w.ca, nil)}, OCSP: []*OCSPResponse{nil}, Certificates: []*Certificate{nil}, Fetcher: f}
	if _, err := check.Check(context.Background(), w.chain); err != nil || f.calls.Load() != 0 {
		t.Errorf("at hand: %v, %d requests", err, f.calls.Load())
	}
	if _, err := new(Revocation).Check(context.Background(), w.chain); !hasSourceFault(err, SourceUnavailable) {
		t.Errorf("nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := (&Revocation{Fetcher: f}).Check(ctx, w.chain)
	if !errors.Is(err, context.Canceled) || f.calls.Load() != 0 {
		t.Errorf("canceled: %v, %d requests", err, f.calls.Load())
	}
	for _, chain := range [][]*Certificate{nil, {}, {nil}, {w.chain[0], nil}} {
		var unknown *RevocationUnknownError
		if _, err = check.Check(context.Background(), chain); !errors.As(err, &unknown) {
			t.Errorf("chain %v: %v", chain, err)
		}
	}
	if statuses, err := new(Revocation).Check(context.Background(), w.chain[1:]); err != nil || len(statuses) != 0 {
		t.Errorf("an anchor by itself: %v, %v", err, statuses)
	}
}

// TestRevocationChain has three certificates, of which the second is revoked.
func TestRevocationChain(t *testing.T) {
	w := newRevocationWorld(t, nil)
	sub, err := w.ca.Intermediate("Intermediate CA")
	if err != nil {
		t.Fatal(err)
	}
	chain := personOf(t, sub, "Carol", nil)
	if len(chain) != 3 {
		t.Fatalf("a chain of %d", len(chain))
	}
	below := makeCRL(t, sub, nil)
	above := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(chain[1], 2)}
	})
	check := &Revocation{CRLs: []*CRL{below, above}}
	var revoked *RevokedError
	statuses, err := check.Check(context.Background(), chain)
	if !errors.As(err, &revoked) || revoked.Certificate != chain[1] || revoked.Reason != RevokedCACompromise || len(statuses) != 2 ||
		statuses[0].Status != RevocationGood || statuses[1].Status != RevocationRevoked {
		t.Errorf("all: %v, %+v", err, statuses)
	}
	check.LeafOnly = true
	if statuses, err = check.Check(context.Background(), chain); err != nil || len(statuses) != 1 {
		t.Errorf("the leaf only: %v", err)
	}
	// One that is revoked counts more than one that is unknown before it.
	check = &Revocation{CRLs: []*CRL{above}}
	if _, err = check.Check(context.Background(), chain); !errors.As(err, &revoked) {
		t.Errorf("unknown and revoked: %v", err)
	}
}

// TestRevocationConflict has OCSP and CRL disagree, in either way.
func TestRevocationConflict(t *testing.T) {
	w := newRevocationWorld(t, nil)
	goodCRL := makeCRL(t, w.ca, nil)
	badCRL := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(w.chain[0], 1)}
	})
	goodOCSP := parseOCSP(t, makeOCSP(t, w, nil, nil))
	badOCSP := parseOCSP(t, makeOCSP(t, w, nil, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now() }))
	for i, check := range []*Revocation{
		{CRLs: []*CRL{goodCRL}, OCSP: []*OCSPResponse{badOCSP}}, {CRLs: []*CRL{badCRL}, OCSP: []*OCSPResponse{goodOCSP}},
	} {
		var revoked *RevokedError
		if _, err := check.Check(context.Background(), w.chain); !errors.As(err, &revoked) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestCRLIssuers has CRLs by others than the issuer in the chain.
func TestCRLIssuers(t *testing.T) {
	w := newRevocationWorld(t, nil)
	sameName, err := testpki.NewCA("Revoking CA")
	if err != nil {
		t.Fatal(err)
	}
	// A second key of the CA, for CRLs, by the first.
	second, err := w.ca.IntermediateWith("Revoking CA", testpki.P256, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	if err != nil {
		t.Fatal(err)
	}
	anchor := w.chain[1]
	errRefused := errors.New("refused")
	check := func(by *testpki.CA, chain func(*Certificate, []*Certificate, time.Time) ([]*Certificate, error)) error {
		r := &Revocation{
			CRLs:         []*CRL{makeCRL(t, by, nil)},
			Certificates: []*Certificate{FromX509(second.Cert), FromX509(sameName.Cert)},
			Chain:        chain,
		}
		_, err := r.Check(context.Background(), w.chain)
		return err
	}
	path := func(certs ...*Certificate) func(*Certificate, []*Certificate, time.Time) ([]*Certificate, error) {
		return func(leaf *Certificate, _ []*Certificate, _ time.Time) ([]*Certificate, error) {
			if len(certs) == 0 {
				return nil, errRefused
			}
			return append([]*Certificate{leaf}, certs...), nil
		}
	}
	for _, c := range []struct {
		name string
		err  error
		good bool
	}{
		{"a key that the CA certified", check(second, nil), true},
		{"the same, by a path", check(second, path(anchor)), true},
		{"the same, no path", check(second, path()), false},
		{"the same, another anchor", check(second, path(FromX509(sameName.Cert))), false},
		{"someone of the same name", check(sameName, nil), false},
		{"the same, with a path to an anchor of its own", check(sameName, path()), false},
	} {
		if c.good && c.err != nil || !c.good && !hasSourceFault(c.err, SourceUntrusted) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
}

// TestRevocationBudget has more signatures than one check may try.
func TestRevocationBudget(t *testing.T) {
	w := newRevocationWorld(t, nil)
	good := makeCRL(t, w.ca, nil)
	r := &Revocation{}
	for range maxChecks + 10 {
		raw := append([]byte(nil), good.Raw...)
		raw[len(raw)-1] ^= 1
		forged, err := ParseCRL(raw)
		if err != nil {
			t.Fatal(err)
		}
		r.CRLs = append(r.CRLs, forged)
	}
	_, err := r.Check(context.Background(), w.chain)
	var unknown *RevocationUnknownError
	if !errors.As(err, &unknown) || len(unknown.Errs) > maxErrs || !hasSourceFault(err, SourceBadSignature) {
		t.Errorf("%v", err)
	}
	r.CRLs = append([]*CRL{good}, r.CRLs...)
	if _, err = r.Check(context.Background(), w.chain); err != nil {
		t.Errorf("with a good one: %v", err)
	}
}

// TestRevocationSentences reads the errors as people do.
func TestRevocationSentences(t *testing.T) {
	w := newRevocationWorld(t, nil)
	evil := &RevokedError{Certificate: w.chain[0], Reason: RevokedKeyCompromise, RevokedAt: time.Unix(0, 0).UTC(), Source: "the CRL of \"CN=CA\""}
	if got := evil.Error(); got != `the certificate of "Alice" was revoked on 1970-01-01 (key compromise), says the CRL of "CN=CA"` {
		t.Error(got)
	}
	_, err := new(Revocation).Check(context.Background(), w.chain)
	want := `it is not known whether the certificate of "Alice" is revoked: a CRL of "CN=Revoking CA,O=Test" is not available`
	if err.Error() != want {
		t.Error(err)
	}
	source := &SourceError{Source: "the CRL", Fault: SourceUnavailable, Err: errors.New("a\nb")}
	if strings.ContainsAny(source.Error(), "\n") {
		t.Error(source)
	}
}

// TestRevocationExpired judges a certificate after its end: a list from then
// says nothing by silence, and all by an entry.
func TestRevocationExpired(t *testing.T) {
	end := time.Now().Add(-24 * time.Hour)
	w := newRevocationWorld(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = end.AddDate(0, -1, 0), end })
	silent := makeCRL(t, w.ca, nil)
	listed := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		e := entryFor(w.chain[0], 4)
		e.RevocationTime = end.Add(-48 * time.Hour)
		l.RevokedCertificateEntries = []x509.RevocationListEntry{e}
	})
	atEnd := makeCRL(t, w.ca, func(l *x509.RevocationList) { l.ThisUpdate = end.Add(-time.Hour) })
	goodOCSP := parseOCSP(t, makeOCSP(t, w, nil, nil))
	before := end.Add(-72 * time.Hour)
	for _, c := range []struct {
		name  string
		check Revocation
		want  string
	}{
		{"a silent list", Revocation{CRLs: []*CRL{silent}}, "expired"},
		{"a silent list, before the end", Revocation{CRLs: []*CRL{silent}, Time: before}, "expired"},
		{"a good response", Revocation{OCSP: []*OCSPResponse{goodOCSP}}, "expired"},
		{"an entry", Revocation{CRLs: []*CRL{listed}}, "revoked"},
		{"an entry, before it was made", Revocation{CRLs: []*CRL{listed}, Time: before}, "good"},
		{"a list from before the end", Revocation{CRLs: []*CRL{atEnd}}, "good"},
		{"a list from before the end, before that", Revocation{CRLs: []*CRL{silent, atEnd}, Time: before}, "good"},
	} {
		_, err := c.check.Check(context.Background(), w.chain)
		var revoked *RevokedError
		got := "good"
		switch {
		case errors.As(err, &revoked):
			got = "revoked"
		case hasSourceFault(err, SourceExpired):
			got = "expired"
		case err != nil:
			got = "unknown"
		}
		if got != c.want {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
}

// TestRevocationFetchDelta follows the freshestCRL of a list that was fetched.
func TestRevocationFetchDelta(t *testing.T) {
	const place = "http://crl.example.test/delta.crl"
	w := newRevocationWorld(t, withPlaces)
	uri := append([]byte{0x86, byte(len(place))}, place...)
	freshest := uri
	for _, tag := range []byte{0xa0, 0xa0, 0x30, 0x30} {
		freshest = append([]byte{tag, byte(len(freshest))}, freshest...)
	}
	base := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{testExtension(t, freshestID, false, freshest)}
	})
	if len(base.Freshest) != 1 || len(base.Freshest[0].URIs) != 1 || base.Freshest[0].URIs[0] != place {
		t.Fatalf("%+v", base.Freshest)
	}
	delta := makeCRL(t, w.ca, func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate = big.NewInt(8), time.Now()
		l.ExtraExtensions = []pkix.Extension{testExtension(t, deltaID, true, 7)}
		l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(w.chain[0], 9)}
	})
	f := &fakeFetcher{crls: map[string][]byte{testCRL: base.Raw}}
	check := &Revocation{Fetcher: f}
	if _, err := check.Check(context.Background(), w.chain); err != nil {
		t.Errorf("no delta CRL there: %v", err)
	}
	f.crls[place] = delta.Raw
	var revoked *RevokedError
	if _, err := check.Check(context.Background(), w.chain); !errors.As(err, &revoked) || revoked.Reason != RevokedPrivilegeWithdrawn {
		t.Errorf("with the delta CRL: %v", err)
	}
}
