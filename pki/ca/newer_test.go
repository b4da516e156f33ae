package ca_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// TestUsages has each type of key used for what it is not for.
func TestUsages(t *testing.T) {
	_, issuing := hierarchy(t, ca.MLDSA44)
	seen := 0
	for _, kind := range ca.KeyTypes() {
		key := must[crypto.PrivateKey](t)(ca.GenerateKey(kind))
		for usage, ok := range map[ca.Usage]bool{
			ca.SignOnly: kind.Signs(), ca.EncryptOnly: kind.Encrypts(), ca.SignAndEncrypt: kind.Signs() && kind.Encrypts(),
		} {
			seen++
			c, err := issuing.Issue(&ca.Request{Emails: []string{"a@b.test"}, Key: public(t, key), Usage: usage}, now)
			if !ok {
				if re, is := errors.AsType[*ca.RequestError](err); !is || re.Field != "key" {
					t.Errorf("%s for %d: %v", kind, usage, err)
				}
				continue
			}
			if err != nil || c.CanSign() != (usage != ca.EncryptOnly) || c.CanEncrypt() != (usage != ca.SignOnly) {
				t.Errorf("%s for %d: %v", kind, usage, err)
			}
		}
		if partner := kind.Encryption(); !partner.Encrypts() {
			t.Errorf("%s goes with %q", kind, partner)
		}
		if _, err := ca.NewRoot(ca.Subject{Name: "Root"}, key, now); (err == nil) != kind.Signs() {
			t.Errorf("a root with %s: %v", kind, err)
		}
	}
	if seen != 13*3 {
		t.Errorf("%d certificates asked for", seen)
	}
}

// TestHashRoot has a root with an SLH-DSA key, of which there is no type.
func TestHashRoot(t *testing.T) {
	_, key, err := slhdsa.GenerateKey(rand.Reader, slhdsa.SHAKE_128f)
	if err != nil {
		t.Fatal(err)
	}
	root := must[*ca.Authority](t)(ca.NewRoot(ca.Subject{Country: "DE", Name: "Root"}, key, now))
	raw := must[[]byte](t)(ca.MarshalKey(key, nil))
	if len(raw) != 64+2+2+15 { // n = 16: four times n octets, in an OCTET STRING, in a SEQUENCE with version and algorithm
		t.Logf("%d octets", len(raw))
	}
	leaf := must[crypto.PrivateKey](t)(ca.GenerateKey(ca.MLKEM768))
	c := must[*pki.Certificate](t)(root.Issue(&ca.Request{Emails: []string{"a@b.test"}, Key: public(t, leaf), Usage: ca.EncryptOnly}, now))
	opts := pki.ChainOptions{Time: now, Purpose: pki.Encrypting}
	if _, err = pki.NewRoots([]*pki.Certificate{root.Certificate}).Verify(c, opts); err != nil {
		t.Error(err)
	}
}

func TestCountry(t *testing.T) {
	key := must[crypto.PrivateKey](t)(ca.GenerateKey(ca.P256))
	root := must[*ca.Authority](t)(ca.NewRoot(ca.Subject{Country: "CH", Organization: "Example", Name: "Root"}, key, now))
	if got := root.Certificate.X509.Subject.Country; len(got) != 1 || got[0] != "CH" {
		t.Errorf("country %q", got)
	}
	for _, code := range []string{"ch", "CHE", "C", "Ö"} {
		_, err := ca.NewRoot(ca.Subject{Country: code, Name: "Root"}, key, now)
		if re, ok := errors.AsType[*ca.RequestError](err); !ok || re.Field != "country" {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// request makes a CSR with a key that crypto/x509 does not know.
func request(t testing.TB, kind ca.KeyType) (raw []byte, public crypto.PublicKey) {
	t.Helper()
	key, err := ca.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatalf("%T does not sign", key)
	}
	spki, err := alg.MarshalPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1Int64(0)
			b.AddASN1(asn1.SEQUENCE, func(*der.Builder) {})
			b.AddBytes(spki)
			b.AddASN1(der.Context(0, true), func(*der.Builder) {})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := alg.SignatureFor(signer.Public(), 0, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := sig.Algorithm()
	if err != nil {
		t.Fatal(err)
	}
	value, err := sig.Sign(signer, tbs, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddBytes(tbs)
			der.AddAlgorithm(b, a)
			b.AddASN1BitString(value)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw, signer.Public()
}

func TestNewerCSR(t *testing.T) {
	for _, kind := range []ca.KeyType{ca.MLDSA44, ca.MLDSA65, ca.MLDSA87, ca.Ed448} {
		raw, want := request(t, kind)
		csr, err := ca.ParseCSR(raw)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if k, ok := csr.Key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(want) {
			t.Errorf("%s: another key", kind)
		}
		for _, at := range []int{len(raw) - 5, len(raw) / 8} { // in the signature, in the key
			bad := bytes.Clone(raw)
			bad[at] ^= 1
			if _, err = ca.ParseCSR(bad); !errors.As(err, new(*ca.CSRError)) {
				t.Errorf("%s, octet %d changed: %v", kind, at, err)
			}
		}
	}
}

// FuzzParseCSR asks for a verdict that is a key which can be issued for, or an
// error of the package.
func FuzzParseCSR(f *testing.F) {
	raw, _ := request(f, ca.MLDSA44)
	f.Add(raw)
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		f.Fatal(err)
	}
	raw, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{EmailAddresses: []string{"a@b.test"}}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		csr, err := ca.ParseCSR(data)
		switch {
		case err == nil && csr.Key != nil:
			if _, err = alg.MarshalPublicKey(csr.Key); err != nil {
				t.Error(err)
			}
		case errors.As(err, new(*ca.CSRError)), errors.As(err, new(*ca.RequestError)):
		default:
			t.Errorf("%v, %v", csr, err)
		}
	})
}
