package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/testpki"
)

// pairs returns recipients with the identities that open what they get.
func pairs(t testing.TB) map[string]struct {
	Recipient
	Identity
} {
	out := map[string]struct {
		Recipient
		Identity
	}{
		"kek128":   {&KEK{[]byte{1, 2}, make([]byte, 16)}, &KEK{[]byte{1, 2}, make([]byte, 16)}},
		"kek256":   {&KEK{[]byte{3}, make([]byte, 32)}, &KEK{[]byte{3}, make([]byte, 32)}},
		"password": {&Password{Password: []byte("secret"), Iterations: 1000}, &Password{Password: []byte("secret")}},
	}
	add := func(name string, kind testpki.KeyType, edit func(*CertificateRecipient)) {
		p := person(t, kind)
		r := NewRecipient(p.Cert)
		edit(r)
		out[name] = struct {
			Recipient
			Identity
		}{r, NewIdentity(p.Cert, p.Key)}
	}
	none := func(*CertificateRecipient) {}
	add("rsa", testpki.RSA2048, none)
	add("rsa key id", testpki.RSA2048, func(r *CertificateRecipient) { r.KeyID = true })
	add("oaep", testpki.RSA2048, func(r *CertificateRecipient) { r.OAEP = &OAEPOptions{} })
	add("oaep sha1", testpki.RSA2048, func(r *CertificateRecipient) { r.OAEP = &OAEPOptions{Hash: crypto.SHA1} })
	add("oaep mixed", testpki.RSA2048, func(r *CertificateRecipient) {
		r.OAEP = &OAEPOptions{Hash: crypto.SHA384, MGFHash: crypto.SHA1, Label: []byte("label")}
	})
	for _, kind := range []testpki.KeyType{testpki.P256, testpki.P384, testpki.P521, testpki.X25519} {
		add(kind.String(), kind, none)
		add(kind.String()+" key id and ukm", kind, func(r *CertificateRecipient) { r.KeyID, r.UKM = true, []byte("keying material") })
		add(kind.String()+" sha512", kind, func(r *CertificateRecipient) { r.KDF = crypto.SHA512 })
	}
	return out
}

var allCiphers = []Cipher{AES128CBC, AES192CBC, AES256CBC, AES128GCM, AES192GCM, AES256GCM, ChaCha20Poly1305Encryption}

func encrypt(t testing.TB, content []byte, opts *EncryptOptions, to ...Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Encrypt(&out, to, opts)
	write(t, w, err, content)
	return out.Bytes()
}

// TestEncryptDecrypt has every cipher with every size of content for one kind of
// key, and every size, with the ciphers by turns, for all others: how content is
// encrypted does not depend on how its key is wrapped.
func TestEncryptDecrypt(t *testing.T) {
	const whole = "X25519"
	all, turn := pairs(t), 0
	if _, ok := all[whole]; !ok {
		t.Fatal("no key of the kind that gets everything")
	}
	for name, pair := range all {
		turn++
		t.Run(name, func(t *testing.T) {
			for i, c := range allCiphers {
				for j, size := range testSizes {
					switch {
					case name == "password" && size != 1:
					case name == "password", name == whole, i == (j+turn)%len(allCiphers):
						checkEncryptDecrypt(t, pair.Recipient, pair.Identity, c, size)
					}
				}
			}
		})
	}
}

func checkEncryptDecrypt(t *testing.T, to Recipient, id Identity, c Cipher, size int) {
	t.Helper()
	content := testContent(size)
	value := []byte{4, 1, 'x'}
	for _, opts := range []*EncryptOptions{{Cipher: c}, {Cipher: c, Size: int64(size), Unprotected: Attributes{{Type: "1.2.3", Values: [][]byte{value}}}}, {Cipher: c, ContentType: TypeSignedData}} {
		if c.AEAD() && opts.Size > 0 {
			opts.Authenticated = Attributes{{Type: "1.2.4", Values: [][]byte{{4, 1, 'b'}, {4, 1, 'a'}}}}
		}
		message := encrypt(t, content, opts, to)
		if normal, err := ber.Normalize(message, 64); err != nil || ((opts.Size > 0 || size <= smallContent) && !bytes.Equal(normal, message)) {
			t.Fatalf("%s, %d octets: not DER: %v", c, size, err)
		}
		d, err := newReader(t, message).Decrypt([]Identity{id}, &DecryptOptions{SpoolMemory: 100_000, SpoolDir: t.TempDir()})
		if err != nil {
			t.Fatalf("%s, %d octets: %v", c, size, err)
		}
		got, err := readAll(d, nil)
		if err != nil || !bytes.Equal(got, content) || d.Authenticated() != c.AEAD() || d.Cipher() != string(c) {
			t.Fatalf("%s, %d octets: %d came back: %v", c, size, len(got), err)
		}
		if opts.Unprotected != nil {
			if v, ok := d.Unprotected().Get("1.2.3"); !ok || !bytes.Equal(v, value) {
				t.Fatalf("%s: unprotected attributes %v", c, d.Unprotected())
			}
		}
	}
}

