package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/cloudflare/circl/sign/slhdsa"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// newerSigners makes a key of each kind that crypto/x509 does not have.
func newerSigners(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	out := make(map[string]crypto.Signer)
	_, ed, err := ed448.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["Ed448"] = ed
	for name, params := range map[string]mldsa.Parameters{"ML-DSA-44": mldsa.MLDSA44(), "ML-DSA-65": mldsa.MLDSA65(), "ML-DSA-87": mldsa.MLDSA87()} {
		if out[name], err = mldsa.GenerateKey(params); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []slhdsa.ID{slhdsa.SHA2_128f, slhdsa.SHAKE_128f} { // the others take seconds to sign
		_, key, keyErr := slhdsa.GenerateKey(rand.Reader, id)
		if keyErr != nil {
			t.Fatal(keyErr)
		}
		out[id.String()] = key
	}
	for _, name := range namedCurves[4:] {
		if out[name.String()], err = alg.NewBrainpoolKey(namedCurve(name), []byte("a secret that is not one")); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// signBy returns a copy of s, issued with the key of any kind.
func (s spec) signBy(t *testing.T, key crypto.Signer) *Certificate {
	t.Helper()
	sig, err := alg.SignatureFor(key.Public(), 0, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := sig.Algorithm()
	if err != nil {
		t.Fatal(err)
	}
	tbs := encSeq(t, func(b *der.Builder) {
		b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1Int64(2) })
		b.AddASN1Int64(s.serial)
		der.AddAlgorithm(b, a)
		b.AddBytes(s.issuer)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddTime(b, s.from); der.AddTime(b, s.to) })
		b.AddBytes(s.subject)
		b.AddBytes(s.spki)
		b.AddASN1(der.Context(3, true), func(b *der.Builder) { b.AddASN1(asn1.SEQUENCE, s.addExtensions) })
	})
	var digest []byte
	if !sig.Whole() {
		h := sig.Digest.New()
		h.Write(tbs)
		digest = h.Sum(nil)
	}
	value, err := sig.Sign(key, tbs, digest)
	if err != nil {
		t.Fatal(err)
	}
	return parseOrFail(t, "made", encSeq(t, func(b *der.Builder) {
		b.AddBytes(tbs)
		der.AddAlgorithm(b, a)
		b.AddASN1BitString(value)
	}))
}

func specOf(t *testing.T, issuer, subject string, key crypto.PublicKey, ca bool) spec {
	t.Helper()
	info, err := alg.MarshalPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := spec{
		version: 3, serial: 1, issuer: dn(t, "Test", issuer, ""), subject: dn(t, "Test", subject, ""), spki: info,
		from: testTime.AddDate(-1, 0, 0), to: testTime.AddDate(1, 0, 0),
	}
	if ca {
		s.set(oid.ExtBasicConstraints, true, extBasic(t, true, -1))
		s.set(oid.ExtKeyUsage, true, extUsage(t, x509.KeyUsageCertSign))
	} else {
		s.set(oid.ExtKeyUsage, true, extUsage(t, x509.KeyUsageDigitalSignature))
	}
	return s
}

