package keystore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

var forms = []PKCS12Form{PKCS12AES, PKCS12PBMAC1, PKCS12Weak3DES}

// Every kind of key that is read is written, with its certificate and those of
// its issuers, in every form.
func TestEncodePKCS12(t *testing.T) {
	t.Parallel()
	now := time.Now()
	rootKey, err := ca.GenerateKey(ca.P256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ca.NewRoot(ca.Subject{Name: "Root"}, rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, kind := range ca.KeyTypes() {
		key, keyErr := ca.GenerateKey(kind)
		if keyErr != nil {
			t.Fatal(keyErr)
		}
		usage := ca.SignOnly
		if !kind.Signs() {
			usage = ca.EncryptOnly
		}
		public, publicErr := ca.Public(key)
		if publicErr != nil {
			t.Fatal(publicErr)
		}
		cert, certErr := root.Issue(&ca.Request{Emails: []string{"alice@example.test"}, Key: public, Usage: usage}, now)
		if certErr != nil {
			t.Fatal(kind, certErr)
		}
		id := Identity{Certificate: cert, Key: key, Chain: []*pki.Certificate{root.Certificate}}
		for _, form := range forms {
			what := fmt.Sprintf("%v, %v", kind, form)
			data, encodeErr := encodePKCS12(id, secret, form, 1000)
			if encodeErr != nil {
				t.Errorf("%s: %v", what, encodeErr)
				continue
			}
			ids, loadErr := Load(what, data, fixed(secret))
			if loadErr != nil || len(ids) != 1 || len(ids[0].Chain) != 1 || !bytes.Equal(ids[0].Certificate.Raw, cert.Raw) ||
				!bytes.Equal(ids[0].Chain[0].Raw, root.Certificate.Raw) || fmt.Sprintf("%T", ids[0].Key) != fmt.Sprintf("%T", key) {
				t.Errorf("%s: %d identities, %v", what, len(ids), loadErr)
			}
			_, loadErr = Load(what, data, fixed("wrong"))
			wantErr(t, what, loadErr, what, ErrPassphrase)
			if text := fmt.Sprint(loadErr); text != "wrong passphrase for "+what {
				t.Errorf("a wrong passphrase says %q", text)
			}
			seen++
		}
	}
	if seen != 13*3 {
		t.Errorf("%d files were written", seen)
	}
}

func TestEncodePKCS12Usage(t *testing.T) {
	p := people(t)["P256"]
	id := Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}
	for _, c := range []struct {
		password string
		form     PKCS12Form
	}{{"a\xff", PKCS12AES}, {"secret", -1}, {"secret", PKCS12Weak3DES + 1}} {
		if data, err := EncodePKCS12As(id, c.password, c.form); err == nil || data != nil {
			t.Errorf("%q, %v: %v", c.password, c.form, err)
		}
	}
	dsaKey, err := ParsePrivateKey("Alice", readFileT(t, vector(t, "rfc4134/AlicePrivDSSSign.pri")), nil)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := ParseCertificates("Alice", readFileT(t, vector(t, "rfc4134/AliceDSSSignByCarlNoInherit.cer")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = EncodePKCS12As(Identity{Certificate: certs[0], Key: dsaKey}, "secret", PKCS12AES); !errors.As(err, new(*UnsupportedError)) {
		t.Errorf("a DSA key: %v", err)
	}
}

// What is written is read by OpenSSL, with passwords of every script.
func TestOpenSSLReadsForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := people(t)["P256"]
	for _, form := range []PKCS12Form{PKCS12AES, PKCS12Weak3DES} {
		for _, password := range []string{"a", "käse", "пароль", "key \U0001F511", strings.Repeat("long ", 30)} {
			data, err := encodePKCS12(Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}, password, form, 2000)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "ours.p12"), data)
			ids, err := Load("out", openssl(t, dir, "pkcs12", "-in", "ours.p12", "-nodes", "-passin", "pass:"+password), nil)
			wantIdentity(t, fmt.Sprintf("%v %q", form, password), ids, err, p)
		}
	}
}

// The MAC of RFC 9579 is computed once more by OpenSSL, whose versions before
// 3.4 have PBKDF2 and HMAC and do not read it.
func TestOpenSSLComputesPBMAC1(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := people(t)["P256"]
	data, err := EncodePKCS12As(Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}, secret, PKCS12PBMAC1)
	if err != nil {
		t.Fatal(err)
	}
	// PFX: version, authSafe { id-data, [0] OCTET STRING }, MacData { DigestInfo, salt }.
	var pfx, info, content, safe, mac, digestInfo, params, kdfParams, salt, sum cryptobyte.String
	var algorithm, kdf, hmac der.Algorithm
	var iterations, size int64
	s := cryptobyte.String(data)
	ok := s.ReadASN1(&pfx, asn1.SEQUENCE) && pfx.SkipASN1(asn1.INTEGER) && pfx.ReadASN1(&info, asn1.SEQUENCE) &&
		info.SkipASN1(asn1.OBJECT_IDENTIFIER) && info.ReadASN1(&content, der.Context(0, true)) && content.ReadASN1(&safe, asn1.OCTET_STRING) &&
		pfx.ReadASN1(&mac, asn1.SEQUENCE) && pfx.Empty() && mac.ReadASN1(&digestInfo, asn1.SEQUENCE) &&
		der.ReadAlgorithm(&digestInfo, &algorithm) && digestInfo.ReadASN1(&sum, asn1.OCTET_STRING)
	params = algorithm.Parameters
	ok = ok && algorithm.OID == oid.PBMAC1 && params.ReadASN1(&params, asn1.SEQUENCE) && der.ReadAlgorithm(&params, &kdf) && der.ReadAlgorithm(&params, &hmac)
	kdfParams = kdf.Parameters
	ok = ok && kdf.OID == oid.PBKDF2 && hmac.OID == oid.HMACSHA256 && kdfParams.ReadASN1(&kdfParams, asn1.SEQUENCE) &&
		kdfParams.ReadASN1(&salt, asn1.OCTET_STRING) && kdfParams.ReadASN1Integer(&iterations) && kdfParams.ReadASN1Integer(&size)
	if !ok || size != 32 || iterations != p12Iterations {
		t.Fatalf("not what RFC 9579 describes: %d octets, %d iterations", size, iterations)
	}
	writeFile(t, filepath.Join(dir, "safe"), safe)
	key := openssl(t, dir, "kdf", "-keylen", "32", "-kdfopt", "digest:SHA256", "-kdfopt", "pass:"+secret, "-kdfopt", "hexsalt:"+hex.EncodeToString(salt),
		"-kdfopt", fmt.Sprintf("iter:%d", iterations), "PBKDF2")
	hexKey := strings.ReplaceAll(strings.TrimSpace(string(key)), ":", "")
	got := openssl(t, dir, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hexKey, "-binary", "safe")
	if !bytes.Equal(got, sum) {
		t.Errorf("the MAC is %x, and by OpenSSL %x", sum, got)
	}
}
