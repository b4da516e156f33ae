package cms

import (
	"bytes"
	"io"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// A mangled message is one whose verdict is good as it stands.
type mangled struct {
	name    string
	message []byte
	content []byte
	read    func(src io.Reader) ([]byte, error)
}

// twenty returns the messages that are mangled: eight of RFC 4134, one of
// OpenSSL and eleven of ours, of every kind that has a verdict.
func twenty(t *testing.T) []mangled {
	t.Helper()
	var out []mangled
	old := openRFC4134(t)
	for _, name := range []string{"4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.10"} {
		var detached []byte
		if name == "4.3" {
			detached = old.content
		}
		out = append(out, mangled{"RFC 4134, " + name, readFile(t, old.dir, name+".bin"), nil, verifyPinned(old.certs, old.certs, detached)})
	}
	kek := &KEK{ID: []byte{0xc0, 0xfe, 0xe0}, Key: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	opens := func(src io.Reader) ([]byte, error) {
		r, err := NewReader(src, nil)
		if err != nil {
			return nil, err
		}
		if r.ContentType() == TypeAuthenticatedData {
			return readAll(r.VerifyMAC([]Identity{kek}))
		}
		return readAll(r.Decrypt([]Identity{kek}, nil))
	}
	out = append(out, mangled{"OpenSSL, authenveloped_attrs", readFile(t, vectorDir(t, "openssl"), "authenveloped_attrs.pem"), nil, opens})
	content := []byte("what was signed")
	add := func(name string, detached []byte, opts *SignOptions, signers ...Signer) {
		m := mangled{name: name, content: content}
		var certs []*pki.Certificate
		for _, s := range signers {
			certs = append(certs, s.Certificate)
		}
		m.read = verifyPinned(certs, nil, detached)
		if detached == nil {
			m.message = sign(t, content, opts, signers...)
		} else {
			d, err := NewDetachedSigner(signers, opts)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = d.Write(detached)
			var b bytes.Buffer
			if err = d.Finish(&b); err != nil {
				t.Fatal(err)
			}
			m.message = b.Bytes()
		}
		out = append(out, m)
	}
	rsa, pss, p256, ed := signer(t, testpki.RSA2048), signer(t, testpki.RSAPSS2048), signer(t, testpki.P256), signer(t, testpki.Ed25519)
	bare, counter := rsa, p256
	bare.NoAttributes = true
	counter.Countersigners = []Signer{ed}
	add("RSA", nil, nil, rsa)
	add("RSA-PSS", nil, nil, pss)
	add("ECDSA, detached", content, nil, p256)
	add("Ed25519", nil, nil, ed)
	add("without attributes", nil, nil, bare)
	add("two signers", nil, nil, p256, ed)
	add("countersigned", nil, nil, counter)
	add("another content type", nil, &SignOptions{ContentType: TypeEnvelopedData}, ed)
	for _, c := range []Cipher{AES128GCM, ChaCha20Poly1305Encryption} {
		out = append(out, mangled{string(c), encrypt(t, content, &EncryptOptions{Cipher: c}, kek), content, opens})
	}
	var b bytes.Buffer
	w, err := Authenticate(&b, []Recipient{kek}, nil)
	write(t, w, err, content)
	return append(out, mangled{"authenticated", b.Bytes(), content, opens})
}

// verifyPinned verifies with nobody trusted but the holders of given
// certificates, as they are. more are at hand beside those in the message.
func verifyPinned(certs, more []*pki.Certificate, detached []byte) func(io.Reader) ([]byte, error) {
	trust := TrustFunc(func(req *TrustRequest) error {
		for _, c := range certs {
			if bytes.Equal(c.Raw, req.Certificate.Raw) {
				return nil
			}
		}
		return io.ErrUnexpectedEOF
	})
	return func(src io.Reader) ([]byte, error) {
		r, err := NewReader(src, nil)
		if err != nil {
			return nil, err
		}
		opts := &VerifyOptions{Trust: trust, Allow: oldMail, Certificates: more}
		if detached != nil {
			opts.Content = bytes.NewReader(detached)
		}
		return readAll(r.Verify(opts))
	}
}

// TestMangled cuts twenty messages at every octet and flips each of their bits.
// A message that is cut never has a good verdict. One with a flipped bit has
// one only where the bit is of no part that is protected (versions, tags of
// absent parameters, certificates that are not the signer's, unsigned
// attributes), and then content and signer are the same.
func TestMangled(t *testing.T) {
	messages := twenty(t)
	if len(messages) != 20 {
		t.Fatalf("there are %d messages", len(messages))
	}
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			want, err := m.read(bytes.NewReader(m.message))
			if err != nil || (m.content != nil && !bytes.Equal(want, m.content)) {
				t.Fatalf("as it stands: %q, %v", want, err)
			}
			for cut := range m.message {
				if got, err := m.read(bytes.NewReader(m.message[:cut])); err == nil {
					t.Fatalf("cut at %d: good, with %q", cut, got)
				}
			}
			harmless := 0
			bad := bytes.Clone(m.message)
			for bit := 0; bit < len(bad)*8; bit += flipStep {
				bad[bit/8] ^= 1 << (bit % 8)
				got, err := m.read(bytes.NewReader(bad))
				if err == nil {
					harmless++
					if !bytes.Equal(got, want) {
						t.Fatalf("bit %d: a good verdict over %q", bit, got)
					}
				}
				bad[bit/8] ^= 1 << (bit % 8)
			}
			t.Logf("%d octets, %d of %d flips touch nothing that is protected", len(bad), harmless, len(bad)*8/flipStep)
		})
	}
}
