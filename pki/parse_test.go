package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	//lint:ignore SA1019 certificates with DSA keys have to be read (RFC 4134)
	"crypto/dsa"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"
)

// vectorFiles are patterns of certificate files and how many they match.
var vectorFiles = []struct {
	pattern string
	count   int
}{
	{"rfc4134/*.cer", 7}, {"rfc9216/*.crt", 12}, {"pkits/certs/*.crt", 405}, {"openssl/*.pem", 15},
}

func TestVectorsAgainstX509(t *testing.T) {
	for _, v := range vectorFiles {
		certs := readCerts(t, v.pattern)
		if len(certs) != v.count {
			t.Errorf("%s: %d certificates, want %d", v.pattern, len(certs), v.count)
		}
		for name, c := range certs {
			if len(c.Problems) > 0 {
				t.Errorf("%s: %v", name, c.Problems)
			}
			if c.X509 != nil {
				if err := compareX509(c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// compareX509 compares c with what crypto/x509 read.
func compareX509(c *Certificate) error {
	x := c.X509
	serial := new(big.Int).SetBytes(c.Serial)
	// Extensions belong to version 3 (RFC 5280, Section 4.1.2.9). In others OpenSSL
	// reads them, as we do, and crypto/x509 does not look.
	older := c.Version < 3
	checks := []struct {
		what string
		same bool
	}{
		{"Raw", bytes.Equal(c.Raw, x.Raw)},
		{"RawTBS", bytes.Equal(c.RawTBS, x.RawTBSCertificate)},
		{"RawIssuer", bytes.Equal(c.RawIssuer, x.RawIssuer)},
		{"RawSubject", bytes.Equal(c.RawSubject, x.RawSubject)},
		{"RawSPKI", bytes.Equal(c.RawSPKI, x.RawSubjectPublicKeyInfo)},
		{"Serial", serial.Cmp(x.SerialNumber) == 0},
		{"NotBefore", c.NotBefore.Equal(x.NotBefore)},
		{"NotAfter", c.NotAfter.Equal(x.NotAfter)},
		{"SubjectKeyID", older || bytes.Equal(c.SubjectKeyID, x.SubjectKeyId)},
		{"AuthorityKeyID", older || bytes.Equal(c.AuthorityKeyID, x.AuthorityKeyId)},
		{"KeyUsage", older || c.KeyUsage == x.KeyUsage},
		{"IsCA", older || c.IsCA == x.IsCA},
		{"Signature", bytes.Equal(c.Signature, x.Signature)},
		{"ExtKeyUsage", older || len(c.ExtKeyUsage) == len(x.ExtKeyUsage)+len(x.UnknownExtKeyUsage)},
	}
	for _, check := range checks {
		if !check.same {
			return fmt.Errorf("%s is not what crypto/x509 has", check.what)
		}
	}
	for _, e := range x.EmailAddresses {
		if isMailbox(e) && !c.HasEmail(e) && len(c.Emails) < maxEmails {
			return fmt.Errorf("the address %q is missing in %q", e, c.Emails)
		}
	}
	key, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if ok && x.PublicKey != nil && !key.Equal(x.PublicKey) {
		return errors.New("the public key is another one")
	}
	return nil
}

func TestTruncated(t *testing.T) {
	c := readCerts(t, "rfc9216/alice.sign.crt")["alice.sign.crt"]
	for n := range c.Raw {
		var parseErr *ParseError
		if _, err := ParseCertificate(c.Raw[:n]); !errors.As(err, &parseErr) {
			t.Fatalf("%d octets: %v", n, err)
		}
	}
	var parseErr *ParseError
	if _, err := ParseCertificate(append(bytes.Clone(c.Raw), 0)); !errors.As(err, &parseErr) {
		t.Errorf("with data after it: %v", err)
	}
}

// The extensions of a certificate of version 1 or 2 are read, though they should
// not be there (RFC 5280, Section 4.1.2.9): unread they would restrict nothing.
func TestExtensionsInOlderVersions(t *testing.T) {
	want := readCerts(t, "rfc9216/alice.sign.crt")["alice.sign.crt"]
	version := []byte{0xa0, 3, 2, 1, 2}
	for n := range byte(2) {
		raw := bytes.Replace(want.Raw, version, []byte{0xa0, 3, 2, 1, n}, 1)
		c, err := ParseCertificate(raw)
		if err != nil || c.Version != int(n)+1 {
			t.Fatalf("version %d: %v", c.Version, err)
		}
		if c.KeyUsage != want.KeyUsage || len(c.ExtKeyUsage) != len(want.ExtKeyUsage) || !bytes.Equal(c.SubjectKeyID, want.SubjectKeyID) {
			t.Errorf("version %d: %v, %v, %x", c.Version, c.KeyUsage, c.ExtKeyUsage, c.SubjectKeyID)
		}
	}
}

func TestOddCertificates(t *testing.T) {
	negative := readCerts(t, "pkits/certs/InvalidNegativeSerialNumberTest15EE.crt")["InvalidNegativeSerialNumberTest15EE.crt"]
	if negative.X509Err == nil || len(negative.Serial) == 0 || negative.Serial[0]&0x80 == 0 {
		t.Errorf("serial %x, X509Err %v", negative.Serial, negative.X509Err)
	}
	if _, ok := negative.PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("a key of type %T", negative.PublicKey)
	}
	dh := readCerts(t, "openssl/smdh.pem")["smdh.pem"]
	var keyErr *KeyError
	if !errors.As(dh.KeyErr, &keyErr) || keyErr.OID != oid.DH || dh.PublicKey != nil {
		t.Errorf("Diffie-Hellman: %T, %v", dh.PublicKey, dh.KeyErr)
	}
}

func TestInheritDSA(t *testing.T) {
	certs := readCerts(t, "rfc4134/*.cer")
	diane, carl := certs["DianeDSSSignByCarlInherit.cer"], certs["CarlDSSSelf.cer"]
	alice, carlRSA := certs["AliceDSSSignByCarlNoInherit.cer"], certs["CarlRSASelf.cer"]
	key := InheritDSA(diane, []*Certificate{nil, diane, carlRSA, alice, carl})
	if key == nil || key.P == nil || key.P.Cmp(carl.PublicKey.(*dsa.PublicKey).P) != 0 {
		t.Fatalf("no parameters were inherited: %v", key)
	}
	if got := InheritDSA(diane, []*Certificate{carlRSA, alice, diane}); got != nil {
		t.Error("parameters came from somewhere else than the issuer")
	}
	if got := InheritDSA(alice, nil); got != alice.PublicKey {
		t.Error("a key with parameters is not what was returned")
	}
	if InheritDSA(carlRSA, nil) != nil || InheritDSA(nil, nil) != nil {
		t.Error("a DSA key was found where there is none")
	}
	// The name alone does not make an issuer: here is one with other parameters.
	forged := *alice
	forged.RawSubject = diane.RawIssuer
	if got := InheritDSA(diane, []*Certificate{&forged}); got != nil && got.P.Cmp(carl.PublicKey.(*dsa.PublicKey).P) != 0 {
		t.Error("parameters of one who did not sign")
	}
}

func TestIssuedKeys(t *testing.T) {
	ca, err := testpki.NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		kind          testpki.KeyType
		sign, encrypt bool
	}{
		{testpki.RSA2048, true, true}, {testpki.RSAPSS2048, true, false}, {testpki.P224, true, true},
		{testpki.P256, true, true}, {testpki.P384, true, true}, {testpki.P521, true, true},
		{testpki.Ed25519, true, false}, {testpki.X25519, false, true},
	} {
		p, err := ca.Issue(testpki.Profile{Key: k.kind})
		if err != nil {
			t.Fatal(err)
		}
		c := FromX509(p.Cert)
		if err = compareX509(c); err != nil {
			t.Errorf("%v: %v", k.kind, err)
		}
		holder := p.Key.(interface{ Public() crypto.PublicKey })
		key, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !key.Equal(holder.Public()) || c.KeyErr != nil {
			t.Errorf("%v: key %T, %v", k.kind, c.PublicKey, c.KeyErr)
		}
		if c.CanSign() != k.sign || c.CanEncrypt() != k.encrypt {
			t.Errorf("%v: CanSign %v, CanEncrypt %v", k.kind, c.CanSign(), c.CanEncrypt())
		}
		c.HasKeyUsage, c.KeyUsage = true, x509.KeyUsageCertSign
		if c.CanSign() || c.CanEncrypt() {
			t.Errorf("%v: keyCertSign is enough", k.kind)
		}
		c.HasKeyUsage = false
		if c.CanSign() != k.sign || c.CanEncrypt() != k.encrypt {
			t.Errorf("%v: without key usage CanSign %v, CanEncrypt %v", k.kind, c.CanSign(), c.CanEncrypt())
		}
	}
}

func spki(t *testing.T, alg der.Algorithm, bits []byte) []byte {
	t.Helper()
	out, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, alg)
			b.AddASN1BitString(bits)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func named(t *testing.T, curve oid.OID) []byte {
	t.Helper()
	out, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, curve) })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCompressedPoints(t *testing.T) {
	curves := map[oid.OID]elliptic.Curve{
		oid.P224: elliptic.P224(), oid.P256: elliptic.P256(), oid.P384: elliptic.P384(), oid.P521: elliptic.P521(),
	}
	for id, curve := range curves {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		full, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		short := append([]byte{2 + full[len(full)-1]&1}, full[1:1+len(full)/2]...)
		_, got, err := parsePublicKey(spki(t, der.Algorithm{OID: oid.EC, Parameters: named(t, id)}, short))
		if err != nil || !key.PublicKey.Equal(got) {
			t.Errorf("%s: %v", curve.Params().Name, err)
		}
	}
}

func TestBadKeys(t *testing.T) {
	huge, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1BigInt(new(big.Int).Lsh(big.NewInt(1), maxRSABits))
			b.AddASN1Int64(65537)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	p256 := named(t, oid.P256)
	point := make([]byte, 65)
	point[0] = 4
	for name, raw := range map[string][]byte{
		"nothing":           nil,
		"a huge modulus":    spki(t, der.WithNull(oid.RSA), huge),
		"no RSA key":        spki(t, der.WithNull(oid.RSA), []byte{4, 0}),
		"no curve":          spki(t, der.Algorithm{OID: oid.EC}, point),
		"another curve":     spki(t, der.Algorithm{OID: oid.EC, Parameters: named(t, "1.3.132.0.10")}, point),
		"not on the curve":  spki(t, der.Algorithm{OID: oid.EC, Parameters: p256}, point),
		"short compressed":  spki(t, der.Algorithm{OID: oid.EC, Parameters: p256}, []byte{2, 1}),
		"empty point":       spki(t, der.Algorithm{OID: oid.EC, Parameters: p256}, nil),
		"short X25519":      spki(t, der.Algorithm{OID: oid.X25519}, make([]byte, 31)),
		"short Ed25519":     spki(t, der.Algorithm{OID: oid.Ed25519}, make([]byte, 31)),
		"DSA without y":     spki(t, der.WithNull(oid.DSA), []byte{2, 1, 0}),
		"unknown algorithm": spki(t, der.Algorithm{OID: oid.SHA1}, make([]byte, 31)),
	} {
		_, key, err := parsePublicKey(raw)
		var keyErr *KeyError
		if key != nil || !errors.As(err, &keyErr) {
			t.Errorf("%s: %T, %v", name, key, err)
		}
	}
}

func TestFromX509ByHand(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := FromX509(&x509.Certificate{
		SerialNumber: big.NewInt(255), EmailAddresses: []string{"a@b.test"}, PublicKey: key.PublicKey(),
		KeyUsage: x509.KeyUsageKeyAgreement, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	})
	if !bytes.Equal(c.Serial, []byte{0, 255}) || !c.HasEmail("a@B.TEST") || !c.CanEncrypt() || c.CanSign() ||
		!slices.Equal(c.ExtKeyUsage, []oid.OID{oid.EKUEmailProtection}) {
		t.Errorf("%+v", c)
	}
	if c = FromX509(&x509.Certificate{}); c == nil || c.KeyErr == nil {
		t.Errorf("%+v", c)
	}
	if FromX509(nil) != nil {
		t.Error("something came from nothing")
	}
}

func FuzzParseCertificate(f *testing.F) {
	for _, v := range []string{"rfc4134/*.cer", "rfc9216/*.crt", "openssl/*.pem", "pqc/bc/ml-kem-*_ee.der", "pqc/*/ta.der"} {
		for _, c := range readCerts(f, v) {
			f.Add(c.Raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseCertificate(raw)
		if err != nil {
			if _, err = x509.ParseCertificate(raw); err == nil {
				t.Fatal("crypto/x509 reads it")
			}
			return
		}
		if c.Subject(); !isPrintable(c.Subject()) || !isPrintable(c.CommonName()) {
			t.Fatalf("%q does not print", c.Subject())
		}
		if !NamesEqual(c.RawSubject, c.RawSubject) || NamesEqual(c.RawSubject, c.RawIssuer) != NamesEqual(c.RawIssuer, c.RawSubject) {
			t.Fatal("names are not equal to themselves")
		}
		if (c.PublicKey == nil) == (c.KeyErr == nil) {
			t.Fatalf("key %T, %v", c.PublicKey, c.KeyErr)
		}
		if _, err = NewRoots(nil).Verify(c, ChainOptions{Intermediates: []*Certificate{c}}); err == nil {
			t.Fatal("trusted without roots")
		}
		if c.X509 == nil {
			return
		}
		// Doubled extensions are refused by x509, too; what is left is alike.
		if err = compareX509(c); err != nil && len(c.Problems) == 0 {
			t.Fatal(err)
		}
	})
}
