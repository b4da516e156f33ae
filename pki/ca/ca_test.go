package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func public(t *testing.T, key crypto.PrivateKey) crypto.PublicKey {
	t.Helper()
	return must[crypto.PublicKey](t)(ca.Public(key))
}

func hierarchy(t *testing.T, kind ca.KeyType) (root, issuing *ca.Authority) {
	t.Helper()
	key := must[crypto.PrivateKey](t)(ca.GenerateKey(kind))
	root = must[*ca.Authority](t)(ca.NewRoot(ca.Subject{Organization: "Example", Name: "Root"}, key, now))
	key = must[crypto.PrivateKey](t)(ca.GenerateKey(kind))
	issuing = must[*ca.Authority](t)(root.NewIssuing(ca.Subject{Organization: "Example", Name: "Issuing"}, key, ca.URLs{}, now))
	return root, issuing
}

// TestChains issues to every type of key by every type of CA, and has both
// package pki and crypto/x509 judge.
func TestChains(t *testing.T) {
	seen := 0
	for _, kind := range ca.KeyTypes() {
		if !kind.Signs() {
			continue
		}
		root, issuing := hierarchy(t, kind)
		for _, leaf := range ca.KeyTypes() {
			key := must[crypto.PrivateKey](t)(ca.GenerateKey(leaf))
			usage, purpose := ca.SignAndEncrypt, pki.Signing
			switch {
			case !leaf.Encrypts():
				usage = ca.SignOnly
			case !leaf.Signs():
				usage, purpose = ca.EncryptOnly, pki.Encrypting
			}
			c, err := issuing.Issue(&ca.Request{
				Emails: []string{"ann@example.test", "zoë@example.test"}, Key: public(t, key), Usage: usage,
				URLs: ca.URLs{CRL: "http://x.test/crl", OCSP: "http://x.test/ocsp", Issuer: "http://x.test/ca"},
			}, now)
			if err != nil {
				t.Fatalf("%s by %s: %v", leaf, kind, err)
			}
			seen++
			checkLeaf(t, c)
			opts := pki.ChainOptions{Time: now, Purpose: purpose, Intermediates: []*pki.Certificate{issuing.Certificate}}
			if _, err = pki.NewRoots([]*pki.Certificate{root.Certificate}).Verify(c, opts); err != nil {
				t.Errorf("%s by %s: %v", leaf, kind, err)
			}
			if !knownToGo(kind) {
				continue
			}
			roots, others := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(root.Certificate.X509)
			others.AddCert(issuing.Certificate.X509)
			if _, err = c.X509.Verify(x509.VerifyOptions{
				Roots: roots, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
			}); err != nil {
				t.Errorf("%s by %s: crypto/x509: %v", leaf, kind, err)
			}
		}
	}
	if seen != 8*13 {
		t.Errorf("%d certificates", seen)
	}
}

// knownToGo reports whether crypto/x509 can check signatures by a type of key.
func knownToGo(kind ca.KeyType) bool {
	return slices.Contains([]ca.KeyType{ca.RSA3072, ca.P256, ca.P384, ca.Ed25519}, kind)
}

func checkLeaf(t *testing.T, c *pki.Certificate) {
	t.Helper()
	if len(c.Problems) > 0 || c.X509 == nil || c.KeyErr != nil {
		t.Fatalf("problems %v, %v, %v", c.Problems, c.X509Err, c.KeyErr)
	}
	if !slices.Equal(c.Emails, []string{"ann@example.test", "zoë@example.test"}) {
		t.Errorf("addresses %q", c.Emails)
	}
	if new(big.Int).SetBytes(c.Serial).BitLen() < 64 || c.Serial[0] >= 0x80 {
		t.Errorf("serial number %x", c.Serial)
	}
	if got := c.NotAfter.Sub(c.NotBefore); got != 365*24*time.Hour-time.Second {
		t.Errorf("validity %v", got)
	}
	points, err := pki.CRLDistributionPoints(c)
	if err != nil || len(points) != 1 || !slices.Equal(pki.OCSPServers(c), []string{"http://x.test/ocsp"}) ||
		!slices.Equal(pki.IssuerURLs(c), []string{"http://x.test/ca"}) {
		t.Errorf("URLs: %v, %v", points, err)
	}
}

