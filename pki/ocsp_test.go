package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postseal/postseal/internal/testpki"
)

var noCheckID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// makeOCSP signs a response about w's person with golang.org/x/crypto/ocsp. It
// is a minute old and has another hour, and is signed by signer, or by the CA.
func makeOCSP(t testing.TB, w *revocationWorld, signer *testpki.Person, edit func(*ocsp.Response)) []byte {
	t.Helper()
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: w.chain[0].X509.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}
	by, key := w.ca.Cert, w.ca.Key
	if signer != nil {
		by, key = signer.Cert, signer.Key.(crypto.Signer)
		template.Certificate = by
	}
	if edit != nil {
		edit(&template)
	}
	raw, err := ocsp.CreateResponse(w.ca.Cert, by, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func parseOCSP(t testing.TB, raw []byte) *OCSPResponse {
	t.Helper()
	r, err := ParseOCSPResponse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOCSPTimes judges responses at several times.
func TestOCSPTimes(t *testing.T) {
	w := newRevocationWorld(t, nil)
	now := time.Now()
	revoked := func(reason int, at time.Time) func(*ocsp.Response) {
		return func(r *ocsp.Response) { r.Status, r.RevocationReason, r.RevokedAt = ocsp.Revoked, reason, at }
	}
	endless := func(age time.Duration) func(*ocsp.Response) {
		return func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(-age), time.Time{} }
	}
	for _, c := range []struct {
		name  string
		edit  func(*ocsp.Response)
		check Revocation
		want  string // "", "revoked", or unknown by a fault
		fault SourceFault
	}{
		{"good", nil, Revocation{}, "", 0},
		{"unknown", func(r *ocsp.Response) { r.Status = ocsp.Unknown }, Revocation{}, "unknown", SourceNoAnswer},
		{"revoked", revoked(ocsp.Superseded, now.Add(-time.Hour)), Revocation{}, "revoked", 0},
		{"revoked for no reason", revoked(ocsp.Unspecified, now.Add(-time.Hour)), Revocation{}, "revoked", 0},
		{"superseded after", revoked(ocsp.Superseded, now.Add(-time.Hour)), Revocation{Time: now.Add(-2 * time.Hour)}, "", 0},
		{"compromised after", revoked(ocsp.KeyCompromise, now.Add(-time.Hour)), Revocation{Time: now.Add(-2 * time.Hour)}, "revoked", 0},
		{"compromised after a proven time", revoked(ocsp.KeyCompromise, now.Add(-time.Hour)), Revocation{Time: now.Add(-2 * time.Hour), TimeProven: true}, "", 0},
		{"compromised before a proven time", revoked(ocsp.KeyCompromise, now.Add(-time.Hour)), Revocation{Time: now.Add(-50 * time.Minute), TimeProven: true}, "revoked", 0},
		{"from tomorrow", func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(24*time.Hour), now.Add(48*time.Hour) }, Revocation{}, "unknown", SourceEarly},
		{"ended", func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(-2*time.Hour), now.Add(-time.Hour) }, Revocation{}, "unknown", SourceStale},
		{"too old", nil, Revocation{MaxAge: time.Second, Skew: -1}, "unknown", SourceStale},
		{"an hour without end", endless(time.Hour), Revocation{}, "", 0},
		{"two days without end", endless(48 * time.Hour), Revocation{}, "unknown", SourceStale},
		{"two days without end, three allowed", endless(48 * time.Hour), Revocation{MaxAge: 72 * time.Hour}, "", 0},
	} {
		c.check.OCSP = []*OCSPResponse{parseOCSP(t, makeOCSP(t, w, nil, c.edit))}
		_, err := c.check.Check(context.Background(), w.chain)
		var is *RevokedError
		got := ""
		switch {
		case errors.As(err, &is):
			got = "revoked"
		case err != nil:
			got = "unknown"
		}
		if got != c.want || c.fault != 0 && !hasSourceFault(err, c.fault) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// TestOCSPResponders has responses by several signers.
func TestOCSPResponders(t *testing.T) {
	w := newRevocationWorld(t, nil)
	stranger, err := testpki.NewCA("Revoking CA") // the same name, another key
	if err != nil {
		t.Fatal(err)
	}
	sub, err := w.ca.Intermediate("Intermediate CA")
	if err != nil {
		t.Fatal(err)
	}
	noCheck := testExtension(t, noCheckID, false, []byte{5, 0})
	issue := func(ca *testpki.CA, name string, edit func(*x509.Certificate)) *testpki.Person {
		p, err := ca.Issue(testpki.Profile{Name: name, Key: testpki.P256, Edit: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			c.ExtraExtensions = []pkix.Extension{noCheck}
			if edit != nil {
				edit(c)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	trusted := issue(stranger, "Trusted responder", nil)
	checked := issue(w.ca, "Checked responder", func(c *x509.Certificate) {
		c.ExtraExtensions, c.CRLDistributionPoints = nil, []string{"http://crl.example.test/"}
	})
	responderView := FromX509(checked.Cert)
	var none Revocation
	for _, c := range []struct {
		name   string
		signer *testpki.Person
		check  Revocation
		fault  SourceFault
	}{
		{"the CA", nil, none, 0},
		{"a delegate", issue(w.ca, "Responder", nil), none, 0},
		{"a delegate, nocheck critical", issue(w.ca, "Responder 2", func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = true }), none, 0},
		{"a delegate without nocheck or a way to check", issue(w.ca, "Responder 3", func(c *x509.Certificate) { c.ExtraExtensions = nil }), none, 0},
		{"a delegate that has to be checked", checked, none, SourceUntrusted},
		{"the same, softly", checked, Revocation{SoftFail: true}, 0},
		{"the same, good", checked, Revocation{CRLs: []*CRL{makeCRL(t, w.ca, nil)}}, 0},
		{"the same, revoked, softly", checked, Revocation{SoftFail: true, CRLs: []*CRL{makeCRL(t, w.ca, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{entryFor(responderView, 1)}
		})}}, 0},
		{"a delegate of the stranger", issue(stranger, "Responder", nil), none, SourceUntrusted},
		{"a delegate of a CA below", issue(sub, "Responder", nil), none, SourceUntrusted},
		{"no OCSPSigning", issue(w.ca, "Responder 4", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), none, SourceUntrusted},
		{"not for signing", issue(w.ca, "Responder 5", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), none, SourceUntrusted},
		{"expired", issue(w.ca, "Responder 6", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), none, SourceUntrusted},
		{"a critical extension", issue(w.ca, "Responder 7", func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, testExtension(t, unknownID, true, 1))
		}), none, SourceUntrusted},
		{"not trusted locally", trusted, none, SourceUntrusted},
		{"trusted locally", trusted, Revocation{Responders: []*Certificate{FromX509(trusted.Cert)}}, 0},
	} {
		c.check.OCSP = []*OCSPResponse{parseOCSP(t, makeOCSP(t, w, c.signer, nil))}
		statuses, err := c.check.Check(context.Background(), w.chain)
		if c.fault == 0 && (err != nil || len(statuses) != 1) || c.fault != 0 && !hasSourceFault(err, c.fault) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		// A responder that is revoked leaves the word to the CRL.
		if byOCSP := statuses[0].OCSP != nil; byOCSP == (c.name == "the same, revoked, softly") {
			t.Errorf("%s: by OCSP: %v", c.name, byOCSP)
		}
	}
}

// TestOCSPBytes changes every octet of a response: it never makes the
// certificate good.
func TestOCSPBytes(t *testing.T) {
	w := newRevocationWorld(t, nil)
	raw := makeOCSP(t, w, nil, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now() })
	parsed := 0
	for n := range raw {
		changed := bytes.Clone(raw)
		changed[n] ^= 0x40
		r, err := ParseOCSPResponse(changed)
		if err != nil {
			continue
		}
		parsed++
		if _, err = (&Revocation{OCSP: []*OCSPResponse{r}}).Check(context.Background(), w.chain); err == nil {
			t.Errorf("octet %d: good", n)
		}
	}
	if parsed < 100 {
		t.Errorf("only %d responses could be read", parsed)
	}
	for n := range raw {
		var malformed *RevocationParseError
		if _, err := ParseOCSPResponse(raw[:n]); !errors.As(err, &malformed) {
			t.Fatalf("cut after %d octets: %v", n, err)
		}
	}
}

