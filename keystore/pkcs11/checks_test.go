package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
)

// digestOf hashes a text.
func digestOf(hash crypto.Hash, text string) []byte {
	h := hash.New()
	h.Write([]byte(text))
	return h.Sum(nil)
}

var hashes = []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512}

// checkKey lets a key do all that keys of its kind do, and compares with
// package crypto.
func checkKey(t *testing.T, private crypto.PrivateKey, p *testpki.Person) {
	t.Helper()
	switch k := private.(type) {
	case *RSAKey:
		checkRSASigner(t, k)
		checkRSADecrypter(t, k)
	case *ECKey:
		checkECDSA(t, k)
		checkECDH(t, k, mustECDH(t, p))
	case *Ed25519Key:
		checkEd25519(t, k)
	case *X25519Key:
		checkECDH(t, k, p.Key.(*ecdh.PrivateKey))
	default:
		t.Fatalf("a key of type %T", private)
	}
	if k, ok := p.Cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && !k.Equal(private.(interface{ Public() crypto.PublicKey }).Public()) {
		t.Errorf("the public key is another one")
	}
}

func checkRSASigner(t *testing.T, k *RSAKey) {
	t.Helper()
	for _, hash := range hashes {
		digest := digestOf(hash, "message")
		sig, err := k.Sign(rand.Reader, digest, hash)
		if err == nil {
			err = rsa.VerifyPKCS1v15(k.public, hash, digest, sig)
		}
		if err != nil {
			t.Errorf("v1.5 with %v: %v", hash, err)
		}
		for _, salt := range []int{rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, 1, 20, k.public.Size() - 2 - hash.Size()} {
			opts := &rsa.PSSOptions{SaltLength: salt, Hash: hash}
			sig, err = k.Sign(rand.Reader, digest, opts)
			if err == nil {
				err = rsa.VerifyPSS(k.public, hash, digest, sig, opts)
			}
			if err != nil {
				t.Errorf("PSS with %v and salt %d: %v", hash, salt, err)
			}
		}
		for _, opts := range []crypto.SignerOpts{hash, &rsa.PSSOptions{Hash: hash}} {
			if _, err = k.Sign(rand.Reader, digest[1:], opts); !errors.Is(err, errDigest) {
				t.Errorf("a short digest for %v: %v", hash, err)
			}
		}
	}
	if _, err := k.Sign(rand.Reader, digestOf(crypto.SHA256, ""), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 4096}); err == nil {
		t.Error("a salt that is too long was taken")
	}
	if _, err := k.Sign(rand.Reader, make([]byte, 36), crypto.MD5SHA1); !errors.As(err, new(*keystore.UnsupportedError)) {
		t.Errorf("MD5SHA1: %v", err)
	}
	sig, err := k.Sign(rand.Reader, []byte("bare"), crypto.Hash(0))
	if err == nil {
		err = rsa.VerifyPKCS1v15(k.public, 0, []byte("bare"), sig)
	}
	if err != nil {
		t.Errorf("v1.5 without DigestInfo: %v", err)
	}
}

func checkRSADecrypter(t *testing.T, k *RSAKey) {
	t.Helper()
	checkV15(t, k)
	for _, hash := range hashes {
		checkOAEP(t, k, hash, nil)
	}
	if _, err := k.Decrypt(nil, make([]byte, k.public.Size()), struct{}{}); err == nil {
		t.Error("unknown options were taken")
	}
}

// checkOAEP decrypts OAEP with a hash. With refused the token cannot, or with
// SHA-1 can only for the usual parameters.
func checkOAEP(t *testing.T, k *RSAKey, hash crypto.Hash, refused func(error) bool) {
	t.Helper()
	for _, mgf := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256} {
		for _, label := range [][]byte{nil, []byte("label")} {
			opts := &rsa.OAEPOptions{Hash: hash, MGFHash: mgf, Label: label}
			what := fmt.Sprintf("OAEP with %v, %v and label %q", hash, mgf, label)
			for _, message := range []string{"", "a", "a key of thirty-two octets......"} {
				c, err := rsa.EncryptOAEPWithOptions(rand.Reader, k.public, []byte(message), opts)
				if err != nil {
					t.Fatal(err)
				}
				got, err := k.Decrypt(nil, c, opts)
				if refused != nil {
					if !refused(err) {
						t.Errorf("%s: %v", what, err)
					}
				} else if err != nil || string(got) != message {
					t.Errorf("%s: %q, %v", what, got, err)
				}
			}
			if refused == nil {
				checkBadOAEP(t, k, what, opts)
			}
		}
	}
}

func checkBadOAEP(t *testing.T, k *RSAKey, what string, opts *rsa.OAEPOptions) {
	t.Helper()
	c, err := rsa.EncryptOAEPWithOptions(rand.Reader, k.public, []byte("x"), opts)
	if err != nil {
		t.Fatal(err)
	}
	other := *opts
	other.Label = []byte("another")
	if _, err = k.Decrypt(nil, c, &other); !errors.Is(err, rsa.ErrDecryption) {
		t.Errorf("%s with another label: %v", what, err)
	}
	c[len(c)-1] ^= 1
	if _, err = k.Decrypt(nil, c, opts); !errors.Is(err, rsa.ErrDecryption) {
		t.Errorf("%s, damaged: %v", what, err)
	}
}