// TestVerifyNewerKeys makes chains in which root, CA and leaf have keys of one
// kind.
func TestVerifyNewerKeys(t *testing.T) {
	t.Parallel()
	all := newerSigners(t)
	if len(all) != 12 {
		t.Fatalf("%d kinds of keys", len(all))
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range all {
		root := specOf(t, "Root", "Root", key.Public(), true).signBy(t, key)
		leaf := specOf(t, "Root", "Leaf", key.Public(), false).signBy(t, key)
		roots := NewRoots([]*Certificate{root})
		opts := ChainOptions{Time: testTime, Purpose: Signing}
		if root.KeyErr != nil || !root.CanSign() && root.KeyUsage != x509.KeyUsageCertSign || len(root.Problems) > 0 {
			t.Fatalf("%s: %v, %v", name, root.KeyErr, root.Problems)
		}
		if chain, verifyErr := roots.Verify(leaf, opts); verifyErr != nil || len(chain) != 2 {
			t.Errorf("%s: %v", name, verifyErr)
		}
		if _, err = verifySignature(root, root.PublicKey, root.SignatureAlgorithm, root.RawTBS, root.Signature); err != nil {
			t.Errorf("%s: the root is not signed by itself: %v", name, err)
		}
		forged := specOf(t, "Root", "Leaf", key.Public(), false).signBy(t, other)
		refused(t, name+", another kind of key", roots, forged, opts, BadSignature)
		for _, at := range []int{0, len(leaf.Signature) / 2, len(leaf.Signature) - 1} {
			raw := append([]byte(nil), leaf.Raw...)
			raw[len(raw)-len(leaf.Signature)+at] ^= 1
			refused(t, name+", a flipped bit", roots, parseOrFail(t, name, raw), opts, BadSignature)
		}
		opts.Purpose = Encrypting
		refused(t, name+", for encryption", roots, leaf, opts, WrongUsage)
	}
}

func refused(t *testing.T, what string, roots *Roots, leaf *Certificate, opts ChainOptions, want Reason) {
	t.Helper()
	var fault *ChainError
	if _, err := roots.Verify(leaf, opts); !errors.As(err, &fault) || fault.Reason != want {
		t.Errorf("%s: %v", what, err)
	}
}

// TestPostQuantumChains verifies the certificates of two other implementations.
func TestPostQuantumChains(t *testing.T) {
	for _, v := range []struct {
		dir   string
		leafs int
	}{{"bc", 3}, {"ossl35", 0}} {
		root := readCerts(t, "pqc/"+v.dir+"/ta.der")["ta.der"]
		if _, ok := root.PublicKey.(*mldsa.PublicKey); !ok {
			t.Fatalf("%s: a key of type %T, %v", v.dir, root.PublicKey, root.KeyErr)
		}
		at := root.NotBefore.Add(5 * time.Minute)
		if _, err := NewRoots([]*Certificate{root}).Verify(root, ChainOptions{Time: at}); err != nil {
			t.Errorf("%s: %v", v.dir, err)
		}
		if _, err := verifySignature(root, root.PublicKey, root.SignatureAlgorithm, root.RawTBS, root.Signature); err != nil {
			t.Errorf("%s: %v", v.dir, err)
		}
		leafs := readCerts(t, "pqc/"+v.dir+"/ml-kem-*_ee.der")
		for name, leaf := range leafs {
			opts := ChainOptions{Time: at, Purpose: Encrypting}
			if _, err := NewRoots([]*Certificate{root}).Verify(leaf, opts); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			opts.Purpose = Signing
			refused(t, name, NewRoots([]*Certificate{root}), leaf, opts, WrongUsage)
		}
		if len(leafs) != v.leafs {
			t.Errorf("%s: %d certificates", v.dir, len(leafs))
		}
	}
}

// TestEveryCertificate reads all files with certificates that there are.
func TestEveryCertificate(t *testing.T) {
	dir := vectorsDir(t)
	count, keys := 0, 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, dir+string(filepath.Separator)))
		switch {
		case strings.HasSuffix(name, ".cer"), strings.HasSuffix(name, ".crt"), strings.HasSuffix(name, "_ee.der"), strings.HasSuffix(name, "/ta.der"):
		case strings.HasPrefix(name, "openssl/") && strings.HasSuffix(name, ".pem"):
		default:
			return nil
		}
		for file, c := range readCerts(t, name) {
			count++
			if len(c.RawSPKI) == 0 || c.NotBefore.IsZero() || c.NotAfter.IsZero() || c.Issuer() == "" || len(c.Serial) == 0 || len(c.Problems) > 0 {
				t.Errorf("%s: %v", file, c.Problems)
			}
			if c.PublicKey != nil {
				keys++
			} else if !errors.As(c.KeyErr, new(*KeyError)) {
				t.Errorf("%s: no key, and %v", file, c.KeyErr)
			}
		}
		return nil
	})
	// Without keys: composites, FrodoKEM, NTRU, Diffie-Hellman, a binary curve, and an RSA key that is none.
	if err != nil || count != 467 || keys != 440 {
		t.Errorf("%d certificates, %d with a key that can be used, %v", count, keys, err)
	}
}

