package cms_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// signWith returns a signed message, or why signer cannot sign.
func signWith(t testing.TB, content []byte, signer cms.Signer) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	w, err := cms.Sign(&b, []cms.Signer{signer}, &cms.SignOptions{Size: int64(len(content))})
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), nil
}

func signerOf(t testing.TB, root *ca.Authority, kind ca.KeyType) cms.Signer {
	t.Helper()
	cert, key := holder(t, root, kind)
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatalf("%s does not sign", kind)
	}
	return cms.Signer{Certificate: cert, Key: signer}
}

// TestSignatures signs with ML-DSA, SLH-DSA and Ed448 and every digest. What is
// weaker than the key, or not for it, is refused before anything is written.
func TestSignatures(t *testing.T) {
	root := newCA(t)
	opts := &cms.VerifyOptions{Trust: cms.TrustPool(pki.NewRoots([]*pki.Certificate{root.Certificate}))}
	_, hashKey, err := slhdsa.GenerateKey(rand.Reader, slhdsa.SHAKE_128f)
	if err != nil {
		t.Fatal(err)
	}
	hashCert, err := root.Issue(&ca.Request{Emails: []string{"a@b.test"}, Key: hashKey.Public(), Usage: ca.SignOnly}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	all := []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512, alg.SHAKE128, alg.SHAKE256, crypto.SHA224, crypto.SHA1}
	seen := 0
	for name, c := range map[string]struct {
		signer cms.Signer
		good   int    // how many of the hashes are, from the shortest that is left out
		def    string // the digest by default
		size   int
	}{
		"ML-DSA-44":          {signerOf(t, root, ca.MLDSA44), 9, "sha512", 2420},
		"ML-DSA-65":          {signerOf(t, root, ca.MLDSA65), 6, "sha512", 3309},
		"ML-DSA-87":          {signerOf(t, root, ca.MLDSA87), 4, "sha512", 4627},
		"Ed448":              {signerOf(t, root, ca.Ed448), 2, "shake256-512", 114},
		"SLH-DSA-SHAKE-128f": {cms.Signer{Certificate: hashCert, Key: hashKey}, 9, "shake128", 17088},
	} {
		good := 0
		for _, hash := range all {
			for _, bare := range []bool{false, true} {
				s := c.signer
				s.Digest, s.NoAttributes = hash, bare
				message, signErr := signWith(t, testInput, s)
				if bare || signErr != nil {
					if !errors.As(signErr, new(*cms.UsageError)) {
						t.Errorf("%s, bare %v, %v: %v", name, bare, uint(hash), signErr)
					}
					continue
				}
				good++
				seen++
				r, verifyErr := openMessage(t, message).Verify(opts)
				got, verifyErr := drain(r, verifyErr)
				if verifyErr != nil || !bytes.Equal(got, testInput) {
					t.Fatalf("%s, %v: %q, %v", name, uint(hash), got, verifyErr)
				}
				result := r.Signers()[0]
				if result.SignatureAlgorithm != name || !result.Trusted || hash == 0 && result.Digest != c.def {
					t.Errorf("%s: %s with %s", name, result.SignatureAlgorithm, result.Digest)
				}
			}
		}
		if good != c.good {
			t.Errorf("%s signs with %d digests, not %d", name, good, c.good)
		}
	}
	if seen != 9+6+4+2+9 {
		t.Errorf("%d messages", seen)
	}
}

// TestSignaturesMangled flips bits all over a message signed with ML-DSA.
func TestSignaturesMangled(t *testing.T) {
	root := newCA(t)
	for _, kind := range []ca.KeyType{ca.MLDSA65, ca.Ed448} {
		s := signerOf(t, root, kind)
		message, err := signWith(t, testInput, s)
		if err != nil {
			t.Fatal(err)
		}
		trust := cms.TrustFunc(func(req *cms.TrustRequest) error {
			if !bytes.Equal(req.Certificate.Raw, s.Certificate.Raw) {
				return cms.ErrNoMatch
			}
			return nil
		})
		verify := func(data []byte) ([]byte, error) {
			r, readErr := cms.NewReader(bytes.NewReader(data), nil)
			if readErr != nil {
				return nil, readErr
			}
			return drain(r.Verify(&cms.VerifyOptions{Trust: trust}))
		}
		if _, err = verify(message); err != nil {
			t.Fatal(err)
		}
		for cut := 0; cut < len(message); cut += 3 {
			if _, err = verify(message[:cut]); err == nil {
				t.Fatalf("%s, cut at %d: good", kind, cut)
			}
		}
		bad := bytes.Clone(message)
		for bit := 0; bit < len(bad)*8; bit += 31 {
			bad[bit/8] ^= 1 << (bit % 8)
			if got, verifyErr := verify(bad); verifyErr == nil && !bytes.Equal(got, testInput) {
				t.Fatalf("%s, bit %d: %q", kind, bit, got)
			}
			bad[bit/8] ^= 1 << (bit % 8)
		}
		bad[len(bad)-1] ^= 1 // the signature is the last field
		_, err = verify(bad)
		if ve, ok := errors.AsType[*cms.VerifyError](err); !ok || ve.Reason != cms.ReasonSignature {
			t.Errorf("%s, signature changed: %v", kind, err)
		}
	}
}

// BenchmarkPQC is a small mail, signed or encrypted, with a certificate's path
// left out.
func BenchmarkPQC(b *testing.B) {
	root := newCA(b)
	content := bytes.Repeat([]byte("0123456789abcdef"), 640)
	for _, kind := range []ca.KeyType{ca.P256, ca.MLDSA44, ca.MLDSA65, ca.MLDSA87} {
		s := signerOf(b, root, kind)
		message, err := signWith(b, content, s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("sign/"+string(kind), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signWith(b, content, s); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("verify/"+string(kind), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := drain(openMessage(b, message).Verify(&cms.VerifyOptions{Trust: cms.InsecureTrustAnySigner})); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, kind := range kemKinds {
		cert, key := holder(b, root, kind)
		to := &cms.CertificateRecipient{Certificate: cert}
		ids := []cms.Identity{&cms.CertificateIdentity{Certificate: cert, Key: key}}
		message := encryptTo(b, content, cms.AES256GCM, to)
		b.Run("encrypt/"+string(kind), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				encryptTo(b, content, cms.AES256GCM, to)
			}
		})
		b.Run("decrypt/"+string(kind), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := drain(openMessage(b, message).Decrypt(ids, nil)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
