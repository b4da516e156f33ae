package cms

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
)

// authCiphers are those with authentication.
func authCiphers() []Cipher {
	var out []Cipher
	for _, c := range allCiphers {
		if c.AEAD() {
			out = append(out, c)
		}
	}
	return out
}

// TestAgain: with chunks of any size, a message that can be read twice comes back
// the same, held by its caller or not, with attributes or without; and no octet
// that was changed is taken.
func TestAgain(t *testing.T) {
	defer goleak.VerifyNone(t)
	size := chunkSize
	defer func() { chunkSize = size }()
	rng := rand.New(rand.NewPCG(8, 3))
	p := person(t, testpki.P256)
	id := []Identity{NewIdentity(p.Cert, p.Key)}
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		chunkSize = 64 * (1 + rng.IntN(1200))
		content := testContent(rng.IntN(400_000))
		o := &EncryptOptions{Cipher: authCiphers()[i%len(authCiphers())]}
		if i%3 == 0 {
			o.Authenticated = Attributes{{Type: "1.2.3.4", Values: [][]byte{{5, 0}}}, {Type: "1.2.3", Values: [][]byte{{5, 0}}}}
		}
		message := encrypt(t, content, o, NewRecipient(p.Cert))
		flipped := bytes.Clone(message)
		flipped[len(flipped)-1-rng.IntN(min(len(content)+16, len(flipped)/2))] ^= 1
		onCores(t, i%2 == 0, func() {
			for _, hold := range []bool{false, true} {
				var held bytes.Buffer
				shown := 0
				opts := func(src []byte) *DecryptOptions {
					opts := &DecryptOptions{Again: func() io.Reader { return bytes.NewReader(src) }}
					if hold {
						opts.HoldUnverified = func(contentType OID, start []byte) (io.Writer, error) {
							if contentType != TypeData || !bytes.HasPrefix(content, start) && &src[0] == &message[0] {
								t.Errorf("%s: it starts with %q", contentType, start)
							}
							shown++
							return &held, nil
						}
					}
					return opts
				}
				d, err := newReader(t, message).Decrypt(id, opts(message))
				if err != nil {
					t.Fatal(err)
				}
				got, err := drained(rng, d)
				if d.Written() {
					got = held.Bytes()
				}
				if err != nil || !bytes.Equal(got, content) || d.Written() && !hold || shown > 1 {
					t.Fatalf("%s in chunks of %d: %d octets of %d, %v", o.Cipher, chunkSize, len(got), len(content), err)
				}
				if lateAAD := o.Cipher != ChaCha20Poly1305Encryption || o.Authenticated == nil; hold && d.Written() != lateAAD {
					t.Errorf("%s: written is %v", o.Cipher, d.Written())
				}
				if err = d.Close(); err != nil {
					t.Error(err)
				}
				if d, err = newReader(t, flipped).Decrypt(id, opts(flipped)); err == nil {
					t.Errorf("%s: another octet was taken: written %v", o.Cipher, d.Written())
				}
			}
		})
	}
}

// TestAgainOther: of a message that is another one the second time nothing that
// differs is given, and the end is no io.EOF.
func TestAgainOther(t *testing.T) {
	p := person(t, testpki.P256)
	id := []Identity{NewIdentity(p.Cert, p.Key)}
	content := testContent(900_000)
	for _, cipher := range authCiphers() {
		message := encrypt(t, content, &EncryptOptions{Cipher: cipher}, NewRecipient(p.Cert))
		longer := encrypt(t, append(bytes.Clone(content), content...), &EncryptOptions{Cipher: cipher}, NewRecipient(p.Cert))
		flipped := bytes.Clone(message)
		flipped[len(flipped)/2] ^= 1
		for name, second := range map[string][]byte{"flipped": flipped, "longer": longer, "cut": message[:len(message)-300_000], "none": nil} {
			d, err := newReader(t, message).Decrypt(id, &DecryptOptions{Again: func() io.Reader { return bytes.NewReader(second) }})
			if name == "none" {
				if err == nil {
					t.Errorf("%s: there is no second message", cipher)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s, %s: %v", cipher, name, err)
			}
			got, err := io.ReadAll(d)
			if err == nil || !bytes.HasPrefix(content, got) || name == "flipped" && !errors.Is(err, ErrChanged) {
				t.Errorf("%s, %s: %d octets, %v", cipher, name, len(got), err)
			}
			if cerr := d.Close(); cerr == nil {
				t.Errorf("%s, %s: Close gave no error", cipher, name)
			}
		}
	}
}

// TestHoldUnverified: the caller's wish and the caller's errors count.
func TestHoldUnverified(t *testing.T) {
	p := person(t, testpki.P256)
	id := []Identity{NewIdentity(p.Cert, p.Key)}
	content := testContent(900_000)
	message := encrypt(t, content, &EncryptOptions{Cipher: AES256GCM}, NewRecipient(p.Cert))
	failure := errors.New("failure")
	for _, tc := range []struct {
		dst  io.Writer
		err  error
		want error
	}{{nil, nil, nil}, {nil, failure, failure}, {failingWriter{failure}, nil, failure}} {
		d, err := newReader(t, message).Decrypt(id, &DecryptOptions{
			Again:          func() io.Reader { return bytes.NewReader(message) },
			HoldUnverified: func(OID, []byte) (io.Writer, error) { return tc.dst, tc.err },
		})
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%v, want %v", err, tc.want)
		}
		if err != nil {
			continue
		}
		if got, rerr := readAll(d, nil); rerr != nil || !bytes.Equal(got, content) || d.Written() {
			t.Errorf("%d octets, %v", len(got), rerr)
		}
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }
