package smime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/pki"
)

// derOf returns the DER in an opaque message.
func derOf(t *testing.T, message string) []byte {
	t.Helper()
	_, body, _ := strings.Cut(message, "\r\n\r\n")
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\r\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestSpellings opens what gateways, stores and old programs make of a message.
func TestSpellings(t *testing.T) {
	der := derOf(t, protect(t, "From: alice@example.test\r\n"+simpleContent, signedEncrypted(&SignOptions{Opaque: true}, false)))
	b64 := base64.StdEncoding.EncodeToString(der)
	var wrapped, quoted strings.Builder
	w := mimeraw.NewBase64Writer(&wrapped)
	_, _ = w.Write(der)
	_ = w.Close()
	w = mimeraw.NewQuotedPrintableWriter(&quoted)
	_, _ = w.Write(der)
	_ = w.Close()
	pem := "-----BEGIN CMS-----\n" + wrapped.String() + "-----END CMS-----\n"
	const from, plain = "From: alice@example.test\n", "Content-Type: application/pkcs7-mime\n"
	const enc = "Content-Transfer-Encoding: "
	for i, message := range []string{
		from + plain + enc + "base64\n\n" + b64,
		from + plain + enc + "base64\n\n" + wrapped.String(),
		from + plain + enc + "BASE64 (yes)\n\n\n\n  " + wrapped.String() + "\n\n-- \nfooter of a list\n",
		from + plain + enc + "base64\n\n" + strings.ReplaceAll(wrapped.String(), "\r\n", " \r\n"),
		from + plain + enc + "base64\n\n" + strings.TrimRight(wrapped.String(), "=\r\n"),
		from + plain + "\n" + wrapped.String(),
		from + plain + enc + "7bit\n\n" + wrapped.String(),
		from + plain + enc + "binary\n\n" + string(der),
		from + plain + enc + "base64\n\n" + string(der),
		from + plain + "\n" + string(der),
		from + plain + enc + "quoted-printable\n\n" + quoted.String(),
		from + plain + enc + "7bit\n\n" + pem,
		from + plain + enc + "base64\n\n" + pem,
		from + plain + enc + "base64\n\n" + base64.StdEncoding.EncodeToString([]byte(pem)),
		from + plain + enc + "x-unknown\n\n" + wrapped.String(),
		from + "Content-Type: application/x-pkcs7-mime; smime-type=signed-data\n\n" + b64,
		from + "content-type:APPLICATION/PKCS7-MIME;smime-type=certs-only;\n\n" + b64,
		from + "Content-Type: application/octet-stream; name=SMIME.P7M\n\n" + b64,
		from + "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"a b.p7m\"\n\n" + b64,
		from + "Content-Type: application/x-thing\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.p7m\n\n" + b64,
		from + "Content-Disposition: attachment; filename=smime.p7m\n\n" + b64,
		from + "Content-Type: application; name=smime.p7m\n\n" + b64,
		from + "Content-Type: application/pkcs7-signature\n\n" + b64,
		"From alice@example.test Mon Jan  1 00:00:00 2024\n" + from + plain + "\n" + b64,
		"\xef\xbb\xbf" + from + plain + "\n" + b64,
		"\n\r\n" + from + plain + "\n" + b64,
		from + "MIME-Version: 1.0\nContent-Type: application/pkcs7-mime;\n\tname=smime.p7m\n" + plain + "\n" + b64,
	} {
		m, err := read(t, message, readOptions())
		if err != nil || m.Status != StatusEncryptedSignedVerified || text(t, m.Content()) != simpleContent {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, message := range []string{
		from + "Content-Type: text/plain; name=smime.p7m\n\n" + b64,
		from + "Content-Type: application/octet-stream; name=p7m\n\n" + b64,
		from + "Content-Type: application/octet-stream\n\n" + b64,
		from + "\n" + plain + "\n" + b64,
		"\n\n\nnot a field\n" + plain + "\n" + b64,
	} {
		m := mustRead(t, message, readOptions())
		if len(m.Layers) != 0 || text(t, m.Content()) != message {
			t.Errorf("%d: %s", i, layerTypes(m))
		}
	}
}

// TestClearSpellings does the same for multipart/signed.
func TestClearSpellings(t *testing.T) {
	message := protect(t, simple, signed(nil))
	for i, change := range [][2]string{
		{"application/pkcs7-signature", "application/x-pkcs7-signature"},
		{"protocol=\"application/pkcs7-signature\";\r\n ", ""},
		{"protocol=\"application/pkcs7-signature\"", "protocol=application/PKCS7-Signature"},
		{"protocol=\"application/pkcs7-signature\"", "protocol=\"application/pgp-signature\""},
		{"Content-Type: application/pkcs7-signature", "Content-Type: application/octet-stream"},
		{"Content-Type: application/pkcs7-signature", "Content-Type: application/pkcs7-mime"},
		{"This is an S/MIME signed message\r\n", ""},
		{"This is an S/MIME signed message\r\n", "--=_not the boundary\r\n\r\n"},
		{"multipart/signed; ", "Multipart/Signed (comment) ;"},
		{"--\r\n", "--\r\n\r\nepilogue\r\n"},
	} {
		changed := strings.ReplaceAll(message, change[0], change[1])
		if changed == message {
			t.Fatalf("%d changes nothing", i)
		}
		m, err := read(t, changed, readOptions())
		if err != nil || m.Status != StatusSignedVerified || text(t, m.Content()) != simpleContent {
			t.Errorf("%d: %v", i, err)
		}
	}
	open := message[:strings.LastIndex(message, "\r\n--=_")]
	m := mustRead(t, open, readOptions())
	if !problem[*StructureError](m.Layers[0].Warnings) || !m.Trusted {
		t.Errorf("not closed: %v", m.Layers[0].Warnings)
	}
}

// TestOtherProtocol: a multipart/signed that is not S/MIME is left alone.
func TestOtherProtocol(t *testing.T) {
	for _, message := range []string{
		"Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a\r\nContent-Type: application/pgp-signature\r\n\r\ny\r\n--a--\r\n",
		"Content-Type: multipart/signed; boundary=a\n\n--a\n\nx\n--a\nContent-Type: text/plain\n\ny\n--a--\n",
		"Content-Type: multipart/signed; boundary=a\n\n--a\n\nx\n--a--\n",
		"Content-Type: multipart/signed\n\nx\n",
	} {
		m := mustRead(t, "From: a@b\r\n"+message, readOptions())
		if len(m.Layers) != 0 || m.Status != StatusUnknown || text(t, m.Content()) != "From: a@b\r\n"+message || len(m.Problems) != 0 {
			t.Errorf("%q: %s %v", message, layerTypes(m), m.Problems)
		}
	}
}

func TestBrokenClear(t *testing.T) {
	message := protect(t, simple, signed(nil))
	at := strings.Index(message, "Content-Type: application/pkcs7-signature")
	boundary := message[strings.Index(message, "--=_"):]
	boundary = boundary[:strings.Index(boundary, "\r\n")]
	for name, changed := range map[string]string{
		"third part":     strings.Replace(message, boundary+"--", boundary+"\r\n\r\nanother\r\n"+boundary+"--", 1),
		"part between":   message[:at] + "\r\nanother\r\n" + boundary + "\r\n" + message[at:],
		"no signature":   message[:at-len(boundary)-2] + boundary + "--\r\n",
		"text":           message[:at] + "Content-Type: text/plain\r\n\r\nhello\r\n" + boundary + "--\r\n",
		"no parts":       message[:strings.Index(message, boundary)],
		"wrong boundary": strings.Replace(message, "boundary=\"", "boundary=\"x", 1),
		"no boundary":    strings.Replace(message, "boundary=\"", "x=\"", 1),
	} {
		m, err := read(t, changed, readOptions())
		se, ok := errors.AsType[*StructureError](err)
		if !ok || m.Status != StatusSignedFailed || m.Signed || m.Layers[0].Err != error(se) {
			t.Errorf("%s: %v, %s", name, err, m.Status)
		}
		if strings.HasPrefix(name, "no parts") || strings.Contains(name, "boundary") {
			if !strings.HasPrefix(text(t, m.Content()), "Return-Path") {
				t.Errorf("%s: %q", name, text(t, m.Content()))
			}
		} else if text(t, m.Content()) != simpleContent {
			t.Errorf("%s: %q", name, text(t, m.Content()))
		}
	}
	// Garbage under the name of a signature.
	m, err := read(t, message[:at]+"Content-Type: application/pkcs7-signature\r\n\r\nhello\r\n"+boundary+"--\r\n", readOptions())
	if _, ok := errors.AsType[*cms.SyntaxError](err); !ok || m.Status != StatusSignedFailed || text(t, m.Content()) != simpleContent {
		t.Errorf("garbage: %v", err)
	}
	// An attached signature says nothing of the first part.
	attached := derOf(t, protect(t, simple, signed(&SignOptions{Opaque: true})))
	m, err = read(t, message[:at]+"Content-Type: application/pkcs7-signature\r\n\r\n"+base64.StdEncoding.EncodeToString(attached)+"\r\n"+boundary+"--\r\n", readOptions())
	if reason(err) != cms.ReasonContent || m.Signed {
		t.Errorf("attached: %v", err)
	}
}

// TestClosedParts: protected parts beside others are not opened.
func TestClosedParts(t *testing.T) {
	_, cipher, _ := strings.Cut(protect(t, simple, encrypted(nil)), "MIME-Version: 1.0\r\n")
	_, cipher, _ = strings.Cut(cipher, "\r\n") // Message-ID
	clear := protect(t, simpleContent, signed(nil))
	multi := func(kind string, parts ...string) string {
		b := fmt.Sprintf("b%d", len(strings.Join(parts, "")))
		return "Content-Type: multipart/" + kind + "; boundary=" + b + "\r\n\r\n--" + b + "\r\n" +
			strings.Join(parts, "\r\n--"+b+"\r\n") + "\r\n--" + b + "--\r\n"
	}
	const html = "Content-Type: text/html\r\n\r\n<img src=\"http://mallet.test/\r\n"
	for _, tc := range []struct {
		name, content, paths string
	}{
		{"EFAIL", multi("mixed", html, cipher, html), "2"},
		{"alone", multi("mixed", cipher), "1"},
		{"deep", multi("mixed", html, multi("alternative", html, multi("related", cipher, clear))), "2.2.1 2.2.2"},
		{"forwarded", multi("mixed", html, "Content-Type: message/rfc822\r\n\r\nFrom: x\r\n"+cipher), "2.1"},
		{"digest", multi("digest", "\r\nFrom: x\r\n"+clear), "1.1"},
		{"root message", "Content-Type: message/rfc822\r\n\r\n" + clear, "1"},
		{"file", multi("mixed", html, "Content-Type: application/octet-stream; name=smime.p7m\r\n\r\nMIAG"), "2"},
		{"fine", multi("mixed", html, multi("alternative", html, html)), ""},
		{"other", multi("mixed", html, "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=p\r\n\r\n"), ""},
	} {
		for _, form := range []writerFunc{nil, signed(nil), encrypted(nil)} {
			message := "From: alice@example.test\r\n" + tc.content
			if form != nil {
				message = protect(t, message, form)
			}
			m := mustRead(t, message, readOptions())
			var paths []string
			for _, p := range m.Problems {
				if c, ok := errors.AsType[*ClosedPartError](p); ok {
					paths = append(paths, strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Path), " ", "."), "[]"))
				}
			}
			if got := strings.Join(paths, " "); got != tc.paths {
				t.Errorf("%s: %q", tc.name, got)
			}
			if got := text(t, m.Content()); !strings.HasSuffix(got, tc.content) {
				t.Errorf("%s: the content has changed: %q", tc.name, got)
			}
		}
	}
}