func TestRefused(t *testing.T) {
	_, issuing := hierarchy(t, ca.P256)
	key := public(t, must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P256)))
	ed := public(t, must[crypto.PrivateKey](t)(ca.GenerateKey(ca.Ed25519)))
	p224 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	small := &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int), 1023, 1), E: 65537}
	good := []string{"a@b.test"}
	for field, list := range map[string][]ca.Request{
		"validity": {{Emails: good, Key: key, Days: 826}, {Emails: good, Key: key, Days: -1}, {Emails: good, Key: key, Days: 1186, Profile: ca.Legacy}},
		"address": {{Key: key}, {Emails: []string{"a"}, Key: key}, {Emails: []string{"a@b@c"}, Key: key}, {Emails: []string{"a@ä.test"}, Key: key},
			{Emails: []string{"<a@b.test>"}, Key: key}, {Emails: []string{"a\n@b.test"}, Key: key}, {Emails: make([]string, 101), Key: key}, {Emails: []string{"a@b..c"}, Key: key}},
		"key":     {{Emails: good}, {Emails: good, Key: ed}, {Emails: good, Key: &p224.PublicKey}, {Emails: good, Key: small}},
		"name":    {{Emails: good, Key: key, Name: "a\x00b"}, {Emails: good, Key: key, Name: string(bytes.Repeat([]byte("x"), 65))}},
		"profile": {{Emails: good, Key: key, Profile: 3}},
	} {
		for i, req := range list {
			_, err := issuing.Issue(&req, now)
			if re, ok := errors.AsType[*ca.RequestError](err); !ok || re.Field != field {
				t.Errorf("%s %d: %v", field, i, err)
			}
		}
	}
	late := now.AddDate(9, 6, 0)
	_, err := issuing.Issue(&ca.Request{Emails: good, Key: key}, late)
	if re, ok := errors.AsType[*ca.RequestError](err); !ok || re.Field != "validity" {
		t.Errorf("a certificate that outlives its CA: %v", err)
	}
	if _, err = issuing.Issue(&ca.Request{Emails: good, Key: key, Days: 1185, Profile: ca.Legacy}, now); err != nil {
		t.Error(err)
	}
}

func TestCSR(t *testing.T) {
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	raw := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{EmailAddresses: []string{"a@b.test"}}, key))
	for _, data := range [][]byte{raw, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: raw})} {
		csr, err := ca.ParseCSR(data)
		if err != nil || !key.PublicKey.Equal(csr.Key) || !slices.Equal(csr.Emails, []string{"a@b.test"}) {
			t.Errorf("%v, %v", csr, err)
		}
	}
	forged := bytes.Replace(raw, []byte("a@b.test"), []byte("x@b.test"), 1)
	for i, bad := range [][]byte{nil, forged, raw[:len(raw)-1], append(bytes.Clone(raw), 0), make([]byte, 2<<20)} {
		if _, err := ca.ParseCSR(bad); !errors.As(err, new(*ca.CSRError)) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestRevocation has package pki judge the CRL and the OCSP responses.
func TestRevocation(t *testing.T) {
	root, issuing := hierarchy(t, ca.P256)
	key := must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P256))
	c := must[*pki.Certificate](t)(issuing.Issue(&ca.Request{Emails: []string{"a@b.test"}, Key: public(t, key)}, now))
	chain := []*pki.Certificate{c, issuing.Certificate, root.Certificate}
	responderKey := must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P256))
	status := ca.Status{Status: pki.RevocationGood}
	responder := must[*ca.Responder](t)(issuing.NewResponder(responderKey, func(serial []byte) (ca.Status, error) {
		if !bytes.Equal(serial, c.Serial) {
			return ca.Status{}, nil
		}
		return status, nil
	}, 24*time.Hour, now))
	for _, revoked := range []bool{false, true} {
		var list []ca.Revoked
		if revoked {
			list = []ca.Revoked{{Serial: c.Serial, At: now, Reason: pki.RevokedKeyCompromise}}
			status = ca.Status{Status: pki.RevocationRevoked, At: now, Reason: pki.RevokedKeyCompromise}
		}
		raw := must[[]byte](t)(issuing.CRL(list, big.NewInt(7), now, now.AddDate(0, 0, 7)))
		crl := must[*pki.CRL](t)(pki.ParseCRL(raw))
		if crl.Number.Int64() != 7 || crl.Entries != len(list) || crl.Version != 2 {
			t.Errorf("CRL %v with %d entries", crl.Number, crl.Entries)
		}
		req := must[*pki.OCSPRequest](t)(pki.NewOCSPRequest(c, issuing.Certificate, pki.OCSPRequestOptions{}))
		answer := must[*ca.Answer](t)(responder.Respond(req.Raw, now, time.Hour))
		resp := must[*pki.OCSPResponse](t)(pki.ParseOCSPResponse(answer.DER))
		if !bytes.Equal(resp.Nonce, req.Nonce) || answer.Reusable {
			t.Error("the nonce did not come back")
		}
		for _, check := range []pki.Revocation{
			{Time: now, LeafOnly: true, CRLs: []*pki.CRL{crl}}, {Time: now, LeafOnly: true, OCSP: []*pki.OCSPResponse{resp}},
		} {
			_, err := check.Check(context.Background(), chain)
			if revoked != errors.As(err, new(*pki.RevokedError)) || !revoked && err != nil {
				t.Errorf("revoked %v: %v", revoked, err)
			}
		}
	}
}

