package cms

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/postseal/postseal/pki"
)

// opensslPeople returns everybody in vectors/openssl whose key can be read.
func opensslPeople(t testing.TB, dir string) (ids []Identity, certs []*pki.Certificate) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "sm*.pem"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	for _, name := range append(names, filepath.Join(dir, "ecdh-cert.pem"), filepath.Join(dir, "dh-cert.pem")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(name); base == "ecdh-cert.pem" || base == "dh-cert.pem" {
			data = append(data, readPEM(t, dir, base[:len(base)-len("cert.pem")]+"key.pem")...)
		}
		var cert *pki.Certificate
		var key any
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" {
				if cert, err = pki.ParseCertificate(block.Bytes); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				certs = append(certs, cert)
			} else if k, kerr := x509.ParsePKCS8PrivateKey(block.Bytes); kerr == nil {
				key = k
			}
		}
		if cert != nil && key != nil {
			ids = append(ids, &CertificateIdentity{Certificate: cert, Key: key})
		}
	}
	if len(ids) < 6 {
		t.Fatalf("%d people", len(ids))
	}
	return ids, certs
}

func readPEM(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// process reads a message of any type as far as it can be read.
func process(message []byte, ids []Identity, certs []*pki.Certificate) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(message), nil)
	if err != nil {
		return nil, err
	}
	switch r.ContentType() {
	case TypeSignedData:
		return readAll(r.Verify(&VerifyOptions{Trust: InsecureTrustAnySigner, Allow: append(oldMail, AllowMD4), Certificates: certs}))
	case TypeAuthenticatedData:
		return readAll(r.VerifyMAC(ids))
	case TypeEncryptedData:
		return readAll(r.DecryptWithKey(make([]byte, 32), nil))
	case TypeDigestedData:
		return readAll(r.VerifyDigest(nil, oldMail))
	case TypeCompressedData:
		return readAll(r.Decompress())
	case TypeData:
		return readAll(r.Data())
	}
	return readAll(r.Decrypt(ids, &DecryptOptions{Allow: oldMail}))
}

func TestOpenSSLVectors(t *testing.T) {
	dir := vectorDir(t, "openssl")
	ids, certs := opensslPeople(t, dir)
	kek := &KEK{ID: []byte{0xc0, 0xfe, 0xe0}, Key: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	ids = append(ids, kek)
	syntax := func(err error) bool { _, ok := errors.AsType[*SyntaxError](err); return ok }
	attributes := func(err error) bool {
		ve, ok := errors.AsType[*VerifyError](err)
		return ok && ve.Reason == ReasonAttributes
	}
	good := func(err error) bool { return err == nil }
	for name, want := range map[string]func(error) bool{
		"no_ct_attr.cms":              attributes,
		"no_md_attr.cms":              attributes,
		"ct_multiple_attr.cms":        attributes,
		"bad_signtime_attr.cms":       attributes,
		"rsa-malformed.der":           syntax,                                                     // OAEP label without its value
		"ecdh-malformed.der":          func(err error) bool { return errors.Is(err, ErrDecrypt) }, // key wrap parameters are absent
		"dh-malformed.der":            func(err error) bool { return errors.Is(err, ErrNoMatch) }, // a DH key, which nobody has
		"bad-cms.der":                 syntax,
		"malformed.pkcs7":             syntax,
		"encDataWithTooLongIV.pem":    func(err error) bool { return errors.Is(err, ErrNoMatch) },
		"encryptedData.der":           func(err error) bool { return errors.Is(err, ErrDecrypt) }, // the key is not known
		"authenticated_attrs.pem":     attributes,                                                 // neither content type nor message digest
		"authenveloped_attrs.pem":     good,
		"bad_authenveloped_attrs.pem": func(err error) bool { return errors.Is(err, ErrDecrypt) }, // an attribute was changed
		"pkcs7-md4.pem":               good,
		"ciphertext_from_1_1_1.cms":   good,
	} {
		message := readFile(t, dir, name)
		if name == "ciphertext_from_1_1_1.cms" {
			_, text, _ := bytes.Cut(message, []byte("\n\n"))
			var err error
			if message, err = base64.StdEncoding.DecodeString(string(text)); err != nil {
				t.Fatal(err)
			}
		}
		content, err := process(message, ids, certs)
		if !want(err) {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
}