// TestInspectLimits: a content that is made of parts alone is not looked at to
// the end.
func TestInspectLimits(t *testing.T) {
	deep := strings.Builder{}
	for i := range 100 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	wide := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", 20000)
	for _, message := range []string{deep.String(), wide} {
		m := mustRead(t, message, readOptions())
		if !problem[*cms.LimitError](m.Problems) || text(t, m.Content()) != message {
			t.Errorf("%v", m.Problems)
		}
	}
}

func TestNoKey(t *testing.T) {
	for _, cipher := range []cms.Cipher{cms.AES256GCM, cms.AES128CBC} {
		inner := protect(t, simple, encrypted(&EncryptOptions{Cipher: cipher}))
		for _, form := range []writerFunc{nil, signed(nil), signed(&SignOptions{Opaque: true})} {
			message := inner
			want := inner
			if form != nil {
				message = protect(t, inner, form)
				want = inner[strings.Index(inner, "Content-Type"):]
			}
			o := readOptions()
			o.Identities = []cms.Identity{cms.NewIdentity(people().alice.Cert, people().alice.Key)}
			m, err := read(t, message, o)
			nm, ok := errors.AsType[*cms.NoMatchError](err)
			if !ok || len(nm.Recipients) != 1 || m.Encrypted || m.Signed || m.Status != StatusUnknown {
				t.Errorf("%v, %+v", err, m)
			}
			last := m.Layers[len(m.Layers)-1]
			if !last.Encrypted || len(last.Recipients) != 1 || last.Err != err {
				t.Errorf("%+v", last)
			}
			if got := text(t, m.Content()); got != want {
				t.Errorf("content: %q; want %q", got, want)
			}
		}
	}
}

