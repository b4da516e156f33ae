package cms_test

import (
	"bytes"
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// newCA returns a CA with an ML-DSA key.
func newCA(t testing.TB) *ca.Authority {
	t.Helper()
	key, err := ca.GenerateKey(ca.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ca.NewRoot(ca.Subject{Name: "Root"}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// holder returns a certificate with its private key.
func holder(t testing.TB, root *ca.Authority, kind ca.KeyType) (*pki.Certificate, crypto.PrivateKey) {
	t.Helper()
	key, err := ca.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ca.Public(key)
	if err != nil {
		t.Fatal(err)
	}
	usage := ca.SignOnly
	if !kind.Signs() {
		usage = ca.EncryptOnly
	}
	cert, err := root.Issue(&ca.Request{Emails: []string{"a@b.test"}, Key: public, Usage: usage}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// encryptTo returns an encrypted message.
func encryptTo(t testing.TB, content []byte, cipher cms.Cipher, to ...cms.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := cms.Encrypt(&b, to, &cms.EncryptOptions{Cipher: cipher})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	kemKinds  = []ca.KeyType{ca.MLKEM512, ca.MLKEM768, ca.MLKEM1024}
	testInput = []byte("what was encrypted")
)

// TestEncapsulation encrypts to keys of every kind that is not for signatures,
// with every size of content key, hash, and way to name the recipient.
func TestEncapsulation(t *testing.T) {
	root := newCA(t)
	seen := 0
	for _, kind := range append(kemKinds, ca.X448) {
		cert, key := holder(t, root, kind)
		id := &cms.CertificateIdentity{Certificate: cert, Key: key}
		for _, cipher := range []cms.Cipher{cms.AES128CBC, cms.AES192CBC, cms.AES128GCM, cms.AES192GCM, cms.AES256GCM, cms.ChaCha20Poly1305Encryption} {
			for _, to := range []*cms.CertificateRecipient{
				{Certificate: cert}, {Certificate: cert, KeyID: true, KDF: crypto.SHA384}, {Certificate: cert, KDF: crypto.SHA512, UKM: []byte("ukm")},
				{Certificate: cert, UKM: []byte{}},
			} {
				seen++
				message := encryptTo(t, testInput, cipher, to)
				got, err := drain(openMessage(t, message).Decrypt([]cms.Identity{id}, nil))
				if err != nil || !bytes.Equal(got, testInput) {
					t.Errorf("%s, %s: %q, %v", kind, cipher, got, err)
				}
				checkWrap(t, kind, cipher, message)
			}
		}
		_, err := (&cms.CertificateRecipient{Certificate: cert, KDF: crypto.SHA1}).Wrap(make([]byte, 32))
		if !errors.As(err, new(*cms.UsageError)) {
			t.Errorf("%s with SHA-1: %v", kind, err)
		}
	}
	if seen != 4*6*4 {
		t.Errorf("%d messages", seen)
	}
}

// checkWrap checks that the key wrap is no weaker than KEM and content key.
func checkWrap(t *testing.T, kind ca.KeyType, cipher cms.Cipher, message []byte) {
	t.Helper()
	infos, err := openMessage(t, message).Recipients()
	if err != nil || len(infos) != 1 {
		t.Fatalf("%d recipients, %v", len(infos), err)
	}
	info, ok := infos[0].(*cms.KEMRecipientInfo)
	if !ok {
		if kind != ca.X448 {
			t.Errorf("%s: %s", kind, infos[0])
		}
		return
	}
	want := 32
	if kind == ca.MLKEM512 && (cipher == cms.AES128CBC || cipher == cms.AES128GCM) {
		want = 16
	}
	if info.KEKLength != want || len(info.Algorithm.Parameters) > 0 {
		t.Errorf("%s, %s: a wrap of %d octets", kind, cipher, info.KEKLength)
	}
}

// TestEncapsulationRefused opens with other keys than the one that is meant. A
// wrong key, and a ciphertext of a KEM that was changed, give the same error.
func TestEncapsulationRefused(t *testing.T) {
	root := newCA(t)
	for _, kind := range kemKinds {
		cert, key := holder(t, root, kind)
		other, otherKey := holder(t, root, kind)
		for _, cipher := range []cms.Cipher{cms.AES256CBC, cms.AES256GCM} {
			message := encryptTo(t, testInput, cipher, &cms.CertificateRecipient{Certificate: cert})
			for name, c := range map[string]struct {
				id   *cms.CertificateIdentity
				want error
			}{
				"somebody else":       {&cms.CertificateIdentity{Certificate: other, Key: otherKey}, cms.ErrNoMatch},
				"another key":         {&cms.CertificateIdentity{Certificate: cert, Key: otherKey}, cms.ErrDecrypt},
				"another kind of key": {&cms.CertificateIdentity{Certificate: cert, Key: root}, cms.ErrNoMatch},
			} {
				if _, err := drain(openMessage(t, message).Decrypt([]cms.Identity{c.id}, nil)); !errors.Is(err, c.want) {
					t.Errorf("%s, %s: %v", kind, name, err)
				}
			}
			infos, err := openMessage(t, message).Recipients()
			if err != nil {
				t.Fatal(err)
			}
			id := &cms.CertificateIdentity{Certificate: cert, Key: key}
			for name, change := range map[string]func(k *cms.KEMRecipientInfo){
				"ciphertext":       func(k *cms.KEMRecipientInfo) { k.Ciphertext = flipped(k.Ciphertext) },
				"ciphertext's end": func(k *cms.KEMRecipientInfo) { k.Ciphertext = k.Ciphertext[:len(k.Ciphertext)-1] },
				"wrapped key":      func(k *cms.KEMRecipientInfo) { k.EncryptedKey = flipped(k.EncryptedKey) },
				"length":           func(k *cms.KEMRecipientInfo) { k.KEKLength = 24 },
				"ukm":              func(k *cms.KEMRecipientInfo) { k.UKM = []byte{} },
				"KDF":              func(k *cms.KEMRecipientInfo) { k.KDF.OID = "1.2.840.113549.1.9.16.3.30" },
				"wrap parameters":  func(k *cms.KEMRecipientInfo) { k.Wrap.Parameters = []byte{5, 0} },
				"KEM parameters":   func(k *cms.KEMRecipientInfo) { k.Algorithm.Parameters = []byte{5, 0} },
			} {
				info, ok := infos[0].(*cms.KEMRecipientInfo)
				if !ok {
					t.Fatalf("%s", infos[0])
				}
				changed := *info
				change(&changed)
				// The constant itself, not something that wraps it.
				if _, err = id.Unwrap([]cms.RecipientInfo{&changed}, 32); err != cms.ErrDecrypt {
					t.Errorf("%s, %s: %v", kind, name, err)
				}
			}
			for name, change := range map[string]func(k *cms.KEMRecipientInfo){
				"KEM":  func(k *cms.KEMRecipientInfo) { k.Algorithm.OID = "1.2.3" },
				"KDF":  func(k *cms.KEMRecipientInfo) { k.KDF.OID = "1.2.3" },
				"wrap": func(k *cms.KEMRecipientInfo) { k.Wrap.OID = "1.2.3" },
			} {
				changed, _ := infos[0].(*cms.KEMRecipientInfo)
				one := *changed
				change(&one)
				if _, err = id.Unwrap([]cms.RecipientInfo{&one}, 32); !errors.As(err, new(*cms.UnsupportedError)) {
					t.Errorf("%s, unknown %s: %v", kind, name, err)
				}
			}
		}
	}
}

func flipped(b []byte) []byte {
	out := bytes.Clone(b)
	out[len(out)/2] ^= 1
	return out
}

// TestEncapsulationMangled cuts a message at every octet, and flips bits over
// all of it: nothing but what was encrypted ever comes out.
func TestEncapsulationMangled(t *testing.T) {
	root := newCA(t)
	cert, key := holder(t, root, ca.MLKEM768)
	ids := []cms.Identity{&cms.CertificateIdentity{Certificate: cert, Key: key}}
	message := encryptTo(t, testInput, cms.AES256GCM, &cms.CertificateRecipient{Certificate: cert, UKM: []byte("ukm")})
	open := func(data []byte) ([]byte, error) {
		r, err := cms.NewReader(bytes.NewReader(data), nil)
		if err != nil {
			return nil, err
		}
		return drain(r.Decrypt(ids, nil))
	}
	for cut := range message {
		if _, err := open(message[:cut]); err == nil {
			t.Fatalf("cut at %d: good", cut)
		}
	}
	bad, harmless := bytes.Clone(message), 0
	for bit := 0; bit < len(bad)*8; bit += 5 {
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := open(bad); err == nil {
			harmless++
			if !bytes.Equal(got, testInput) {
				t.Fatalf("bit %d: %q", bit, got)
			}
		}
		bad[bit/8] ^= 1 << (bit % 8)
	}
	// Two versions and the type of the content, which nothing protects.
	if harmless > (3+3+9)*8/5 {
		t.Errorf("%d flips are harmless", harmless)
	}
}