func TestManyRecipients(t *testing.T) {
	var to []Recipient
	all := pairs(t)
	for _, p := range all {
		to = append(to, p.Recipient)
	}
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		message := encrypt(t, []byte("for all"), &EncryptOptions{Cipher: c}, to...)
		infos, err := newReader(t, message).Recipients()
		if err != nil || len(infos) != len(all) {
			t.Fatalf("%d recipients: %v", len(infos), err)
		}
		for name, p := range all {
			got, rerr := readAll(newReader(t, message).Decrypt([]Identity{p.Identity}, nil))
			if rerr != nil || string(got) != "for all" {
				t.Errorf("%s, %s: %q, %v", c, name, got, rerr)
			}
		}
		stranger := person(t, testpki.RSA3072)
		_, err = newReader(t, message).Decrypt([]Identity{NewIdentity(stranger.Cert, stranger.Key)}, nil)
		nm, ok := errors.AsType[*NoMatchError](err)
		if !ok || !errors.Is(err, ErrNoMatch) || len(nm.Recipients) != len(all) {
			t.Errorf("stranger: %v", err)
		}
	}
}

// TestOtherRecipient shows that a kind of recipient nobody knows does not keep
// the others out.
func TestOtherRecipient(t *testing.T) {
	p := person(t, testpki.P256)
	message := encrypt(t, []byte("content"), nil, NewRecipient(p.Cert), recipientFunc(func([]byte) ([]RecipientInfo, error) {
		return []RecipientInfo{&OtherRecipientInfo{Type: "1.2.3.4", Value: []byte{0x30, 0}}}, nil
	}))
	got, err := readAll(newReader(t, message).Decrypt([]Identity{NewIdentity(p.Cert, p.Key)}, nil))
	if err != nil || string(got) != "content" {
		t.Fatalf("%q, %v", got, err)
	}
	infos, err := newReader(t, message).Recipients()
	if err != nil {
		t.Fatal(err)
	}
	named := false
	for _, info := range infos {
		o, ok := info.(*OtherRecipientInfo)
		named = named || ok && o.Type == "1.2.3.4"
	}
	if !named {
		t.Error("the other recipient is not named")
	}
}

type recipientFunc func(cek []byte) ([]RecipientInfo, error)

func (f recipientFunc) Wrap(cek []byte) ([]RecipientInfo, error) { return f(cek) }