func TestOCSPStatus(t *testing.T) {
	for raw, want := range map[string]OCSPStatus{
		"\x30\x03\x0a\x01\x01": OCSPMalformedRequest, "\x30\x03\x0a\x01\x03": OCSPTryLater, "\x30\x03\x0a\x01\x06": OCSPUnauthorized,
	} {
		var status *OCSPStatusError
		if _, err := ParseOCSPResponse([]byte(raw)); !errors.As(err, &status) || status.Status != want {
			t.Errorf("%x: %v", raw, err)
		}
	}
}

// TestOCSPRequest has golang.org/x/crypto/ocsp read our requests.
func TestOCSPRequest(t *testing.T) {
	w := newRevocationWorld(t, nil)
	for _, hash := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256} {
		for _, noNonce := range []bool{false, true} {
			r, err := NewOCSPRequest(w.chain[0], w.chain[1], OCSPRequestOptions{Hash: hash, NoNonce: noNonce})
			if err != nil {
				t.Fatal(err)
			}
			got, err := ocsp.ParseRequest(r.Raw)
			if err != nil {
				t.Fatal(err)
			}
			want := hash
			if hash == 0 {
				want = crypto.SHA1
			}
			if got.HashAlgorithm != want || got.SerialNumber.Cmp(w.chain[0].X509.SerialNumber) != 0 {
				t.Errorf("%+v", got)
			}
			if (r.Nonce == nil) != noNonce || !noNonce && (len(r.Nonce) != 32 || !bytes.Contains(r.Raw, r.Nonce)) {
				t.Errorf("nonce %x", r.Nonce)
			}
		}
	}
	if _, err := NewOCSPRequest(w.chain[0], w.chain[1], OCSPRequestOptions{Hash: crypto.MD5}); err == nil {
		t.Error("MD5 is accepted")
	}
}