// TestOpenSSLKeys reads certificates that OpenSSL made, and verifies them.
func TestOpenSSLKeys(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if out, runErr := cmd.CombinedOutput(); runErr != nil {
			t.Fatalf("%v: %v: %s", args, runErr, out)
		}
	}
	read := func(name string) *Certificate {
		t.Helper()
		data, readErr := os.ReadFile(filepath.Join(dir, name))
		if readErr != nil {
			t.Fatal(readErr)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			t.Fatalf("%s has no certificate", name)
		}
		return parseOrFail(t, name, block.Bytes)
	}
	run("genpkey", "-algorithm", "X448", "-out", "x448.key")
	run("pkey", "-in", "x448.key", "-pubout", "-out", "x448.pub")
	kinds := [][]string{{"ED448"}}
	for _, curve := range []string{"prime256v1", "secp224r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "brainpoolP256t1", "brainpoolP384t1", "brainpoolP512t1"} {
		for _, form := range []string{"explicit", "named_curve"} {
			kinds = append(kinds, []string{"EC", "-pkeyopt", "ec_paramgen_curve:" + curve, "-pkeyopt", "ec_param_enc:" + form})
		}
	}
	restricted := []string{"RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_pss_keygen_md:sha384",
		"-pkeyopt", "rsa_pss_keygen_mgf1_md:sha384", "-pkeyopt", "rsa_pss_keygen_saltlen:48"}
	for _, kind := range append(kinds, restricted) {
		name := strings.Join(kind, " ")
		run(append([]string{"genpkey", "-out", "ca.key", "-algorithm"}, kind...)...)
		run("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=Root", "-days", "30", "-out", "ca.pem",
			"-addext", "keyUsage=critical,keyCertSign")
		run("req", "-new", "-key", "ca.key", "-subj", "/CN=Leaf/emailAddress=leaf@example.test", "-out", "leaf.csr")
		run("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "-5", "-days", "20", "-out", "leaf.pem",
			"-force_pubkey", "x448.pub")
		ca, leaf := read("ca.pem"), read("leaf.pem")
		if explicit := strings.Contains(name, "explicit"); explicit != (len(ca.KeyAlgorithm.Parameters) > 100 && ca.KeyAlgorithm.OID == oid.EC) {
			t.Errorf("%s: the parameters have %d octets", name, len(ca.KeyAlgorithm.Parameters))
		}
		if ca.KeyErr != nil || len(ca.Problems) > 0 || len(leaf.Problems) > 0 || !leaf.HasEmail("leaf@example.test") {
			t.Fatalf("%s: %v, %v, %v", name, ca.KeyErr, ca.Problems, leaf.Problems)
		}
		if _, ok := leaf.PublicKey.(*alg.X448PublicKey); !ok || leaf.Serial[0] != 0xfb || leaf.CanSign() || !leaf.CanEncrypt() || !leaf.canAgree() {
			t.Errorf("%s: %T, %v", name, leaf.PublicKey, leaf.KeyErr)
		}
		roots := NewRoots([]*Certificate{ca})
		if _, err = roots.Verify(leaf, ChainOptions{Purpose: Agreeing}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		leaf.Signature[len(leaf.Signature)-1] ^= 1 // it points into Raw
		refused(t, name+", a flipped bit", roots, parseOrFail(t, name, leaf.Raw), ChainOptions{}, BadSignature)
	}
}