// wrongKey is a recipient of every message, with a key of its own.
type wrongKey struct{ err error }

func (k wrongKey) Unwrap(_ []cms.RecipientInfo, cekLen int) ([]byte, error) {
	return make([]byte, cekLen), k.err
}

// TestDecryptionFails: nothing is released, and nothing told of what is inside.
func TestDecryptionFails(t *testing.T) {
	for _, cipher := range []cms.Cipher{cms.AES256GCM, cms.ChaCha20Poly1305Encryption, cms.AES128CBC} {
		for _, key := range []wrongKey{{nil}, {cms.ErrDecrypt}} {
			for range 20 {
				message := protect(t, simple, signed(nil), encrypted(&EncryptOptions{Cipher: cipher}), signed(nil))
				o := readOptions()
				o.Identities = []cms.Identity{key}
				m, err := read(t, message, o)
				if err == nil && cipher == cms.AES128CBC && key.err == nil {
					continue // the padding of garbage happens to be right
				}
				if err != cms.ErrDecrypt || m.Encrypted || m.Signed || layerTypes(m) == "" {
					t.Errorf("%s: %v", cipher, err)
				}
				if text(t, m.Content()) != "" || text(t, m.Body()) != "" || len(m.Layers) != 2 {
					t.Errorf("%s: %q, %s", cipher, text(t, m.Content()), layerTypes(m))
				}
				if h := m.Header(); h.Has("Content-Type") || !h.Has("Subject") {
					t.Errorf("%v", h.Map())
				}
			}
		}
	}
}

