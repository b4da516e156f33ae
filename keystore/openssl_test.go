package keystore

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"

	//lint:ignore SA1019 old keys are DSA keys (RFC 4134)
	"crypto/dsa"
)

const secret = "käse und Brot"

// openssl runs openssl with its old algorithms on.
func openssl(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	return run(t, dir, "openssl", args...)
}

var legacy = []string{"-provider", "legacy", "-provider", "default"}

func TestOpenSSLEncryptedKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	person := people(t)["P256"]
	plain, err := person.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "key.pem"), plain)
	var schemes []string
	for _, c := range []string{"aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3", "des-cbc", "rc2-cbc", "rc2-40-cbc", "rc2-64-cbc"} {
		schemes = append(schemes, "-v2 "+c)
	}
	for _, h := range []string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"} {
		schemes = append(schemes, "-v2 aes-256-cbc -v2prf hmacWith"+h)
	}
	schemes = append(schemes, "-scrypt", "-scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 2")
	for _, s := range []string{
		"PBE-MD5-DES", "PBE-SHA1-DES", "PBE-MD5-RC2-64", "PBE-SHA1-RC2-64", "PBE-SHA1-3DES", "PBE-SHA1-2DES",
		"PBE-SHA1-RC2-128", "PBE-SHA1-RC2-40", "PBE-SHA1-RC4-128", "PBE-SHA1-RC4-40",
	} {
		schemes = append(schemes, "-v1 "+s)
	}
	for _, s := range schemes {
		for _, form := range []string{"PEM", "DER"} {
			args := append([]string{"pkcs8", "-topk8", "-in", "key.pem", "-outform", form, "-passout", "pass:" + secret}, strings.Fields(s)...)
			data := openssl(t, dir, append(args, legacy...)...)
			asked := 0
			key, err := ParsePrivateKey(s, data, answer(secret, &asked))
			if err != nil || !sameKey(person.Key, key) || asked != 1 {
				t.Errorf("%s, %s: %v, asked %d times", s, form, err, asked)
			}
			_, err = ParsePrivateKey(s, data, fixed("wrong"))
			wantErr(t, s, err, s, ErrPassphrase)
			_, err = ParsePrivateKey(s, data, nil)
			wantErr(t, s, err, s, ErrPassphraseNeeded)
		}
	}
}

// Each encrypted key of a PEM file has a question of its own.
func TestOpenSSLTwoKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := people(t)
	var file []byte
	for _, kind := range []string{"P256", "Ed25519"} {
		writeFile(t, filepath.Join(dir, "key.pem"), keyPEM(t, all[kind]))
		file = append(file, openssl(t, dir, "pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:"+kind)...)
		file = append(file, testpki.CertPEM(all[kind].Cert)...)
	}
	secrets := map[string]string{"file": "P256", "file, key 2": "Ed25519"}
	ids, err := Load("file", file, func(what string) ([]byte, error) {
		defer delete(secrets, what)
		return []byte(secrets[what]), nil
	})
	if err != nil || len(ids) != 2 || len(secrets) != 0 {
		t.Errorf("%d identities, %v, not asked for: %v", len(ids), err, secrets)
	}
}

func TestOpenSSLTraditional(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := people(t)
	for _, kind := range []string{"RSA2048", "P256", "P521"} {
		plain, err := all[kind].KeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "key.pem"), plain)
		for _, c := range []string{"", "-aes128", "-aes192", "-aes256", "-des3", "-des"} {
			args := []string{"pkey", "-traditional", "-in", "key.pem"}
			if c != "" {
				args = append(args, c, "-passout", "pass:"+secret)
			}
			data := openssl(t, dir, append(args, legacy...)...)
			asked := 0
			key, err := ParsePrivateKey("key", data, answer(secret, &asked))
			if err != nil || !sameKey(all[kind].Key, key) || (asked == 1) != (c != "") {
				t.Errorf("%s %s: %v, asked %d times", kind, c, err, asked)
			}
			if c != "" {
				_, err = ParsePrivateKey("key", data, fixed("wrong"))
				wantErr(t, kind+c, err, "key", ErrPassphrase)
				continue
			}
			// The same in DER.
			block, _ := pem.Decode(data)
			key, err = ParsePrivateKey("key", block.Bytes, nil)
			if err != nil || !sameKey(all[kind].Key, key) {
				t.Errorf("%s in DER: %v", kind, err)
			}
		}
	}
}

