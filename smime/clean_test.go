package smime

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postseal/postseal/internal/mimeraw"
)

// contentOf returns what becomes of a message inside of a form.
func contentOf(t *testing.T, message string, form writerFunc) string {
	t.Helper()
	o := readOptions()
	o.NoSenderCheck = true
	m := mustRead(t, protect(t, message, form), o)
	if strings.Contains(strings.ReplaceAll(text(t, m.Content()), "\r\n", ""), "\n") && !strings.Contains(message, "BINARY") {
		t.Errorf("%q: line ends other than CRLF", message)
	}
	return text(t, m.Content())
}

var long = strings.Repeat("0123456789", 100)

// TestContentForSigning: what is safe passes, what is not is encoded.
func TestContentForSigning(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"no header", "\nbody\n", "Content-Type: text/plain; charset=us-ascii\n\nbody\n"},
		{"nothing", "", "Content-Type: text/plain; charset=us-ascii\n\n"},
		{"no content type", "From: a@b\n\nbody\n", "Content-Type: text/plain; charset=us-ascii\n\nbody\n"},
		{"header alone", "From: a@b\n", "Content-Type: text/plain; charset=us-ascii\n\n"},
		{"no line end", "Content-Type: text/plain\n\nbody", "Content-Type: text/plain\n\nbody"},
		{"no blank line", "From: a@b\nthis is no field\n", "Content-Type: text/plain; charset=us-ascii\n\nthis is no field\n"},
		{"utf-8", "From: a@b\n\nä\n", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A4\n"},
		{"latin-1", "From: a@b\n\n\xe4\n", "Content-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n"},
		{"utf-8 cut off", "From: a@b\n\n\xe2\x82", "Content-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E2=82"},
		{"8bit", "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\nContent-ID: <1>\n\nä=\n",
			"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nContent-ID: <1>\n\n=C3=A4=3D\n"},
		{"undeclared 8bit", "Content-Type: text/plain; charset=utf-8\n\nä\n",
			"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A4\n"},
		{"trailing blank", "Content-Type: text/plain\n\na \nb\t\n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=20\nb=09\n"},
		{"From line", "Content-Type: text/plain\n\nFrom here\n From here\n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=46rom here\n From here\n"},
		{"NUL and CR", "Content-Type: text/plain\n\na\x00b\rc\n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=00b=0Dc\n"},
		{"octets", "Content-Type: application/x; name=x\n\na \nb\n",
			"Content-Type: application/x; name=x\nContent-Transfer-Encoding: base64\n\nYSANCmINCg==\n"},
		{"quoted-printable", "Content-Type: text/plain\nContent-Transfer-Encoding: Quoted-Printable (a comment)\n\na=20\n=46rom\nx=\ny\n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: Quoted-Printable (a comment)\n\na=20\n=46rom\nx=\ny\n"},
		{"quoted-printable, not safe", "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nFrom a \nä=3D\x00\nFro \nFrom",
			"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=46rom a\n=C3=A4=3D=00\nFro\nFrom"},
		{"base64, not safe", "Content-Type: image/x\nContent-Transfer-Encoding: base64\n\nYQ==  \n\xffYg==\n",
			"Content-Type: image/x\nContent-Transfer-Encoding: base64\n\nYQ==\nYg==\n"},
		{"unknown encoding", "Content-Type: text/plain\nContent-Transfer-Encoding: x-own\n\na \n",
			"Content-Type: text/plain\nContent-Transfer-Encoding: x-own\n\na \n"},
		{"message", "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nFrom: x\n\nä \n",
			"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nFrom: x\n\nä \n"},
		{"signed already", "Content-Type: multipart/signed; boundary=a\n\nä \n--a\n\nFrom ä \n--a--\n",
			"Content-Type: multipart/signed; boundary=a\n\nä \n--a\n\nFrom ä \n--a--\n"},
		{"no boundary", "Content-Type: multipart/mixed\n\n--a\n\nb \n--a--\n", "Content-Type: multipart/mixed\n\n--a\n\nb \n--a--\n"},
		{"encrypted already", "Content-Type: multipart/encrypted; boundary=a\n\nb \n", "Content-Type: multipart/encrypted; boundary=a\n\nb \n"},
	} {
		if got := contentOf(t, c.message, signed(nil)); got != wire2(c.want) {
			t.Errorf("%s:\n%q; want\n%q", c.name, got, wire2(c.want))
		}
		if got := contentOf(t, wire2(c.message), signed(&SignOptions{Opaque: true})); got != wire2(c.want) {
			t.Errorf("%s, opaque:\n%q; want\n%q", c.name, got, wire2(c.want))
		}
	}
}