func TestUnauthenticated(t *testing.T) {
	cbc := encrypted(&EncryptOptions{Cipher: cms.AES256CBC})
	for _, tc := range []struct {
		forms []writerFunc
		want  bool
	}{
		{[]writerFunc{cbc}, true},
		{[]writerFunc{cbc, signed(nil)}, true},
		{[]writerFunc{signed(nil), cbc}, false},
		{[]writerFunc{encrypted(nil)}, false},
	} {
		m := mustRead(t, protect(t, simple, tc.forms...), readOptions())
		if problem[*UnauthenticatedError](m.Problems) != tc.want {
			t.Errorf("%s: %v", layerTypes(m), m.Problems)
		}
		if outer := problem[*OuterSignatureError](m.Problems); outer != (m.Layers[0].Signature()) {
			t.Errorf("%s: %v", layerTypes(m), m.Problems)
		}
	}
}

func TestLayers(t *testing.T) {
	forms := []writerFunc{signed(nil), encrypted(nil), signed(nil)}
	message := protect(t, simple, forms...)
	for n := 1; n <= 4; n++ {
		o := readOptions()
		o.Layers = n
		m, err := read(t, message, o)
		if isLimit(err) != (n < 3) || len(m.Layers) != min(n, 3) || m.Trusted != (n >= 3) {
			t.Errorf("%d layers: %v, %s", n, err, layerTypes(m))
		}
	}
	o := readOptions()
	o.OneLayer = true
	m := mustRead(t, message, o)
	h := m.Header()
	if layerTypes(m) != "multipart/signed" || !strings.HasPrefix(h.Get("Content-Type"), "application/pkcs7-mime; smime-type=authEnveloped-data") {
		t.Errorf("%s, %v", layerTypes(m), h.Map())
	}
	var next strings.Builder
	if _, err := m.WriteTo(&next); err != nil {
		t.Fatal(err)
	}
	if m = mustRead(t, next.String(), readOptions()); layerTypes(m) != "authEnveloped-data multipart/signed" || !m.Trusted {
		t.Errorf("%s", layerTypes(m))
	}
}