func TestOpenSSLKeyTypes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openssl(t, dir, "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", "dsa.par")
	for _, c := range []struct {
		args string
		good func(key any) bool
	}{
		{"-algorithm RSA -pkeyopt rsa_keygen_bits:1024", isType[*rsa.PrivateKey]},
		{"-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:1024", isType[*rsa.PrivateKey]},
		{"-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:1024 -pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32", isType[*rsa.PrivateKey]},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-224", isType[*ecdsa.PrivateKey]},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-256", isType[*ecdsa.PrivateKey]},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-384", isType[*ecdsa.PrivateKey]},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-521", isType[*ecdsa.PrivateKey]},
		{"-algorithm ED25519", isType[ed25519.PrivateKey]},
		{"-algorithm X25519", isType[*ecdh.PrivateKey]},
		{"-paramfile dsa.par", isType[*dsa.PrivateKey]},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit", isOn(elliptic.P256())},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:P-384 -pkeyopt ec_param_enc:explicit", isOn(elliptic.P384())},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", isOn(brainpool(t, oid.BrainpoolP256r1))},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP512r1 -pkeyopt ec_param_enc:explicit", isOn(brainpool(t, oid.BrainpoolP512r1))},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", nil},
		{"-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -pkeyopt ec_param_enc:explicit", nil},
		{"-algorithm ED448", isType[ed448.PrivateKey]},
		{"-algorithm X448", isType[*alg.X448PrivateKey]},
	} {
		data := openssl(t, dir, append([]string{"genpkey"}, strings.Fields(c.args)...)...)
		key, err := ParsePrivateKey("key", data, nil)
		if c.good == nil {
			if !errors.As(err, new(*UnsupportedError)) {
				t.Errorf("%s: %T, %v", c.args, key, err)
			}
			continue
		}
		if err != nil || !c.good(key) {
			t.Errorf("%s: %T, %v", c.args, key, err)
			continue
		}
		if _, isDSA := key.(*dsa.PrivateKey); !isDSA {
			continue
		}
		writeFile(t, filepath.Join(dir, "dsa.pem"), data)
		old := openssl(t, dir, "pkey", "-traditional", "-in", "dsa.pem")
		again, err := ParsePrivateKey("key", old, nil)
		if err != nil || !sameKey(key, again) {
			t.Errorf("traditional DSA: %v", err)
		}
	}
}

// isOn checks that a key is one for ECDSA on a curve.
func isOn(curve elliptic.Curve) func(key any) bool {
	return func(key any) bool {
		k, ok := key.(*ecdsa.PrivateKey)
		return ok && k.Curve == curve
	}
}

func brainpool(t *testing.T, name oid.OID) elliptic.Curve {
	t.Helper()
	curve, ok := alg.BrainpoolCurve(name)
	if !ok {
		t.Fatalf("no curve %v", name)
	}
	return curve
}

func isType[T any](key any) bool {
	_, ok := key.(T)
	return ok
}

func TestOpenSSLPKCS12(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var variants []string
	for _, mac := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
		variants = append(variants, "-macalg "+mac)
	}
	for _, pbe := range []string{
		"AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-EDE3-CBC", "PBE-SHA1-RC2-40", "PBE-SHA1-RC2-128", "PBE-SHA1-3DES",
		"PBE-SHA1-2DES", "PBE-SHA1-RC4-128", "PBE-SHA1-RC4-40", "NONE",
	} {
		variants = append(variants, fmt.Sprintf("-keypbe %s -certpbe %s", pbe, pbe))
	}
	variants = append(variants, "", "-legacy", "-nomac", "-nomaciter -noiter", "-iter 1")
	for kind, p := range people(t) {
		f, err := p.WriteFiles(dir, kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range variants {
			if kind != "P256" && v != "" && v != "-legacy" {
				continue
			}
			args := append([]string{"pkcs12", "-export", "-in", f.Full, "-name", "Älice", "-passout", "pass:" + secret}, strings.Fields(v)...)
			if v != "-legacy" {
				args = append(args, legacy...)
			}
			data := openssl(t, dir, args...)
			asked := 0
			ids, err := Load(kind, data, answer(secret, &asked))
			wantIdentity(t, kind+" "+v, ids, err, p)
			if err == nil && (len(ids[0].Chain) != 1 || asked != 1) {
				t.Errorf("%s %s: %d others, asked %d times", kind, v, len(ids[0].Chain), asked)
			}
			_, err = Load(kind, data, fixed("wrong"))
			wantErr(t, kind+" "+v, err, kind, ErrPassphrase)
		}
	}
}

