package cms

import (
	"bytes"
	"crypto"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
)

// pieces writes content in parts of random sizes.
func pieces(rng *rand.Rand, w io.Writer, content []byte) error {
	most := 1 + rng.IntN(100_000)
	for len(content) > 0 {
		n := min(len(content), 1+rng.IntN(most))
		if _, err := w.Write(content[:n]); err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
}

// drained reads in parts of random sizes.
func drained(rng *rand.Rand, r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	buf := make([]byte, 1+rng.IntN(100_000))
	for {
		n, err := r.Read(buf[:1+rng.IntN(len(buf))])
		out.Write(buf[:n])
		if err == io.EOF {
			return out.Bytes(), nil
		}
		if err != nil {
			return out.Bytes(), err
		}
	}
}

// onCores runs f with work beside it, or without.
func onCores(t *testing.T, parallel bool, f func()) {
	t.Helper()
	n := 1
	if parallel {
		n = 4
	}
	before := runtime.GOMAXPROCS(n)
	defer runtime.GOMAXPROCS(before)
	f()
}

// TestStages: with chunks of any size, content becomes the same and comes back
// the same, whether work is done beside the caller or by it.
func TestStages(t *testing.T) {
	defer goleak.VerifyNone(t)
	size := chunkSize
	defer func() { chunkSize = size }()
	rng := rand.New(rand.NewPCG(2, 6))
	p := person(t, testpki.P256)
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		chunkSize = 64 * (1 + rng.IntN(1200))
		content := testContent(headSize + rng.IntN(500_000))
		for _, parallel := range []bool{false, true} {
			var message, signature bytes.Buffer
			cipher := allCiphers[i%len(allCiphers)]
			onCores(t, parallel, func() {
				w, err := Encrypt(&message, []Recipient{NewRecipient(p.Cert)}, &EncryptOptions{Cipher: cipher})
				if err == nil {
					err = pieces(rng, w, content)
				}
				if err == nil {
					err = w.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				d, err := NewDetachedSigner([]Signer{NewSigner(p.Cert, p.Key.(crypto.Signer))}, nil)
				if err == nil {
					err = pieces(rng, d, content)
				}
				if err == nil {
					err = d.Finish(&signature)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			onCores(t, !parallel, func() { checkStages(t, rng, p, message.Bytes(), signature.Bytes(), content) })
		}
	}
}

func checkStages(t *testing.T, rng *rand.Rand, p *testpki.Person, message, signature, content []byte) {
	t.Helper()
	id := []Identity{NewIdentity(p.Cert, p.Key)}
	d, err := newReader(t, message).Decrypt(id, &DecryptOptions{SpoolMemory: 1 + rng.IntN(300_000), SpoolDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := drained(rng, d)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%s in chunks of %d: %d octets of %d came back: %v", d.Cipher(), chunkSize, len(got), len(content), err)
	}
	if err = d.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := newReader(t, signature).Verify(&VerifyOptions{Trust: InsecureTrustAnySigner, Content: bytes.NewReader(content)})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatalf("in chunks of %d: %v", chunkSize, err)
	}
	// One octet that was changed is never taken.
	at := rng.IntN(len(content))
	content[at] ^= 1
	s, err = newReader(t, signature).Verify(&VerifyOptions{Trust: InsecureTrustAnySigner, Content: bytes.NewReader(content)})
	if err == nil {
		err = s.Close()
	}
	content[at] ^= 1
	if ve, ok := err.(*VerifyError); !ok || ve.Reason != ReasonDigest {
		t.Errorf("content with another octet %d: %v", at, err)
	}
}

// TestStagesCut: wherever an encrypted message ends too early, none of it is taken
// for whole, and nothing runs on.
func TestStagesCut(t *testing.T) {
	defer goleak.VerifyNone(t)
	size := chunkSize
	defer func() { chunkSize = size }()
	rng := rand.New(rand.NewPCG(2, 7))
	p := person(t, testpki.P256)
	chunkSize = 4096
	for _, cipher := range []Cipher{AES256CBC, AES256GCM} {
		content := testContent(200_000)
		message := encrypt(t, content, &EncryptOptions{Cipher: cipher}, NewRecipient(p.Cert))
		for range 40 {
			cut := message[:rng.IntN(len(message))]
			r, err := NewReader(bytes.NewReader(cut), nil)
			if err != nil {
				continue
			}
			d, err := r.Decrypt([]Identity{NewIdentity(p.Cert, p.Key)}, nil)
			if err != nil {
				continue
			}
			got, err := drained(rng, d)
			if err == nil || !bytes.HasPrefix(content, got) || d.Authenticated() && len(got) > 0 {
				t.Fatalf("%s cut to %d of %d: %d octets, %v", cipher, len(cut), len(message), len(got), err)
			}
			if cerr := d.Close(); cerr == nil {
				t.Error("Close gave no error")
			}
		}
	}
}

// TestHeld: authenticated content can be read from any place, by several at once.
func TestHeld(t *testing.T) {
	p := person(t, testpki.P256)
	content := testContent(300_000)
	id := []Identity{NewIdentity(p.Cert, p.Key)}
	for _, cipher := range allCiphers {
		message := encrypt(t, content, &EncryptOptions{Cipher: cipher}, NewRecipient(p.Cert))
		d, err := newReader(t, message).Decrypt(id, &DecryptOptions{SpoolMemory: 100_000, SpoolDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		at, n := d.Held()
		if (at != nil) != cipher.AEAD() {
			t.Errorf("%s: held is %v", cipher, at != nil)
		}
		done := make(chan error, 3)
		for i := range cap(done) {
			go func() {
				if at == nil {
					done <- nil
					return
				}
				off := int64(i * 77_777)
				got, rerr := io.ReadAll(io.NewSectionReader(at, off, n-off))
				if rerr == nil && !bytes.Equal(got, content[off:]) {
					rerr = io.ErrUnexpectedEOF
				}
				done <- rerr
			}()
		}
		for range cap(done) {
			if err = <-done; err != nil {
				t.Errorf("%s: %v", cipher, err)
			}
		}
		if err = d.Close(); err != nil {
			t.Error(err)
		}
		if at != nil {
			if _, err = at.ReadAt(make([]byte, 1), 0); err == nil {
				t.Errorf("%s: read after Close", cipher)
			}
		}
	}
}