// TestOneDecryptError shows that failures of decryption cannot be told apart.
func TestOneDecryptError(t *testing.T) {
	p := person(t, testpki.RSA2048)
	id := NewIdentity(p.Cert, p.Key)
	wrong := person(t, testpki.RSA3072)
	// Named as p, but with another key: the padding will be wrong.
	impostor := &CertificateIdentity{Certificate: id.Certificate, Key: wrong.Key}
	for _, c := range []Cipher{AES128CBC, AES256GCM} {
		message := encrypt(t, testContent(100), &EncryptOptions{Cipher: c}, NewRecipient(p.Cert))
		content := bytes.LastIndex(message, message[len(message)-20:])
		cases := map[string]func() ([]byte, error){
			"wrong key": func() ([]byte, error) {
				return readAll(newReader(t, message).Decrypt([]Identity{impostor}, nil))
			},
		}
		if c.AEAD() {
			cases["bad tag"] = func() ([]byte, error) {
				bad := bytes.Clone(message)
				bad[content+19] ^= 1
				return readAll(newReader(t, bad).Decrypt([]Identity{id}, nil))
			}
		}
		for name, try := range cases {
			got, err := try()
			// A wrong key passes the padding check of CBC once in 256 times.
			if err != ErrDecrypt && (c.AEAD() || err != nil) {
				t.Errorf("%s, %s: %v", c, name, err)
			}
			if c.AEAD() && len(got) > 0 {
				t.Errorf("%s, %s: %d octets were released", c, name, len(got))
			}
		}
	}
	// A password, and a KEK that is too: these fail at once, and say the same.
	message := encrypt(t, []byte("x"), nil, &Password{Password: []byte("right"), Iterations: 1000})
	if _, err := readAll(newReader(t, message).Decrypt([]Identity{&Password{Password: []byte("wrong")}}, nil)); err != ErrDecrypt {
		t.Errorf("wrong password: %v", err)
	}
	message = encrypt(t, []byte("x"), &EncryptOptions{Cipher: AES128CBC}, &KEK{[]byte("id"), make([]byte, 16)})
	if _, err := readAll(newReader(t, message).Decrypt([]Identity{&KEK{[]byte("id"), bytes.Repeat([]byte{1}, 16)}}, nil)); err != ErrDecrypt {
		t.Errorf("wrong KEK: %v", err)
	}
}

// TestNothingBeforeTheTag flips every bit of an AuthEnvelopedData: nothing but
// the unauthenticated parts may change without an error, and no error comes
// after content.
func TestNothingBeforeTheTag(t *testing.T) {
	id := &KEK{[]byte("id"), make([]byte, 32)}
	for _, c := range []Cipher{AES256GCM, ChaCha20Poly1305Encryption} {
		want := testContent(50)
		message := encrypt(t, want, &EncryptOptions{Cipher: c, Authenticated: Attributes{{Type: "1.2.4", Values: [][]byte{{4, 1, 'a'}}}}}, id)
		good := 0
		for i := range len(message) * 8 {
			bad := bytes.Clone(message)
			bad[i/8] ^= 1 << (i % 8)
			r, err := NewReader(bytes.NewReader(bad), nil)
			if err != nil {
				continue
			}
			d, err := r.Decrypt([]Identity{id}, nil)
			if err != nil {
				continue
			}
			got, err := readAll(d, nil)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, bit %d: %d octets were released: %v", c, i, len(got), err)
			}
			good++
		}
		// The versions and the inner content type are not protected.
		if good == 0 || good > 200 {
			t.Errorf("%s: %d bits make no difference", c, good)
		}
	}
}