func TestOCSPRefused(t *testing.T) {
	_, issuing := hierarchy(t, ca.P256)
	_, other := hierarchy(t, ca.P256)
	key := must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P256))
	down := errors.New("down")
	responder := must[*ca.Responder](t)(issuing.NewResponder(key, func([]byte) (ca.Status, error) { return ca.Status{}, down }, time.Hour, now))
	foreign := must[*pki.OCSPRequest](t)(pki.NewOCSPRequest(issuing.Certificate, other.Certificate, pki.OCSPRequestOptions{NoNonce: true}))
	answer := must[*ca.Answer](t)(responder.Respond(foreign.Raw, now, time.Hour))
	resp := must[*pki.OCSPResponse](t)(pki.ParseOCSPResponse(answer.DER))
	if len(resp.Responses) != 1 || resp.Responses[0].Status != pki.RevocationUnknown || !answer.Reusable {
		t.Errorf("another CA's certificate: %v", resp.Responses)
	}
	own := must[*pki.OCSPRequest](t)(pki.NewOCSPRequest(responder.Certificate, issuing.Certificate, pki.OCSPRequestOptions{}))
	answer, err := responder.Respond(own.Raw, now, time.Hour)
	if !errors.Is(err, down) {
		t.Errorf("lookup failed: %v", err)
	}
	wantStatus(t, answer, pki.OCSPInternalError)
	for n := range own.Raw {
		answer = must[*ca.Answer](t)(responder.Respond(own.Raw[:n], now, time.Hour))
		wantStatus(t, answer, pki.OCSPMalformedRequest)
	}
}

func wantStatus(t *testing.T, answer *ca.Answer, want pki.OCSPStatus) {
	t.Helper()
	_, err := pki.ParseOCSPResponse(answer.DER)
	if se, ok := errors.AsType[*pki.OCSPStatusError](err); !ok || se.Status != want {
		t.Fatalf("%v, want %v", err, want)
	}
}

// TestKeys reads private keys back.
func TestKeys(t *testing.T) {
	for _, kind := range ca.KeyTypes() {
		key := must[crypto.PrivateKey](t)(ca.GenerateKey(kind))
		for _, passphrase := range []string{"", "secret"} {
			raw := must[[]byte](t)(ca.MarshalKey(key, []byte(passphrase)))
			got, err := keystore.ParsePrivateKey("x", raw, func(string) ([]byte, error) { return []byte(passphrase), nil })
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if reflect.TypeOf(got) != reflect.TypeOf(key) || !bytes.Equal(must[[]byte](t)(ca.MarshalKey(got, nil)), must[[]byte](t)(ca.MarshalKey(key, nil))) {
				t.Errorf("%s: another key", kind)
			}
		}
	}
	if _, err := ca.GenerateKey("ml-dsa-66"); !errors.As(err, new(*ca.RequestError)) {
		t.Error(err)
	}
}