// wire2 turns each LF into CRLF.
func wire2(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const mixed = `Content-Type: multipart/mixed; boundary="a"
Content-Transfer-Encoding: 8bit

preamble
--a
Content-Type: multipart/alternative; boundary="a-b"

--a-b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

grün
--a-b
Content-Type: text/html

<p>fine</p>

--a-b--
--a
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQF
--a  
--a
X-No-Body: 1
--a

From you
--a
Content-Type: multipart/digest; boundary=c

--c

From: x

  unchanged  
--c--
epilogue of c
--a
no header

--aa
--a
Content-Type: multipart/signed; boundary=s

--s
trailing 
--s--
--a--
epilogue
`

const mixedClean = `Content-Type: multipart/mixed; boundary="a"
Content-Transfer-Encoding: 7bit

preamble
--a
Content-Type: multipart/alternative; boundary="a-b"

--a-b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

gr=C3=BCn
--a-b
Content-Type: text/html

<p>fine</p>

--a-b--
--a
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQF
--a
--a
X-No-Body: 1
--a
Content-Transfer-Encoding: quoted-printable

=46rom you
--a
Content-Type: multipart/digest; boundary=c

--c

From: x

  unchanged  
--c--
epilogue of c
--a
no header

--aa
--a
Content-Type: multipart/signed; boundary=s

--s
trailing 
--s--
--a--
epilogue
`

func TestMultipart(t *testing.T) {
	message := "From: a@b\n" + mixed
	for _, stored := range []string{message, wire2(message)} {
		if got := contentOf(t, stored, signed(nil)); got != wire2(mixedClean) {
			t.Errorf("%s", got)
		}
		// Clean content does not change any more.
		if got := contentOf(t, mixedClean, signed(nil)); got != wire2(mixedClean) {
			t.Errorf("%s", got)
		}
		// Without a signature only the line ends change.
		if got := contentOf(t, stored, encrypted(nil)); got != wire2(mixed) {
			t.Errorf("%s", got)
		}
		if got := contentOf(t, stored, signed(&SignOptions{SevenBit: true})); got != wire2(mixed) {
			t.Errorf("%s", got)
		}
	}
}

// TestPieces: how a message is cut does not matter.
func TestPieces(t *testing.T) {
	fields := &mimeraw.Header{Fields: []mimeraw.Field{{Raw: []byte("Content-Type: multipart/mixed; boundary=\"a\"\r\n")}, {Raw: []byte("Content-Transfer-Encoding: 8bit\r\n")}}}
	_, body, _ := strings.Cut(mixed, "\n\n")
	for size := 1; size < len(body); size++ {
		var out bytes.Buffer
		c := newCleaner(&out, fields, cleanOptions{encode: true})
		if _, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{strings.NewReader(body)}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil || out.String() != wire2(mixedClean) {
			t.Fatalf("%d: %v\n%s", size, err, out.String())
		}
	}
}

// TestBinary: binary parts pass exactly where they can, and are base64 in a
// multipart/signed.
func TestBinary(t *testing.T) {
	const octets = "\x00\n\r\n\r\xff--a \n"
	message := "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: image/x\nContent-Transfer-Encoding: BINARY\n\n" + octets + "\n--a--\n"
	want := wire2("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: image/x\nContent-Transfer-Encoding: BINARY\n\n") + octets + "\r\n--a--\r\n"
	for _, form := range []writerFunc{encrypted(nil), signed(&SignOptions{Opaque: true}), signedEncrypted(&SignOptions{Opaque: true}, true), compressed} {
		if got := contentOf(t, message, form); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	got := contentOf(t, message, signed(nil))
	_, body, _ := strings.Cut(got, "base64\r\n\r\n")
	decoded := text(t, mimeraw.NewBase64Reader(strings.NewReader(body)))
	if decoded != octets {
		t.Errorf("%q: %q", got, decoded)
	}
}

// TestLongLines are broken where nothing is said about the encoding, and kept
// where no signature depends on them.
func TestLongLines(t *testing.T) {
	message := "Content-Type: text/plain\r\n\r\n" + long + "\r\n"
	got := contentOf(t, message, signed(nil))
	_, body, _ := strings.Cut(got, "quoted-printable\r\n\r\n")
	if decoded := text(t, mimeraw.NewQuotedPrintableReader(strings.NewReader(body))); decoded != long+"\r\n" {
		t.Errorf("%q", got)
	}
	if got = contentOf(t, message, encrypted(nil)); got != message {
		t.Errorf("%q", got)
	}
	// An encoded text with long lines still decodes to the same.
	for _, encoding := range []string{"quoted-printable", "base64"} {
		body = strings.Repeat("QUJD", 1000)
		got = contentOf(t, "Content-Type: text/plain\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"+body+"\r\n", signed(nil))
		_, repaired, _ := strings.Cut(got, "\r\n\r\n")
		for line := range strings.SplitSeq(repaired, "\r\n") {
			if len(line) > 998 {
				t.Errorf("%s: a line of %d octets", encoding, len(line))
			}
		}
		var scan mimeraw.Scan
		_, _ = io.WriteString(&scan, got)
		decoded := strings.ReplaceAll(repaired, "=\r\n", "")
		if encoding == "base64" {
			decoded = strings.ReplaceAll(repaired, "\r\n", "") + "\r\n"
		}
		if scan.LongLine() || decoded != body+"\r\n" {
			t.Errorf("%s: %q", encoding, got)
		}
	}
}

// TestLargeLeaf is about bodies that do not fit into memory that was given.
func TestLargeLeaf(t *testing.T) {
	for _, tail := range []string{"", " \r\n", "ä\r\n"} {
		body := strings.Repeat("A line of text that is repeated.\r\n", 10000) + tail
		got := contentOf(t, "Content-Type: text/plain\r\n\r\n"+body, signed(&SignOptions{SpoolMemory: 1000, SpoolDir: t.TempDir()}))
		head, rest, _ := strings.Cut(got, "\r\n\r\n")
		if strings.Contains(head, "quoted-printable") {
			rest = text(t, mimeraw.NewQuotedPrintableReader(strings.NewReader(rest)))
		} else if tail != "" {
			t.Errorf("%q passed", tail)
		}
		if rest != body {
			t.Errorf("%q: the body has changed", tail)
		}
	}
}

func TestUTF8Scan(t *testing.T) {
	for _, c := range []struct {
		s  string
		ok bool
	}{{"", true}, {"a", true}, {"äöü€😀", true}, {"\xe2\x82", false}, {"\xff", false}, {"a\xe2\x82b", false}, {"\xed\xa0\x80", false}, {"😀\xf0\x9f", false}} {
		for size := 1; size < 6; size++ {
			var u utf8Scan
			for rest := c.s; rest != ""; {
				n := min(size, len(rest))
				u.write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if u.ok() != c.ok {
				t.Errorf("%q in pieces of %d: %v", c.s, size, u.ok())
			}
		}
	}
}

// TestHeaderOutside: the fields stay octet by octet, but for those of the body.
func TestHeaderOutside(t *testing.T) {
	message := "X-First:  two  blanks \r\nSubject : old\r\n form\r\nCONTENT-type: text/plain\r\nmime-version: 1.0 (x)\r\nMIME-Version: 1.0\r\n" +
		"Bcc: x@example.test\r\ncontent-Language: de\r\nX-\xe4: \xe4\r\n\r\nbody\r\n"
	want := "X-First:  two  blanks \r\nSubject : old\r\n form\r\nmime-version: 1.0 (x)\r\nBcc: x@example.test\r\nX-\xe4: \xe4\r\nContent-Type: "
	for _, form := range []writerFunc{signed(nil), encrypted(nil), compressed} {
		got := protect(t, message, form)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q", got)
		}
		if got = contentOf(t, message, form); got != "CONTENT-type: text/plain\r\ncontent-Language: de\r\n\r\nbody\r\n" {
			t.Errorf("%q", got)
		}
	}
	got := protect(t, "Content-Type: text/plain\r\n\r\nx", encrypted(nil))
	if !strings.HasPrefix(got, "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=authEnveloped-data;\r\n name=\"smime.p7m\"\r\n"+
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\nM") {
		t.Errorf("%q", got)
	}
}

// TestHeaderTooLong: a header without end is no reason to run out of memory.
func TestHeaderTooLong(t *testing.T) {
	for _, in := range []string{"X: ", "X: 1\r\nY: 1\r\n"} {
		w, err := signed(nil)(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(w, io.LimitReader(repeating(in), 4<<20))
		if !isLimit(err) || !isLimit(w.Close()) {
			t.Errorf("%v", err)
		}
	}
	w, err := signed(nil)(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n")
	if err == nil {
		_, err = io.Copy(w, iotest.HalfReader(io.LimitReader(repeating("X: 1\r\n"), 4<<20)))
	}
	if !isLimit(err) || !isLimit(w.Close()) {
		t.Errorf("%v", err)
	}
}
