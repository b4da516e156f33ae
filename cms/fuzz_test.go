package cms

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// fuzzLimits keep the work for one input small.
var fuzzLimits = &Limits{Element: 64 << 10, Total: 256 << 10, Expanded: 1 << 20}

// addSeeds adds the messages of a folder of vectors, where they are at hand.
func addSeeds(f *testing.F, patterns ...string) {
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join("..", "..", "shared", "vectors", pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() < 8<<10 {
				f.Add(readFile(f, name))
			}
		}
	}
}

// fuzzReader reads in with read, which gets the content that is released, and
// checks what holds for any input.
func fuzzReader(t *testing.T, in []byte, read func(*Reader) (io.ReadCloser, error)) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(in), fuzzLimits)
	if err != nil {
		checkKind(t, err)
		return nil, err
	}
	rc, err := read(r)
	if err != nil {
		checkKind(t, err)
		return nil, err
	}
	content, err := io.ReadAll(rc)
	cerr := rc.Close()
	if (err == nil) != (cerr == nil) || (err != nil && err != cerr) {
		t.Fatalf("Read says %v, Close says %v", err, cerr)
	}
	if err != nil {
		checkKind(t, err)
	}
	return content, err
}

// checkKind asserts that an error is one of those that the package promises.
func checkKind(t *testing.T, err error) {
	var se *SyntaxError
	var ue *UnsupportedError
	var le *LimitError
	var nm *NoMatchError
	var ve *VerifyError
	var key *UsageError // DecryptWithKey says so of a key of the wrong size
	if errors.As(err, &key) && !strings.HasPrefix(key.Msg, "DecryptWithKey: the key has") {
		t.Fatal(err)
	}
	if key == nil && !errors.As(err, &se) && !errors.As(err, &ue) && !errors.As(err, &le) && !errors.As(err, &nm) && !errors.As(err, &ve) &&
		!errors.Is(err, ErrDecrypt) {
		t.Fatalf("an error of no known kind: %T %v", err, err)
	}
}

// FuzzSigned flips and mangles signed messages: whatever verifies must be the
// content that was signed.
func FuzzSigned(f *testing.F) {
	content := []byte("what was signed")
	s := signer(f, testpki.P256)
	f.Add(sign(f, content, nil, s))
	withCounter := s
	withCounter.Countersigners = []Signer{signer(f, testpki.Ed25519)}
	f.Add(sign(f, content, nil, withCounter))
	f.Add(sign(f, testContent(smallContent + 1)[:smallContent+1], nil, s)[:4096])
	addSeeds(f, "rfc4134/4.*.bin", "openssl/*.cms", "pqc/*/*.der")
	trust := trustCA()
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := fuzzReader(t, in, func(r *Reader) (io.ReadCloser, error) {
			return r.Verify(&VerifyOptions{Trust: trust, Allow: oldMail})
		})
		if err == nil && !bytes.Equal(got, content) && len(got) < smallContent {
			t.Fatalf("a good verdict over %q", got)
		}
		r, err := NewReader(bytes.NewReader(in), fuzzLimits)
		if err == nil {
			_, _, _ = r.Certificates() // must not panic
		}
	})
}

func FuzzEnveloped(f *testing.F) {
	kek := &KEK{ID: []byte("id"), Key: make([]byte, 16)}
	password := &Password{Password: []byte("x"), Iterations: 1000}
	p := person(f, testpki.P256)
	for _, c := range []Cipher{AES128CBC, AES256CBC} {
		f.Add(encrypt(f, []byte("content"), &EncryptOptions{Cipher: c}, kek, password, NewRecipient(p.Cert)))
	}
	addSeeds(f, "rfc4134/5.*.bin", "openssl/*.der")
	ids := []Identity{kek, NewIdentity(p.Cert, p.Key)}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _ = fuzzReader(t, in, func(r *Reader) (io.ReadCloser, error) {
			if infos, err := r.Recipients(); err == nil {
				for _, info := range infos {
					_ = info.String()
				}
			}
			return r.Decrypt(ids, &DecryptOptions{Allow: oldMail})
		})
	})
}

// FuzzAuthEnveloped: whatever opens is what was sealed.
func FuzzAuthEnveloped(f *testing.F) {
	content := []byte("what was sealed")
	kek := &KEK{ID: []byte("id"), Key: bytes.Repeat([]byte{7}, 32)}
	for _, c := range []Cipher{AES128GCM, AES256GCM, ChaCha20Poly1305Encryption} {
		f.Add(encrypt(f, content, &EncryptOptions{Cipher: c}, kek))
		f.Add(encrypt(f, content, &EncryptOptions{Cipher: c, Authenticated: Attributes{{Type: "1.2.4", Values: [][]byte{{4, 1, 'a'}}}}}, kek))
	}
	addSeeds(f, "openssl/*authenveloped*.pem", "openssl/encData*.pem")
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := fuzzReader(t, in, func(r *Reader) (io.ReadCloser, error) { return r.Decrypt([]Identity{kek}, nil) })
		if err == nil && !bytes.Equal(got, content) || err != nil && len(got) > 0 {
			t.Fatalf("%q was released: %v", got, err)
		}
	})
}

// FuzzAuthenticated: whatever verifies is what was authenticated.
func FuzzAuthenticated(f *testing.F) {
	content := []byte("what was authenticated")
	kek := &KEK{ID: []byte("id"), Key: bytes.Repeat([]byte{7}, 32)}
	var out bytes.Buffer
	w, err := Authenticate(&out, []Recipient{kek}, nil)
	write(f, w, err, content)
	f.Add(out.Bytes())
	addSeeds(f, "openssl/authenticated_attrs.pem")
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := fuzzReader(t, in, func(r *Reader) (io.ReadCloser, error) { return r.VerifyMAC([]Identity{kek}) })
		if err == nil && !bytes.Equal(got, content) {
			t.Fatalf("a good verdict over %q", got)
		}
	})
}

// FuzzPlain reads the types that need no key.
func FuzzPlain(f *testing.F) {
	for _, open := range []func(io.Writer) (io.WriteCloser, error){
		func(w io.Writer) (io.WriteCloser, error) { return Compress(w, "") },
		func(w io.Writer) (io.WriteCloser, error) { return Digest(w, 0, "") },
		func(w io.Writer) (io.WriteCloser, error) { return EncryptWithKey(w, make([]byte, 32), nil) },
	} {
		var out bytes.Buffer
		w, err := open(&out)
		write(f, w, err, []byte("content"))
		f.Add(out.Bytes())
	}
	addSeeds(f, "rfc4134/[367].*.bin", "openssl/encryptedData.der")
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, read := range []func(*Reader) (io.ReadCloser, error){
			func(r *Reader) (io.ReadCloser, error) { return r.Data() },
			func(r *Reader) (io.ReadCloser, error) { return r.VerifyDigest(nil, oldMail) },
			func(r *Reader) (io.ReadCloser, error) { return r.Decompress() },
			func(r *Reader) (io.ReadCloser, error) {
				return r.DecryptWithKey(make([]byte, 32), &DecryptOptions{Allow: oldMail})
			},
		} {
			if got, err := fuzzReader(t, in, read); len(got) > 1<<20 {
				t.Fatalf("%d octets from %d: %v", len(got), len(in), err)
			}
		}
	})
}