// TestRestrictedPSS holds keys of RSA-PSS to their parameters.
func TestRestrictedPSS(t *testing.T) {
	digest := func(name string) alg.Digest {
		d, ok := alg.DigestByName(name)
		if !ok {
			t.Fatal(name)
		}
		return d
	}
	sha256, sha384 := digest("sha256"), digest("sha384")
	params := func(hash, mgf alg.Digest, salt int) alg.Signature {
		return alg.Signature{Scheme: alg.PSS, Digest: hash, PSS: alg.PSSParams{Digest: hash, MGF: mgf, Salt: salt}}
	}
	restricted, err := params(sha384, sha384, 48).Algorithm()
	if err != nil {
		t.Fatal(err)
	}
	free, broken := der.Algorithm{OID: oid.RSAPSS}, der.Algorithm{OID: oid.RSAPSS, Parameters: []byte{4, 0}}
	v15 := alg.Signature{Scheme: alg.PKCS1v15, Digest: sha384}
	for _, c := range []struct {
		what string
		key  der.Algorithm
		sig  alg.Signature
		want error
	}{
		{"the same", restricted, params(sha384, sha384, 48), nil},
		{"more salt", restricted, params(sha384, sha384, 50), nil},
		{"less salt", restricted, params(sha384, sha384, 47), alg.ErrKeyType},
		{"another hash", restricted, params(sha256, sha384, 48), alg.ErrKeyType},
		{"another mask", restricted, params(sha384, sha256, 48), alg.ErrKeyType},
		{"v1.5", restricted, v15, alg.ErrKeyType},
		{"no restriction", free, params(sha256, sha256, 0), nil},
		{"no restriction, v1.5", free, v15, alg.ErrKeyType},
		{"malformed parameters", broken, params(sha256, sha256, 32), alg.ErrParameters},
		{"a key for OAEP", der.Algorithm{OID: oid.RSAES}, v15, alg.ErrKeyType},
		{"a key for any use", der.WithNull(oid.RSA), v15, nil},
		{"a key for ECDH", der.Algorithm{OID: oid.ECDH}, alg.Signature{Scheme: alg.ECDSA, Digest: sha256}, alg.ErrKeyType},
	} {
		if err = alg.FitsKey(c.key, c.sig); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestOddAddresses reads certificates whose names crypto/x509 refuses.
func TestOddAddresses(t *testing.T) {
	utf8Mailbox := func(content []byte) gn {
		return gn{0, string(enc(t, func(b *der.Builder) {
			der.AddOID(b, oid.SmtpUTF8Mailbox)
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				b.AddASN1(asn1.UTF8String, func(b *der.Builder) { b.AddBytes(content) })
			})
		}))}
	}
	alice := gn{1, "alice@example.test"}
	for what, c := range map[string]struct {
		names    []gn
		emails   string
		problems int
	}{
		"UTF-8 in an rfc822Name":        {[]gn{{1, "grün@example.test"}, alice}, "grün@example.test alice@example.test", 0},
		"Latin-1 in an rfc822Name":      {[]gn{{1, "gr\xfcn@example.test"}, alice}, "alice@example.test", 1},
		"Latin-1 in a SmtpUTF8Mailbox":  {[]gn{utf8Mailbox([]byte("gr\xfcn@example.test")), alice}, "alice@example.test", 1},
		"no SmtpUTF8Mailbox":            {[]gn{{0, string(named(t, oid.SmtpUTF8Mailbox))}, alice}, "alice@example.test", 1},
		"no address":                    {[]gn{{1, "alice"}, alice}, "alice@example.test", 1},
		"a zero":                        {[]gn{{1, "alice@example.test\x00.evil.test"}, alice}, "alice@example.test", 1},
		"the same domain twice":         {[]gn{{1, "a@grün.test"}, {1, "a@xn--grn-ioa.test"}, {1, "a@XN--GRN-IOA.test"}}, "a@grün.test a@xn--grn-ioa.test", 0},
		"a SmtpUTF8Mailbox and another": {[]gn{utf8Mailbox([]byte("жук@example.test")), alice}, "жук@example.test alice@example.test", 0},
	} {
		for _, critical := range []bool{false, true} {
			h := straight(t, 0)
			h.specs[1].set(oid.ExtSubjectAltName, critical, extNames(t, c.names...))
			h.build()
			if got := strings.Join(h.leaf.Emails, " "); got != c.emails || len(h.leaf.Problems) != c.problems {
				t.Errorf("%s: %q, %v", what, got, h.leaf.Problems)
			}
			unread := len(h.leaf.UnhandledCritical) == 1
			if _, err := h.verify(ChainOptions{}); unread {
				wantReason(t, what, err, Unsupported, h.leaf)
			} else if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if unread != (critical && c.problems == 1 && !strings.HasPrefix(what, "no address") && !strings.HasPrefix(what, "a zero")) {
				t.Errorf("%s: not understood: %v", what, h.leaf.UnhandledCritical)
			}
		}
	}
}

// FuzzParsePublicKey reads keys of any kind. One that is read can be written,
// and is then the same.
func FuzzParsePublicKey(f *testing.F) {
	for _, pattern := range []string{"rfc9216/*.crt", "pqc/bc/ml-kem-*_ee.der", "pqc/*/ta.der", "openssl/smec1.pem"} {
		for _, c := range readCerts(f, pattern) {
			f.Add(c.RawSPKI)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, key, err := parsePublicKey(raw)
		if err != nil {
			if key != nil || !errors.As(err, new(*KeyError)) {
				t.Fatalf("%T, %v", key, err)
			}
			return
		}
		c := &Certificate{KeyAlgorithm: a, PublicKey: key}
		if signs := c.CanSign(); !signs && !c.CanEncrypt() && a.OID != oid.ECDH {
			t.Errorf("a key of type %T is of no use", key)
		}
		if _, isRSA := key.(*rsa.PublicKey); isRSA || a.OID == oid.DSA {
			return // x509 refuses some of these numbers
		}
		again, err := alg.MarshalPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		_, second, err := parsePublicKey(again)
		if same, ok := key.(interface{ Equal(crypto.PublicKey) bool }); err != nil || ok && !same.Equal(second) {
			t.Errorf("%T became %T, %v", key, second, err)
		}
	})
}