// TestRevocationInfo reads the forms that CMS messages carry.
func TestRevocationInfo(t *testing.T) {
	w := newRevocationWorld(t, nil)
	response := makeOCSP(t, w, nil, nil)
	crl := makeCRL(t, w.ca, nil)
	wrap := func(tag byte, id asn1.ObjectIdentifier) []byte {
		oidDER, err := asn1.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := asn1.Marshal(asn1.RawValue{
			Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: true, Bytes: append(oidDER, response...),
		})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ocspID := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 16, 2}
	gotCRL, gotOCSP, err := ParseRevocationInfo(crl.Raw)
	if err != nil || gotCRL == nil || gotOCSP != nil {
		t.Errorf("a CRL: %v", err)
	}
	gotCRL, gotOCSP, err = ParseRevocationInfo(wrap(0xa1, ocspID))
	if err != nil || gotCRL != nil || gotOCSP == nil || !bytes.Equal(gotOCSP.Raw, response) {
		t.Fatalf("an OCSP response: %v", err)
	}
	if _, err = (&Revocation{OCSP: []*OCSPResponse{gotOCSP}}).Check(context.Background(), w.chain); err != nil {
		t.Errorf("stapled: %v", err)
	}
	if gotOCSP, err = ParseOtherRevocationInfo(wrap(0x30, ocspID)); err != nil || gotOCSP == nil {
		t.Errorf("of its own: %v", err)
	}
	var malformed *RevocationParseError
	scvp := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 16, 4}
	if _, _, err = ParseRevocationInfo(wrap(0xa1, scvp)); !errors.As(err, &malformed) || malformed.Field != "otherRevInfoFormat 1.3.6.1.5.5.7.16.4" {
		t.Errorf("SCVP: %v", err)
	}
}

func FuzzParseOCSP(f *testing.F) {
	w := newRevocationWorld(f, nil)
	f.Add(makeOCSP(f, w, nil, nil))
	f.Add(makeOCSP(f, w, nil, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now() }))
	f.Add([]byte("\x30\x03\x0a\x01\x03"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseOCSPResponse(raw)
		if err != nil {
			if !errors.As(err, new(*RevocationParseError)) && !errors.As(err, new(*OCSPStatusError)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		_, err = (&Revocation{OCSP: []*OCSPResponse{r}}).Check(t.Context(), w.chain)
		if err != nil && !errors.As(err, new(*RevokedError)) && !errors.As(err, new(*RevocationUnknownError)) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