// checkV15 compares with crypto/rsa, what has bad padding included.
func checkV15(t *testing.T, k *RSAKey) {
	t.Helper()
	secret := []byte("0123456789abcdef")
	//lint:ignore SA1019 the key transport that every peer reads
	good, err := rsa.EncryptPKCS1v15(rand.Reader, k.public, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range []crypto.DecrypterOpts{nil, sessionKey(0), sessionKey(16)} {
		got, decryptErr := k.Decrypt(nil, good, opts)
		if decryptErr != nil || !bytes.Equal(got, secret) {
			t.Errorf("v1.5 with %+v: %x, %v", opts, got, decryptErr)
		}
	}
	for _, size := range []int{1, 15, 17, 32, k.public.Size() - 11} {
		got, decryptErr := k.Decrypt(nil, good, sessionKey(size))
		if decryptErr != nil || len(got) != size || bytes.HasPrefix(got, secret) || bytes.HasPrefix(secret, got) && size > 1 {
			t.Errorf("v1.5 for a key of %d octets: %x, %v", size, got, decryptErr)
		}
	}
	bad := slices.Clone(good)
	bad[len(bad)-1] ^= 1
	first, err := k.Decrypt(nil, bad, sessionKey(16))
	if err != nil || len(first) != 16 || bytes.Equal(first, secret) {
		t.Errorf("v1.5, damaged: %x, %v", first, err)
	}
	if again, againErr := k.Decrypt(nil, bad, sessionKey(16)); againErr != nil || bytes.Equal(first, again) {
		t.Errorf("v1.5, damaged: %x twice, %v", again, againErr)
	}
	for _, opts := range []crypto.DecrypterOpts{nil, sessionKey(0)} {
		if _, err = k.Decrypt(nil, bad, opts); !errors.Is(err, rsa.ErrDecryption) {
			t.Errorf("v1.5, damaged: %v", err)
		}
	}
	for _, c := range [][]byte{nil, good[1:], append([]byte{0}, good...), bytes.Repeat([]byte{0xff}, len(good))} {
		if _, err = k.Decrypt(nil, c, sessionKey(16)); !errors.Is(err, rsa.ErrDecryption) {
			t.Errorf("v1.5 of %d octets: %v", len(c), err)
		}
	}
	if _, err = k.Decrypt(nil, good, sessionKey(k.public.Size()-10)); !errors.Is(err, rsa.ErrDecryption) {
		t.Errorf("v1.5 for a key that has no room: %v", err)
	}
}

func sessionKey(size int) crypto.DecrypterOpts {
	//lint:ignore SA1019 the session-key form keeps the padding secret
	return &rsa.PKCS1v15DecryptOptions{SessionKeyLen: size}
}

func checkECDSA(t *testing.T, k *ECKey) {
	t.Helper()
	for _, hash := range hashes {
		digest := digestOf(hash, "message")
		sig, err := k.Sign(rand.Reader, digest, hash)
		if err != nil || !ecdsa.VerifyASN1(k.public, digest, sig) {
			t.Errorf("ECDSA with %v: %v", hash, err)
		}
		if _, err = k.Sign(rand.Reader, digest[1:], hash); !errors.Is(err, errDigest) {
			t.Errorf("a short digest for %v: %v", hash, err)
		}
	}
}

func mustECDH(t *testing.T, p *testpki.Person) *ecdh.PrivateKey {
	t.Helper()
	key, err := p.Key.(*ecdsa.PrivateKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func checkECDH(t *testing.T, k ecdh.KeyExchanger, own *ecdh.PrivateKey) {
	t.Helper()
	if !k.PublicKey().Equal(own.PublicKey()) || k.Curve() != own.Curve() {
		t.Errorf("another public key or curve")
	}
	// Often enough for secrets with a leading zero where the peer shortens them.
	for range 20 {
		peer, err := own.Curve().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := own.ECDH(peer.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.ECDH(peer.PublicKey())
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("ECDH: %x, %v, want %x", got, err, want)
		}
	}
	other := ecdh.P256()
	if own.Curve() == other {
		other = ecdh.P384()
	}
	stranger, err := other.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, public := range []*ecdh.PublicKey{nil, stranger.PublicKey()} {
		if _, err = k.ECDH(public); !errors.Is(err, errPeer) {
			t.Errorf("ECDH with another curve: %v", err)
		}
	}
}

func checkEd25519(t *testing.T, k *Ed25519Key) {
	t.Helper()
	for _, message := range []string{"a", "a longer message"} {
		sig, err := k.Sign(nil, []byte(message), crypto.Hash(0))
		if err != nil || !ed25519.Verify(k.public, []byte(message), sig) {
			t.Errorf("Ed25519: %v", err)
		}
	}
	for _, opts := range []crypto.SignerOpts{nil, crypto.SHA512, &ed25519.Options{Context: "c"}} {
		if _, err := k.Sign(nil, make([]byte, 64), opts); !errors.As(err, new(*keystore.UnsupportedError)) {
			t.Errorf("Ed25519 with %+v: %v", opts, err)
		}
	}
}

// issue makes a person with a key that no other of that name has.
func issue(t testing.TB, kind testpki.KeyType, name string) *testpki.Person {
	t.Helper()
	ca, err := testpki.NewCA("Token Root")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: name, Email: "alice@example.test", Key: kind})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fixedPIN(pin string) keystore.Passphrase {
	return func(string) ([]byte, error) { return []byte(pin), nil }
}
