package keystore

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte/asn1"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

func keyPEM(t testing.TB, p *testpki.Person) []byte {
	t.Helper()
	out, err := p.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLoadPEM(t *testing.T) {
	all := people(t)
	a, b := all["P256"], all["Ed25519"]
	root := testpki.CertPEM(a.Chain...)
	for what, data := range map[string][]byte{
		"certificates first": slices.Concat(testpki.CertPEM(a.Cert, b.Cert), root, keyPEM(t, a), keyPEM(t, b)),
		"keys first":         slices.Concat(keyPEM(t, a), keyPEM(t, b), root, testpki.CertPEM(b.Cert, a.Cert)),
		"mixed, with text":   slices.Concat([]byte("\xef\xbb\xbf"), keyPEM(t, a), []byte("text\n"), testpki.CertPEM(b.Cert, a.Cert), root, keyPEM(t, b)),
		"CRLF": bytes.ReplaceAll(slices.Concat(keyPEM(t, a), testpki.CertPEM(b.Cert, a.Cert), root, keyPEM(t, b)),
			[]byte("\n"), []byte("\r\n")),
	} {
		ids, err := Load(what, data, nil)
		if err != nil || len(ids) != 2 || len(ids[0].Chain) != 2 || len(ids[1].Chain) != 2 {
			t.Errorf("%s: %d identities, %v", what, len(ids), err)
			continue
		}
		for i, p := range []*testpki.Person{a, b} {
			if !bytes.Equal(ids[i].Certificate.Raw, p.Cert.Raw) || !sameKey(p.Key, ids[i].Key) {
				t.Errorf("%s: identity %d is another one", what, i)
			}
		}
	}
}

// A renewed certificate and the old one to the same key are two identities.
func TestLoadRenewed(t *testing.T) {
	ca, err := testpki.NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	var certs [2]*testpki.Person
	for i := range certs {
		if certs[i], err = ca.Issue(testpki.Profile{Name: "Alice", Key: testpki.P256}); err != nil {
			t.Fatal(err)
		}
	}
	data := slices.Concat(keyPEM(t, certs[0]), testpki.CertPEM(certs[0].Cert, certs[1].Cert))
	ids, err := Load("file", data, nil)
	if err != nil || len(ids) != 2 || len(ids[0].Chain) != 0 {
		t.Errorf("%d identities, %v", len(ids), err)
	}
}

func TestLoadErrors(t *testing.T) {
	all := people(t)
	a, b := all["P256"], all["Ed25519"]
	abort := errors.New("no terminal")
	aborts := func(string) ([]byte, error) { return nil, abort }
	key, _ := pem.Decode(keyPEM(t, a))
	id := Identity{Certificate: pki.FromX509(a.Cert), Key: a.Key}
	p12, err := EncodePKCS12(id, "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		data []byte
		pass Passphrase
		want error
	}{
		{"nothing", nil, nil, ErrFormat},
		{"text", []byte("some text\n"), nil, ErrFormat},
		{"a BEGIN line", []byte("-----BEGIN CERTIFICATE-----\n"), nil, ErrFormat},
		{"an empty SEQUENCE", []byte{0x30, 0}, nil, ErrFormat},
		{"certificates alone", testpki.CertPEM(a.Cert), nil, ErrNoKey},
		{"a DER certificate", a.Cert.Raw, nil, ErrNoKey},
		{"two DER certificates", slices.Concat(a.Cert.Raw, b.Cert.Raw), nil, ErrNoKey},
		{"a key alone", keyPEM(t, a), nil, ErrNoCertificate},
		{"a DER key alone", key.Bytes, nil, ErrNoCertificate},
		{"a pair that is none", slices.Concat(keyPEM(t, a), testpki.CertPEM(b.Cert)), nil, ErrNoMatch},
		{"PKCS#12, nobody to ask", p12, nil, ErrPassphraseNeeded},
		{"PKCS#12, wrong passphrase", p12, fixed("wrong"), ErrPassphrase},
		{"PKCS#12, aborted", p12, aborts, abort},
		{"cut PKCS#12", p12[:len(p12)-1], fixed("secret"), ErrFormat},
	} {
		ids, loadErr := Load(c.what, c.data, c.pass)
		wantErr(t, c.what, loadErr, c.what, c.want)
		if ids != nil {
			t.Errorf("%s: identities beside the error", c.what)
		}
	}
	_, err = ParsePrivateKey("f", testpki.CertPEM(a.Cert), nil)
	wantErr(t, "no key", err, "f", ErrNoKey)
	_, err = ParsePrivateKey("f", a.Cert.Raw, nil)
	wantErr(t, "no key in DER", err, "f", ErrNoKey)
	_, err = ParsePrivateKey("f", []byte("x"), nil)
	wantErr(t, "no key in text", err, "f", ErrFormat)
	_, err = ParseCertificates("f", keyPEM(t, a))
	wantErr(t, "no certificate", err, "f", ErrNoCertificate)
	_, err = ParseCertificates("f", key.Bytes)
	wantErr(t, "no certificate in DER", err, "f", ErrNoCertificate)
	_, err = ParseCertificates("f", slices.Concat(a.Cert.Raw, []byte{1}))
	if !errors.As(err, new(*SyntaxError)) {
		t.Errorf("data after a certificate: %v", err)
	}
	for what, bad := range map[string]Identity{
		"ErrNoCertificate": {Key: a.Key}, "ErrNoKey": {Certificate: id.Certificate}, "ErrNoMatch": {Certificate: id.Certificate, Key: b.Key},
	} {
		want := map[string]error{"ErrNoCertificate": ErrNoCertificate, "ErrNoKey": ErrNoKey, "ErrNoMatch": ErrNoMatch}[what]
		if _, err = EncodePKCS12(bad, "secret"); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err = EncodePKCS12(id, ""); !errors.Is(err, ErrPassphraseNeeded) {
		t.Errorf("an empty password: %v", err)
	}
}

// Every octet of a PKCS#12 file with a MAC that is changed is noticed, or does
// not matter to what is read.
func TestPKCS12Tampered(t *testing.T) {
	p := people(t)["X25519"]
	data, err := pkcs12.Modern.Encode(p.Key, p.Cert, nil, "secret") // with few iterations
	if err != nil {
		t.Fatal(err)
	}
	ids, err := Load("p12", data, fixed("secret"))
	wantIdentity(t, "as it is", ids, err, p)
	good := 0
	for i := 0; i < len(data); i += 7 {
		data[i] ^= 0x10
		ids, err = load("p12", data, fixed("secret"), &work{perKey: 1e4, left: 1e5})
		if err == nil {
			good++
			wantIdentity(t, "changed", ids, err, p)
		}
		data[i] ^= 0x10
	}
	if good > 3 {
		t.Errorf("%d changes were not noticed", good)
	}
}

// encrypted builds an EncryptedPrivateKeyInfo under PBES2.
func encrypted(t *testing.T, kdf der.Algorithm) []byte {
	t.Helper()
	out, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				der.AddOID(b, oid.PBES2)
				b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
					der.AddAlgorithm(b, kdf)
					b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
						der.AddOID(b, oid.AES128CBC)
						b.AddASN1OctetString(make([]byte, 16))
					})
				})
			})
			b.AddASN1OctetString(make([]byte, 32))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kdfParams(t *testing.T, numbers ...int64) []byte {
	t.Helper()
	out, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1OctetString([]byte("saltsalt"))
			for _, n := range numbers {
				b.AddASN1Int64(n)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLimits(t *testing.T) {
	for _, numbers := range [][]int64{{maxIterations + 1}, {1 << 40}, {1 << 62}} {
		_, err := ParsePrivateKey("key", encrypted(t, der.Algorithm{OID: oid.PBKDF2, Parameters: kdfParams(t, numbers...)}), fixed("x"))
		if !errors.As(err, new(*LimitError)) {
			t.Errorf("PBKDF2 %v: %v", numbers, err)
		}
	}
	for _, numbers := range [][]int64{{1 << 20, 8, 1}, {1 << 19, 8, 1}, {2, 1 << 21, 1}, {1 << 14, 8, 1000}, {1 << 62, 1, 1}, {2, 1, 1 << 62}} {
		numbers[0] *= 2
		_, err := ParsePrivateKey("key", encrypted(t, der.Algorithm{OID: oid.Scrypt, Parameters: kdfParams(t, numbers...)}), fixed("x"))
		if !errors.As(err, new(*LimitError)) && !errors.As(err, new(*SyntaxError)) {
			t.Errorf("scrypt %v: %v", numbers, err)
		}
	}
	for what, alg := range map[string]der.Algorithm{
		"no iterations":    {OID: oid.PBKDF2, Parameters: kdfParams(t, 0)},
		"scrypt with N 3":  {OID: oid.Scrypt, Parameters: kdfParams(t, 3, 1, 1)},
		"scrypt with r 0":  {OID: oid.Scrypt, Parameters: kdfParams(t, 2, 0, 1)},
		"another key size": {OID: oid.PBKDF2, Parameters: kdfParams(t, 1, 17)},
		"no parameters":    {OID: oid.PBKDF2},
	} {
		_, err := ParsePrivateKey("key", encrypted(t, alg), fixed("x"))
		if !errors.As(err, new(*SyntaxError)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := ParsePrivateKey("key", encrypted(t, der.WithNull(oid.SHA1)), fixed("x"))
	if !errors.As(err, new(*UnsupportedError)) {
		t.Errorf("unknown key derivation: %v", err)
	}
	w := &work{perKey: 10, left: 15}
	if err = w.spend(10); err != nil {
		t.Error(err)
	}
	if err = w.spend(6); !errors.As(err, new(*LimitError)) {
		t.Errorf("more than is left: %v", err)
	}
	many := bytes.Repeat(testpki.CertPEM(people(t)["P256"].Cert), maxObjects+1)
	if _, err = ParseCertificates("many", many); !errors.As(err, new(*LimitError)) {
		t.Errorf("%d certificates: %v", maxObjects+1, err)
	}
}

// The vectors are computed by hand with SHA-1 from the definition for one
// iteration and one block, and checked against each other beyond that.
func TestPKCS12KDF(t *testing.T) {
	salt, pass := []byte("salt1234"), []byte{0, 'a', 0, 0}
	block := append(bytes.Repeat([]byte{forMAC}, 64), append(bytes.Repeat(salt, 8), bytes.Repeat(pass, 16)...)...)
	want := sha1.Sum(block)
	if got := pkcs12Key(sha1.New, forMAC, pass, salt, 1, 20); !bytes.Equal(got, want[:]) {
		t.Errorf("%x, want %x", got, want)
	}
	twice := sha1.Sum(want[:])
	if got := pkcs12Key(sha1.New, forMAC, pass, salt, 2, 8); !bytes.Equal(got, twice[:8]) {
		t.Errorf("%x, want %x", got, twice[:8])
	}
	long := pkcs12Key(sha1.New, forKey, pass, salt, 3, 100)
	if !bytes.HasPrefix(long, pkcs12Key(sha1.New, forKey, pass, salt, 3, 24)) {
		t.Errorf("%s is no prefix", hex.EncodeToString(long))
	}
}

func TestPEMNoise(t *testing.T) {
	p := people(t)["P256"]
	block := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{0x30, 0}})
	certs, err := ParseCertificates("f", slices.Concat(block, testpki.CertPEM(p.Cert), keyPEM(t, p), block))
	if err != nil || len(certs) != 1 {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
	openssh := pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00")})
	if _, err = ParsePrivateKey("f", openssh, nil); !errors.As(err, new(*UnsupportedError)) {
		t.Errorf("OpenSSH's key: %v", err)
	}
	damaged := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 5, 1}})
	if _, err = ParseCertificates("f", damaged); err == nil {
		t.Error("a damaged certificate was read")
	}
	if _, err = ParsePrivateKey("f", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30}}), nil); !errors.As(err, new(*SyntaxError)) {
		t.Errorf("a damaged key: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	all := people(f)
	for _, kind := range []string{"P256", "X25519"} {
		p := all[kind]
		data, err := pkcs12.Modern.Encode(p.Key, p.Cert, nil, "secret") // with few iterations
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		block, _ := pem.Decode(keyPEM(f, p))
		f.Add(block.Bytes)
		f.Add(slices.Concat(testpki.CertPEM(p.Cert), keyPEM(f, p)))
	}
	for _, name := range []string{"rfc9216/carlos.p12", "rfc4134/AlicePrivDSSSign.pri", "openssl/smdsa1.pem"} {
		f.Add(readFileT(f, vector(f, name)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := &work{perKey: 5000, left: 30000}
		for _, secret := range []string{"secret", "carlos"} {
			ids, err := load("file", data, fixed(secret), w)
			if (err == nil) != (len(ids) > 0) {
				t.Fatalf("%d identities, %v", len(ids), err)
			}
			if err != nil && !errors.As(err, new(*FileError)) {
				t.Fatalf("an error without a name: %v", err)
			}
			for _, id := range ids {
				if !Belongs(id.Key, id.Certificate) {
					t.Fatal("a key of another certificate")
				}
			}
		}
		if _, err := parseKeyFile("file", data, fixed("secret"), w); err == nil && len(data) == 0 {
			t.Fatal("a key from nothing")
		}
		if certs, err := ParseCertificates("file", data); (err == nil) != (len(certs) > 0) {
			t.Fatalf("%d certificates, %v", len(certs), err)
		}
	})
}
