package smime

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/spool"
)

var combinations = []struct {
	name   string
	forms  []writerFunc
	types  string
	status Status
}{
	{"clear", []writerFunc{signed(nil)}, "multipart/signed", StatusSignedVerified},
	{"opaque", []writerFunc{signed(&SignOptions{Opaque: true})}, "signed-data", StatusSignedVerified},
	{"seven bit", []writerFunc{signed(&SignOptions{SevenBit: true})}, "multipart/signed", StatusSignedVerified},
	{"twice", []writerFunc{signed(nil), signed(nil)}, "multipart/signed multipart/signed", StatusSignedVerified},
	{"encrypted", []writerFunc{encrypted(nil)}, "authEnveloped-data", StatusUnknown},
	{"cbc", []writerFunc{encrypted(&EncryptOptions{Cipher: cms.AES128CBC})}, "enveloped-data", StatusUnknown},
	{"chacha", []writerFunc{encrypted(&EncryptOptions{Cipher: cms.ChaCha20Poly1305Encryption})}, "authEnveloped-data", StatusUnknown},
	{"compressed", []writerFunc{compressed}, "compressed-data", StatusUnknown},
	{"signed, encrypted", []writerFunc{signed(nil), encrypted(nil)}, "authEnveloped-data multipart/signed", StatusEncryptedSignedVerified},
	{"in one pass", []writerFunc{signedEncrypted(nil, false)}, "authEnveloped-data multipart/signed", StatusEncryptedSignedVerified},
	{"opaque in one pass", []writerFunc{signedEncrypted(&SignOptions{Opaque: true}, true)},
		"authEnveloped-data compressed-data signed-data", StatusEncryptedSignedVerified},
	{"compressed inside", []writerFunc{encrypted(&EncryptOptions{Compress: true})}, "authEnveloped-data compressed-data", StatusUnknown},
	{"encrypted, signed", []writerFunc{encrypted(nil), signed(nil)}, "multipart/signed authEnveloped-data", StatusUnknown},
	{"triple", []writerFunc{signed(nil), encrypted(nil), signed(&SignOptions{Opaque: true})},
		"signed-data authEnveloped-data multipart/signed", StatusEncryptedSignedVerified},
	{"compressed, signed", []writerFunc{compressed, signed(nil)}, "multipart/signed compressed-data", StatusSignedVerified},
	{"everything", []writerFunc{compressed, signed(nil), encrypted(nil), compressed, signed(nil), encrypted(nil)},
		"authEnveloped-data multipart/signed compressed-data authEnveloped-data multipart/signed compressed-data", StatusEncryptedSignedVerified},
}

func signedEncrypted(sign *SignOptions, compress bool) writerFunc {
	return func(w io.Writer) (io.WriteCloser, error) {
		return Encrypt(w, recipientsOf(people().bob), &EncryptOptions{
			Signers: []cms.Signer{signerOf(people().alice)}, Sign: sign, Compress: compress})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range combinations {
		for _, stored := range []string{"CRLF", "LF"} {
			t.Run(c.name+" "+stored, func(t *testing.T) {
				message := protect(t, simple, c.forms...)
				if strings.Contains(strings.ReplaceAll(message, "\r\n", ""), "\n") {
					t.Error("there are line ends other than CRLF")
				}
				if stored == "LF" {
					message = lf(message)
				}
				m := mustRead(t, message, readOptions())
				check(t, m, c.types, c.status)
				if stored == "CRLF" {
					var out strings.Builder
					if n, err := m.WriteTo(&out); err != nil || n != int64(out.Len()) || out.String() != simpleOuter+simpleContent {
						t.Errorf("WriteTo: %d, %v:\n%s", n, err, out.String())
					}
				}
				slow, err := Read(iotest.OneByteReader(strings.NewReader(message)), readOptions())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = slow.Close() }()
				check(t, slow, c.types, c.status)
			})
		}
	}
}

func check(t *testing.T, m *Message, types string, status Status) {
	t.Helper()
	if got := layerTypes(m); got != types {
		t.Errorf("layers: %s; want %s", got, types)
	}
	if m.Status != status {
		t.Errorf("status: %s; want %s", m.Status, status)
	}
	if m.Trusted != strings.HasSuffix(string(status), "verified") || m.Signed != m.Trusted {
		t.Errorf("signed: %v, trusted: %v", m.Signed, m.Trusted)
	}
	if m.Encrypted != strings.Contains(types, "nveloped") {
		t.Errorf("encrypted: %v", m.Encrypted)
	}
	for range 2 {
		if got := text(t, m.Content()); got != simpleContent {
			t.Errorf("content: %q", got)
		}
		if got := text(t, m.Body()); got != "Hello,\r\n\r\nthis is text.\r\n" {
			t.Errorf("body: %q", got)
		}
	}
	h := m.Header()
	if h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Subject") != "=?utf-8?q?a_long?= folded one" || h.Len() != 8 {
		t.Errorf("header: %v", h.Map())
	}
	outer := m.OuterHeader()
	if outer.Get("From") != "Alice <alice@example.test>" || outer.Get("Content-Type") == "" {
		t.Errorf("outer header: %v", outer.Map())
	}
}

// TestOneOctetAtATime writes in the smallest pieces.
func TestOneOctetAtATime(t *testing.T) {
	for _, c := range combinations {
		message := lf(simple)
		for _, form := range c.forms {
			var out strings.Builder
			w, err := form(&out)
			if err != nil {
				t.Fatal(err)
			}
			for i := range len(message) {
				if _, err = w.Write([]byte{message[i]}); err != nil {
					t.Fatal(err)
				}
			}
			if err = w.Close(); err != nil {
				t.Fatal(err)
			}
			message = out.String()
		}
		check(t, mustRead(t, message, readOptions()), c.types, c.status)
	}
}