func TestReadLimits(t *testing.T) {
	o := readOptions()
	o.MaxHeader = 200
	m, err := read(t, "X: "+strings.Repeat("x", 300)+"\r\n\r\nbody", o)
	if !isLimit(err) || text(t, m.Content()) != "X: "+strings.Repeat("x", 300)+"\r\n\r\nbody" {
		t.Errorf("header: %v", err)
	}
	o = readOptions()
	o.MaxContent = 3000
	for _, c := range combinations {
		if m, err = Read(strings.NewReader(protect(t, simple+strings.Repeat("line\r\n", 1000), c.forms...)), o); m != nil || !isLimit(err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGarbage(t *testing.T) {
	for _, body := range []string{"", "MIAG", "hello", "\x30\x80\x06\x09", "MAA=", strings.Repeat("A", 1000), "-----BEGIN", "MAsGCSqGSIb3DQEHCQ=="} {
		message := "From: x@y\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n" + body
		m, err := read(t, message, readOptions())
		_, syntax := errors.AsType[*cms.SyntaxError](err)
		_, unsupported := errors.AsType[*cms.UnsupportedError](err)
		if (!syntax && !unsupported) || layerTypes(m) != TypeUnknown || text(t, m.Content()) != message {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	c := people()
	certs := []*pki.Certificate{pki.FromX509(c.alice.Cert), pki.FromX509(c.ca.Cert)}
	for _, header := range []string{"", "From: a@b\nSubject: keys\nContent-Type: text/plain\n", "From: a@b\r\n\r\nbody is left out"} {
		var out bytes.Buffer
		if err := WriteCertificates(&out, []byte(header), certs, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "Content-Type: application/pkcs7-mime; smime-type=certs-only;\r\n name=\"smime.p7c\"\r\n") ||
			strings.Count(out.String(), "Content-Type") != 1 || strings.Contains(out.String(), "left out") {
			t.Error(out.String())
		}
		m := mustRead(t, out.String(), readOptions())
		if layerTypes(m) != TypeCertsOnly || len(m.Layers[0].Certificates) != 2 || m.Signed || m.Status != StatusUnknown || text(t, m.Content()) != out.String() {
			t.Errorf("%s %+v", layerTypes(m), m.Layers[0])
		}
	}
	if err := WriteCertificates(failing{}, nil, certs, nil); !errors.Is(err, errFailing) {
		t.Error(err)
	}
}

// TestNoEntity: content that is no MIME entity comes out as it is.
func TestNoEntity(t *testing.T) {
	for _, content := range []string{"", "\x00\x01\xff", "From me to you", "\xef\xbb\xbfFrom x\nFrom y\n\nz", "\n\nx", "plain text: yes\nno", "\r\n"} {
		var out bytes.Buffer
		w, err := cms.Sign(&out, []cms.Signer{signerOf(people().alice)}, nil)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		m := mustRead(t, "From: alice@example.test\r\nContent-Type: application/pkcs7-mime\r\n\r\n"+out.String(), readOptions())
		if got := text(t, m.Content()); got != content || !m.Trusted {
			t.Errorf("%q: %q", content, got)
		}
		var opened strings.Builder
		if _, err = m.WriteTo(&opened); err != nil || !strings.HasPrefix(opened.String(), "From: alice@example.test\r\nMIME-Version: 1.0\r\n") ||
			!strings.HasSuffix(opened.String(), text(t, m.Body())) {
			t.Errorf("%q: %q, %v", content, opened.String(), err)
		}
	}
}

// TestForeignContent: a type that is not signed and not id-data may hide what is
// inside.
func TestForeignContent(t *testing.T) {
	const receipt = cms.OID("1.2.840.113549.1.9.16.1.1")
	var out bytes.Buffer
	w, err := cms.Encrypt(&out, recipientsOf(people().bob), &cms.EncryptOptions{ContentType: receipt})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, simple)
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	const head = "From: alice@example.test\r\nContent-Type: application/pkcs7-mime\r\n\r\n"
	m, err := read(t, head+out.String(), readOptions())
	if _, ok := errors.AsType[*cms.UnsupportedError](err); !ok || text(t, m.Content()) != simple || m.Layers[0].ContentType != receipt {
		t.Errorf("%v", err)
	}
	out.Reset()
	if w, err = cms.Sign(&out, []cms.Signer{signerOf(people().alice)}, &cms.SignOptions{ContentType: receipt}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, simple)
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	m = mustRead(t, head+out.String(), readOptions())
	if text(t, m.Content()) != simple || !problem[*StructureError](m.Layers[0].Warnings) {
		t.Errorf("%v", m.Layers[0].Warnings)
	}
}

func TestCapabilities(t *testing.T) {
	m := mustRead(t, protect(t, simple, signed(nil)), readOptions())
	all := ParseCapabilities(m.Layers[0].Signers[0].Signed)
	if fmt.Sprint(all) != fmt.Sprint(preferred) {
		t.Errorf("%v", all)
	}
	m = mustRead(t, protect(t, simple, signed(&SignOptions{Capabilities: []cms.Cipher{cms.AES128CBC}})), readOptions())
	few := ParseCapabilities(m.Layers[0].Signers[0].Signed)
	if fmt.Sprint(few) != "[aes-128-cbc]" {
		t.Errorf("%v", few)
	}
	m = mustRead(t, protect(t, simple, signed(&SignOptions{Capabilities: []cms.Cipher{}})), readOptions())
	if none := ParseCapabilities(m.Layers[0].Signers[0].Signed); none != nil {
		t.Errorf("%v", none)
	}
	gcm := []cms.Cipher{cms.AES128GCM, cms.AES128CBC}
	for _, tc := range []struct {
		known [][]cms.Cipher
		want  cms.Cipher
	}{
		{nil, cms.AES256GCM}, {[][]cms.Cipher{nil, nil}, cms.AES256GCM}, {[][]cms.Cipher{nil, all}, cms.AES256GCM},
		{[][]cms.Cipher{gcm, nil}, cms.AES128GCM}, {[][]cms.Cipher{gcm, few, all}, cms.AES128CBC},
		{[][]cms.Cipher{{}, all}, cms.AES128CBC}, {[][]cms.Cipher{{cms.AES256CBC}, {cms.AES256GCM}}, cms.AES128CBC},
	} {
		m = mustRead(t, protect(t, simple, encrypted(&EncryptOptions{Capabilities: tc.known})), readOptions())
		if m.Layers[0].Cipher != string(tc.want) {
			t.Errorf("%v: %s; want %s", tc.known, m.Layers[0].Cipher, tc.want)
		}
	}
}