func TestEncryptUsage(t *testing.T) {
	ed := person(t, testpki.Ed25519)
	weak := person(t, testpki.RSA1024)
	signOnly, err := testCA.Issue(testpki.Profile{Key: testpki.P256, Usage: testpki.Sign})
	if err != nil {
		t.Fatal(err)
	}
	kek := &KEK{[]byte("id"), make([]byte, 16)}
	for name, try := range map[string]func() error{
		"nobody":       func() error { _, err := Encrypt(io.Discard, nil, nil); return err },
		"signing key":  func() error { _, err := Encrypt(io.Discard, []Recipient{NewRecipient(ed.Cert)}, nil); return err },
		"signing cert": func() error { _, err := Encrypt(io.Discard, []Recipient{NewRecipient(signOnly.Cert)}, nil); return err },
		"small key":    func() error { _, err := Encrypt(io.Discard, []Recipient{NewRecipient(weak.Cert)}, nil); return err },
		"3des": func() error {
			_, err := Encrypt(io.Discard, []Recipient{kek}, &EncryptOptions{Cipher: "3des"})
			return err
		},
		"cbc attributes": func() error {
			_, err := Encrypt(io.Discard, []Recipient{kek}, &EncryptOptions{Cipher: AES128CBC, Authenticated: Attributes{{Type: "1.2.3"}}})
			return err
		},
		"bad kek":        func() error { _, err := Encrypt(io.Discard, []Recipient{&KEK{Key: []byte("short")}}, nil); return err },
		"empty password": func() error { _, err := Encrypt(io.Discard, []Recipient{&Password{}}, nil); return err },
		"key size":       func() error { _, err := EncryptWithKey(io.Discard, []byte("short"), nil); return err },
		"gcm key": func() error {
			_, err := EncryptWithKey(io.Discard, make([]byte, 32), &EncryptOptions{Cipher: AES256GCM})
			return err
		},
	} {
		if err := try(); !isUsage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherTypes(t *testing.T) {
	id := &KEK{[]byte("id"), make([]byte, 32)}
	for _, size := range testSizes {
		content := testContent(size)
		var out bytes.Buffer
		w, err := EncryptWithKey(&out, make([]byte, 24), &EncryptOptions{Cipher: AES192CBC, Size: int64(size)})
		write(t, w, err, content)
		got, err := readAll(newReader(t, out.Bytes()).DecryptWithKey(make([]byte, 24), nil))
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("encrypted, %d octets: %v", size, err)
		}
		for _, h := range []crypto.Hash{0, crypto.SHA3_512} {
			out.Reset()
			w, err = Digest(&out, h, "")
			write(t, w, err, content)
			got, err = readAll(newReader(t, out.Bytes()).VerifyDigest(nil, nil))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("digested, %d octets: %v", size, err)
			}
			message := out.Bytes()
			message[len(message)-3] ^= 1
			if size <= smallContent {
				_, err = readAll(newReader(t, message).VerifyDigest(nil, nil))
				checkReason(t, err, ReasonDigest)
			}
		}
		out.Reset()
		w, err = Compress(&out, TypeSignedData)
		write(t, w, err, content)
		c, err := newReader(t, out.Bytes()).Decompress()
		if err != nil || c.ContentType() != TypeSignedData {
			t.Fatal(err)
		}
		if got, err = readAll(c, nil); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("compressed, %d octets: %v", size, err)
		}
		for _, opts := range []*AuthenticateOptions{nil, {Digest: crypto.SHA512, Size: int64(size), ContentType: TypeSignedData}} {
			out.Reset()
			w, err = Authenticate(&out, []Recipient{id}, opts)
			write(t, w, err, content)
			got, err = readAll(newReader(t, out.Bytes()).VerifyMAC([]Identity{id}))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("authenticated, %d octets: %v", size, err)
			}
			message := bytes.Clone(out.Bytes())
			if size > 1000 {
				message[700] ^= 1
				_, err = readAll(newReader(t, message).VerifyMAC([]Identity{id}))
				checkReason(t, err, ReasonDigest)
			}
			if size <= smallContent {
				message = out.Bytes()
				message[len(message)-1] ^= 1
				_, err = readAll(newReader(t, message).VerifyMAC([]Identity{id}))
				checkReason(t, err, ReasonMAC)
			}
		}
	}
}

func TestDecompressionBomb(t *testing.T) {
	var out bytes.Buffer
	w, err := Compress(&out, "")
	write(t, w, err, make([]byte, 40<<20))
	for _, limits := range []*Limits{{Expanded: 1 << 20}, {Ratio: 100}} {
		r, err := NewReader(bytes.NewReader(out.Bytes()), limits)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(r.Decompress())
		if _, ok := errors.AsType[*LimitError](err); !ok || len(got) > 20<<20 {
			t.Errorf("%+v: %d octets, %v", limits, len(got), err)
		}
	}
}

// TestCompressedPoint: an originator may compress its point (SEC 1, Section 2.3.3).
func TestCompressedPoint(t *testing.T) {
	for _, c := range []struct {
		ecdh  ecdh.Curve
		curve elliptic.Curve
	}{{ecdh.P256(), elliptic.P256()}, {ecdh.P384(), elliptic.P384()}, {ecdh.P521(), elliptic.P521()}} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := key.PublicKey.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		point := want.Bytes()
		size := (len(point) - 1) / 2
		compressed := append([]byte{2 + point[len(point)-1]&1}, point[1:1+size]...)
		got, err := originatorKey(c.ecdh, compressed)
		if err != nil || !got.Equal(want) {
			t.Errorf("%v: %v", c.ecdh, err)
		}
		compressed[1] ^= 0xff
		compressed[size] ^= 0xff
		if got, err = originatorKey(c.ecdh, compressed); err == nil && got.Equal(want) {
			t.Errorf("%v: another point is the same", c.ecdh)
		}
	}
}