func TestPlain(t *testing.T) {
	for _, message := range []string{simple, lf(simple), "", "\r\n", "\r\n\r\nFrom: x\r\n\r\nbody", "just octets\x00\xff", "A: b", "From x\r\nA: b\r\n\r\nc"} {
		m := mustRead(t, message, readOptions())
		want := strings.TrimPrefix(message, "From x\r\n")
		if len(m.Layers) != 0 || m.Status != StatusUnknown || m.Signed || m.Encrypted || m.Trusted {
			t.Errorf("%q: %+v", message, m)
		}
		if got := text(t, m.Content()); got != want {
			t.Errorf("%q: content %q", message, got)
		}
		var out strings.Builder
		if _, err := m.WriteTo(&out); err != nil || out.String() != want {
			t.Errorf("%q: WriteTo: %q, %v", message, out.String(), err)
		}
	}
}

func TestUsage(t *testing.T) {
	check := func(name string, err error) {
		t.Helper()
		if _, ok := errors.AsType[*cms.UsageError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Read(strings.NewReader(simple), nil)
	check("no options", err)
	_, err = Read(strings.NewReader(simple), &ReadOptions{})
	check("no trust", err)
	_, err = Sign(failing{}, nil, nil)
	check("no signers", err)
	_, err = Sign(failing{}, nil, &SignOptions{Opaque: true})
	check("no signers, opaque", err)
	_, err = Sign(failing{}, []cms.Signer{signerOf(people().alice)}, &SignOptions{Capabilities: []cms.Cipher{"rot13"}})
	check("capabilities", err)
	_, err = Encrypt(failing{}, nil, nil)
	check("no recipients", err)
	_, err = Encrypt(failing{}, recipientsOf(people().bob), &EncryptOptions{Cipher: "rot13"})
	check("cipher", err)
	_, err = Encrypt(failing{}, recipientsOf(people().bob), &EncryptOptions{Signers: []cms.Signer{{}}})
	check("empty signer", err)
	w, err := Sign(io.Discard, []cms.Signer{signerOf(people().alice)}, nil)
	if err != nil || w.Close() != nil || w.Close() != nil {
		t.Fatal("Close", err)
	}
	_, err = w.Write([]byte("x"))
	check("Write after Close", err)
}

// failing is a destination that must not be used, or that fails.
type failing struct{}

var errFailing = errors.New("no room")

func (failing) Write([]byte) (int, error) { return 0, errFailing }

// TestDestinationFails: the error of the destination comes out as it is, and
// again.
func TestDestinationFails(t *testing.T) {
	for _, c := range combinations {
		w, err := c.forms[len(c.forms)-1](failing{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(w, simple)
		if cerr := w.Close(); !errors.Is(cerr, errFailing) || (err != nil && !errors.Is(err, errFailing)) {
			t.Errorf("%s: %v, %v", c.name, err, cerr)
		}
		if cerr := w.Close(); !errors.Is(cerr, errFailing) {
			t.Errorf("%s: %v", c.name, cerr)
		}
	}
}

// TestSourceFails: an error of the source at any place comes out as it is.
func TestSourceFails(t *testing.T) {
	for _, c := range combinations {
		message := protect(t, simple, c.forms...)
		for cut := 0; cut < len(message); cut += 97 {
			src := io.MultiReader(strings.NewReader(message[:cut]), iotest.ErrReader(errFailing))
			m, err := Read(src, readOptions())
			if m != nil || err != errFailing {
				t.Errorf("%s at %d: %v", c.name, cut, err)
				_ = m.Close()
			}
		}
	}
}

// changingSource is a file that somebody changes after all of it was read once.
type changingSource struct {
	data []byte
	read int64 // the end of what was read
}

func (c *changingSource) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, c.data[min(off, int64(len(c.data))):])
	c.read = max(c.read, off+int64(n))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestReadAtChanged: what is changed after the verdict is not given.
func TestReadAtChanged(t *testing.T) {
	message := protect(t, simple+strings.Repeat("a line of many\r\n", 40_000), signed(nil))
	at := strings.Index(message, "a line of many")
	src := &changingSource{data: []byte(message)}
	m, err := ReadAt(src, int64(len(message)), readOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if src.read != int64(len(message)) {
		t.Errorf("%d octets of %d were read", src.read, len(message))
	}
	before := text(t, m.Content())
	src.data[at] ^= 1
	if got, rerr := io.ReadAll(m.Content()); !errors.Is(rerr, spool.ErrChanged) || !strings.HasPrefix(before, string(got)) {
		t.Errorf("%d octets and %v of content that was changed", len(got), rerr)
	}
}

func TestReadAtFails(t *testing.T) {
	if _, err := ReadAt(strings.NewReader(simple), 10, nil); !errors.As(err, new(*cms.UsageError)) {
		t.Error(err)
	}
	if _, err := ReadAt(strings.NewReader(simple), -1, readOptions()); !errors.As(err, new(*cms.UsageError)) {
		t.Error(err)
	}
	for _, c := range combinations {
		message := protect(t, simple, c.forms...)
		if m, err := ReadAt(strings.NewReader(message), int64(len(message))+1, readOptions()); m != nil || err != io.ErrUnexpectedEOF {
			t.Errorf("%s: a source that is too short: %v", c.name, err)
			_ = m.Close()
		}
	}
}