func TestOpenSSLPassphrases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := people(t)["P256"]
	f, err := p.WriteFiles(dir, "p")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"", "-legacy", "-nomac"} {
		for _, s := range []string{"", "a", "käse", "пароль", "key \U0001F511", strings.Repeat("long ", 30)} {
			data := openssl(t, dir, append([]string{"pkcs12", "-export", "-in", f.Full, "-passout", "pass:" + s}, strings.Fields(v)...)...)
			ids, loadErr := Load("p12", data, fixed(s))
			wantIdentity(t, fmt.Sprintf("%s %q", v, s), ids, loadErr, p)
		}
	}
	// Nothing is encrypted and nothing is asked for.
	data := openssl(t, dir, "pkcs12", "-export", "-in", f.Full, "-nomac", "-keypbe", "NONE", "-certpbe", "NONE", "-passout", "pass:")
	ids, err := Load("p12", data, nil)
	wantIdentity(t, "nothing encrypted", ids, err, p)
}

func TestOpenSSLReadsOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for kind, p := range people(t) {
		f, err := p.WriteFiles(dir, kind)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := Load(kind, readFileT(t, f.Full), nil)
		wantIdentity(t, kind, ids, err, p)
		if err != nil {
			continue
		}
		data, err := encodePKCS12(ids[0], secret, PKCS12AES, 2000)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		again, err := Load(kind, data, fixed(secret))
		wantIdentity(t, kind+", read again", again, err, p)
		writeFile(t, filepath.Join(dir, "ours.p12"), data)
		out := openssl(t, dir, "pkcs12", "-in", "ours.p12", "-nodes", "-passin", "pass:"+secret)
		ids, err = Load(kind, out, nil)
		wantIdentity(t, kind+", through openssl", ids, err, p)
		if err == nil && len(ids[0].Chain) != 1 {
			t.Errorf("%s: %d others", kind, len(ids[0].Chain))
		}
	}
}

func TestOpenSSLPKCS7(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := people(t)["P256"]
	f, err := p.WriteFiles(dir, "p")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"DER", "PEM"} {
		certs, certErr := ParseCertificates("p7b", openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", f.Full, "-outform", form))
		if certErr != nil || len(certs) != 2 {
			t.Errorf("%s: %d certificates, %v", form, len(certs), certErr)
		}
		// A streamed SignedData is BER.
		writeFile(t, filepath.Join(dir, "text"), []byte("text"))
		data := openssl(t, dir, "cms", "-sign", "-stream", "-nodetach", "-binary", "-in", "text", "-signer", f.Cert,
			"-inkey", f.Key, "-certfile", f.CA, "-outform", form)
		certs, certErr = ParseCertificates("p7m", data)
		if certErr != nil || len(certs) != 2 {
			t.Errorf("BER in %s: %d certificates, %v", form, len(certs), certErr)
		}
	}
	data := openssl(t, dir, "x509", "-in", f.Cert, "-trustout", "-addtrust", "emailProtection")
	certs, err := ParseCertificates("trusted", data)
	if err != nil || len(certs) != 1 {
		t.Errorf("TRUSTED CERTIFICATE: %d certificates, %v", len(certs), err)
	}
	writeFile(t, filepath.Join(dir, "text"), []byte("text"))
	enveloped := openssl(t, dir, "cms", "-encrypt", "-in", "text", "-outform", "DER", f.Cert)
	_, err = ParseCertificates("p7m", enveloped)
	wantErr(t, "EnvelopedData", err, "p7m", ErrFormat)
}
