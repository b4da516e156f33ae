package smime

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

const letter = "Received: from a by b; Wed, 11 Mar 2026 10:00:00 +0000\r\n" +
	"Date: Wed, 11 Mar 2026 11:08:43 +0100\r\n" +
	"From: Alice <alice@example.test>\r\n" +
	"To: Bob the Builder <bob@example.test>\r\n" +
	"Bcc: carol@example.test\r\n" +
	"Subject: Handling the contract\r\n" +
	"Keywords: money\r\n" +
	"Message-ID: <1@example.test>\r\n" +
	"MIME-Version: 1.0\r\n"

// split cuts a message into its header and its body.
func split(t testing.TB, message string) (header, body string) {
	t.Helper()
	header, body, ok := strings.Cut(message, "\r\n\r\n")
	if !ok {
		t.Fatalf("no body: %q", message)
	}
	return header + "\r\n", body
}

// has and lacks look for lines of a header.
func has(t testing.TB, what, header string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\r\n"+header, "\r\n"+line+"\r\n") {
			t.Errorf("%s: no %q in\n%s", what, line, header)
		}
	}
}

func lacks(t testing.TB, what, header string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(header, text) {
			t.Errorf("%s: %q in\n%s", what, text, header)
		}
	}
}

func opened(t testing.TB, m *Message) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestProtectedHeaders writes and reads each policy.
func TestProtectedHeaders(t *testing.T) {
	alice := []cms.Signer{signerOf(people().alice)}
	tests := map[string]struct {
		form         writerFunc
		mode         string
		front, never []string // lines of the header in front, and what is not in it
	}{
		"signed":    {signed(&SignOptions{Headers: HeadersVisible}), "clear", []string{"Subject: Handling the contract", "Keywords: money"}, nil},
		"opaque":    {signed(&SignOptions{Headers: HeadersBaseline, Opaque: true}), "clear", []string{"Subject: Handling the contract", "Keywords: money"}, nil},
		"seven bit": {signed(&SignOptions{Headers: HeadersVisible, SevenBit: true}), "clear", []string{"Subject: Handling the contract"}, nil},
		"visible": {encrypted(&EncryptOptions{Signers: alice, Headers: HeadersVisible}), "cipher",
			[]string{"Subject: Handling the contract", "Keywords: money"}, nil},
		"baseline": {encrypted(&EncryptOptions{Signers: alice, Headers: HeadersBaseline}), "cipher",
			[]string{"Subject: [...]", "To: Bob the Builder <bob@example.test>", "Date: Wed, 11 Mar 2026 11:08:43 +0100"}, []string{"contract", "Keywords"}},
		"not signed": {encrypted(&EncryptOptions{Headers: HeadersBaseline}), "cipher", []string{"Subject: [...]"}, []string{"contract", "Keywords"}},
		"compressed": {encrypted(&EncryptOptions{Headers: HeadersBaseline, Compress: true}), "cipher", []string{"Subject: [...]"}, []string{"contract"}},
		"shy": {encrypted(&EncryptOptions{Signers: alice, Headers: HeadersShy}), "cipher",
			[]string{"Subject: [...]", "From: alice@example.test", "To: bob@example.test", "Date: Wed, 11 Mar 2026 10:08:43 +0000"},
			[]string{"contract", "Keywords", "Builder", "Alice"}},
	}
	for body, form := range map[string]string{
		"typed": "Content-Type: text/plain; charset=utf-8;\r\n\r\nHello\r\n", "untyped": "\r\nHello\r\n", "untyped, 8 bit": "\r\nHellö\r\n",
		"multipart":      "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x--\r\n",
		"with parameter": "Content-Type: text/plain; hp=clear; hp-legacy-display=1\r\n\r\nHello\r\n",
	} {
		for name, tc := range tests {
			name += ", " + body
			sent := protect(t, letter+form, tc.form)
			front, _ := split(t, sent)
			has(t, name, front, append(tc.front, "Bcc: carol@example.test")...)
			lacks(t, name, front, append(tc.never, "HP-Outer")...)
			m := mustRead(t, sent, readOptions())
			if m.HeaderProtection != tc.mode || len(m.Problems) > 0 && m.Signed {
				t.Errorf("%s: %q, %v", name, m.HeaderProtection, m.Problems)
			}
			inner, _ := split(t, text(t, m.Content()))
			lacks(t, name, inner, "Bcc:", "Received:")
			has(t, name, inner, "Subject: Handling the contract", "From: Alice <alice@example.test>")
			if n := strings.Count(inner, "hp="); n != 1 || strings.Count(inner, "hp-legacy") > 1 {
				t.Errorf("%s: %d parameters in\n%s", name, n, inner)
			}
			if tc.mode == "cipher" {
				for _, line := range tc.front {
					has(t, name, inner, "HP-Outer: "+line)
				}
			} else {
				lacks(t, name, inner, "HP-Outer")
			}
			shown, _ := split(t, opened(t, m))
			has(t, name, shown, "Received: from a by b; Wed, 11 Mar 2026 10:00:00 +0000", "Subject: Handling the contract", "Keywords: money",
				"From: Alice <alice@example.test>", "To: Bob the Builder <bob@example.test>", "Date: Wed, 11 Mar 2026 11:08:43 +0100")
			lacks(t, name, shown, "HP-Outer", "[...]")
			for _, field := range []string{"\r\nSubject:", "\r\nFrom:", "\r\nMIME-Version:", "\r\nContent-Type:"} {
				if n := strings.Count("\r\n"+shown, field); n != 1 {
					t.Errorf("%s: %d times %q in\n%s", name, n, field, shown)
				}
			}
			header, protected := m.Header(), m.ProtectedHeader()
			if header.Get("Subject") != "Handling the contract" || protected.Get("Subject") != "Handling the contract" || protected.Has("Received") {
				t.Errorf("%s: %q, %q", name, header.Get("Subject"), protected.Get("Subject"))
			}
		}
	}
}

// TestHeadersInFront has somebody on the way change what stands in front.
func TestHeadersInFront(t *testing.T) {
	alice := []cms.Signer{signerOf(people().alice)}
	whole := protect(t, letter+"\r\nHello\r\n", encrypted(&EncryptOptions{Signers: alice, Headers: HeadersBaseline}))
	changed := strings.NewReplacer("Subject: [...]", "Subject: Win a prize\r\nReply-To: mallet@evil.test\r\nList-Id: <list.test>",
		"From: Alice <alice@example.test>", "From: mallet@evil.test").Replace(whole)
	m := mustRead(t, changed, readOptions())
	shown, _ := split(t, opened(t, m))
	has(t, "changed", shown, "Subject: Handling the contract", "From: Alice <alice@example.test>", "List-Id: <list.test>")
	lacks(t, "changed", shown, "prize", "Reply-To", "mallet")
	mismatch := false
	for _, problem := range m.Problems {
		fe, ok := errors.AsType[*FromMismatchError](problem)
		mismatch = mismatch || ok && fe.Outer[0] == "mallet@evil.test" && fe.Protected[0] == "alice@example.test"
	}
	if !mismatch || !m.Trusted {
		t.Errorf("%v, %v", m.Trusted, m.Problems)
	}
}

// TestProtectedFromOfOthers has people protect a From that is not theirs.
func TestProtectedFromOfOthers(t *testing.T) {
	forged := letter + "\r\nHello\r\n"
	front := func(message string) string {
		return strings.Replace(message, "From: Alice <alice@example.test>", "From: mallet@evil.test", 1)
	}
	// Encrypted by anybody: the address in front is the one that servers checked.
	m := mustRead(t, front(protect(t, forged, encrypted(&EncryptOptions{Headers: HeadersBaseline}))), readOptions())
	header := m.Header()
	if m.Sender() != "mallet@evil.test" {
		t.Errorf("the sender is %q", m.Sender())
	}
	if from := header.Values("From"); len(from) != 1 || from[0] != "mallet@evil.test" || header.Get("Subject") != "Handling the contract" {
		t.Errorf("%q %q", from, header.Get("Subject"))
	}
	// Signed by somebody who is not trusted, and not the one in front.
	form := func(opts *EncryptOptions) writerFunc {
		opts.Signers = []cms.Signer{signerOf(people().mallet)}
		return encrypted(opts)
	}
	m, err := read(t, front(protect(t, forged, form(&EncryptOptions{Headers: HeadersBaseline}))), readOptions())
	if !errors.As(err, new(*cms.VerifyError)) || m.Trusted {
		t.Fatalf("%v", err)
	}
	if header = m.Header(); header.Get("From") != "mallet@evil.test" {
		t.Errorf("%q", header.Get("From"))
	}
	// Signed by bob, who is trusted, with the address of alice protected and his own
	// in front: the protected one is compared.
	bob := signerOf(people().bob)
	sent := protect(t, forged, encrypted(&EncryptOptions{Signers: []cms.Signer{bob}, Headers: HeadersBaseline}))
	m, err = read(t, strings.Replace(sent, "From: Alice <alice@example.test>", "From: bob@example.test", 1), readOptions())
	se, ok := errors.AsType[*SenderError](err)
	if !ok || len(se.From) != 1 || se.From[0] != "alice@example.test" || m.Trusted {
		t.Errorf("%v", err)
	}
}

// TestMessageSender: the address that counts is the protected one of a trusted signer, the
// one in front of others, and none when there are several.
func TestMessageSender(t *testing.T) {
	sent := protect(t, letter+"\r\nHello\r\n", signed(&SignOptions{Headers: HeadersVisible}))
	for front, want := range map[string]string{
		"Alice <alice@example.test>":                "alice@example.test",
		"List <list@example.test>":                  "alice@example.test",
		"mallet@evil.test, alice@example.test":      "alice@example.test",
		"alice@example.test\r\nFrom: mallet@e.test": "alice@example.test",
	} {
		m, err := read(t, strings.Replace(sent, "Alice <alice@example.test>", front, 1), readOptions())
		if err != nil || m.Sender() != want {
			t.Errorf("%s: %q, %v", front, m.Sender(), err)
		}
	}
	for from, want := range map[string]string{"From: A <a@example.test>\r\n": "a@example.test", "": "", "From: a@example.test, b@example.test\r\n": "",
		"From: a@example.test\r\nFrom: b@example.test\r\n": "", "From: nobody\r\n": ""} {
		if m := mustRead(t, from+"Subject: x\r\n\r\nHello\r\n", readOptions()); m.Sender() != want {
			t.Errorf("%q: %q", from, m.Sender())
		}
	}
}

// TestNotProtected has contents whose fields count for nothing.
func TestNotProtected(t *testing.T) {
	sent := protect(t, letter+"Content-Type: text/plain\r\n\r\nHello\r\n", signed(&SignOptions{Headers: HeadersVisible}))
	broken := strings.Replace(sent, "Hello", "Hallo", 1)
	m, err := read(t, broken, readOptions())
	if !errors.As(err, new(*cms.VerifyError)) || m.HeaderProtection != "" {
		t.Errorf("%v, %q", err, m.HeaderProtection)
	}
	// A message without layers, with a parameter that anybody can write.
	m = mustRead(t, letter+"Content-Type: text/plain; hp=cipher\r\n\r\nHello\r\n", readOptions())
	if m.HeaderProtection != "" {
		t.Error(m.HeaderProtection)
	}
	// Fields inside without the parameter.
	inner := "Subject: inside\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
	for param, mode := range map[string]string{"": "", "; hp=x": "", "; protected-headers=v1": "clear", "; hp=\"CIPHER\"": "cipher"} {
		content := strings.Replace(inner, "text/plain", "text/plain"+param, 1)
		m = mustRead(t, protect(t, letter+"\r\n"+content, asContent), readOptions())
		header := m.Header()
		if m.HeaderProtection != mode || (header.Get("Subject") == "inside") != (mode != "") {
			t.Errorf("%q: %q, %q", param, m.HeaderProtection, header.Get("Subject"))
		}
	}
}

// asContent encrypts the body of a message as an entity, with all of its fields.
func asContent(w io.Writer) (io.WriteCloser, error) { return &entityForm{dst: w}, nil }

type entityForm struct {
	dst io.Writer
	raw bytes.Buffer
}

func (f *entityForm) Write(p []byte) (int, error) { return f.raw.Write(p) }

func (f *entityForm) Close() error {
	header, content, _ := strings.Cut(f.raw.String(), "\r\n\r\n")
	g := &gate{dst: f.dst}
	layer, err := encryptLayer(g, recipientsOf(people().bob), &cms.EncryptOptions{ContentType: cms.TypeData})
	if err != nil {
		return err
	}
	if err = g.pass([]byte(header + "\r\n" + string(layer.fields) + "\r\n")); err != nil {
		return err
	}
	if _, err = io.WriteString(layer, content); err != nil {
		return err
	}
	return layer.Close()
}

// TestWrapped reads messages that are wrapped in a message/rfc822 (RFC 8551,
// Section 3.1), and leaves those that are forwarded.
func TestWrapped(t *testing.T) {
	wrapped := "Content-Type: message/rfc822\r\n\r\n" + letter + "Content-Type: text/plain\r\n\r\nHello\r\n"
	front := strings.Replace(letter, "Handling the contract", "...", 1) + "\r\n"
	m := mustRead(t, protect(t, front+wrapped, asContent), readOptions())
	shown, body := split(t, opened(t, m))
	if m.HeaderProtection != "clear" || body != "Hello\r\n" || text(t, m.Body()) != body || !strings.HasPrefix(text(t, m.Content()), "Content-Type: message/rfc822") {
		t.Errorf("%q, %q", m.HeaderProtection, body)
	}
	has(t, "wrapped", shown, "Subject: Handling the contract", "Content-Type: text/plain")
	lacks(t, "wrapped", shown, "...", "rfc822")
	for what, content := range map[string]string{
		"of somebody else":  strings.Replace(wrapped, "Alice <alice@example.test>", "carol@example.test", 1),
		"another one":       strings.Replace(wrapped, "<1@example.test>", "<2@example.test>", 1),
		"forwarded":         strings.Replace(wrapped, "message/rfc822", "message/rfc822; forwarded=yes", 1),
		"attached":          "Content-Disposition: attachment\r\n" + wrapped,
		"with several From": strings.Replace(wrapped, "From:", "From: carol@example.test\r\nFrom:", 1),
	} {
		m = mustRead(t, protect(t, front+content, asContent), readOptions())
		if shown, _ = split(t, opened(t, m)); m.HeaderProtection != "" || !strings.Contains(shown, "Subject: ...") {
			t.Errorf("%s: %q in\n%s", what, m.HeaderProtection, shown)
		}
	}
	// A signature that is not valid protects nothing.
	signedForm := protect(t, front+wrapped, signed(nil))
	m, err := read(t, strings.Replace(signedForm, "Hello", "Hallo", 1), readOptions())
	if err == nil || m.HeaderProtection != "" {
		t.Errorf("%v, %q", err, m.HeaderProtection)
	}
}

func TestPolicyNames(t *testing.T) {
	for p := HeadersUnprotected; p <= HeadersShy; p++ {
		var again HeaderPolicy
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Errorf("%v: %v, %v", p, again, err)
		}
	}
	p := HeadersShy
	if err := p.UnmarshalText([]byte("Baseline")); !errors.As(err, new(*HeaderPolicyError)) || p != HeadersShy || HeaderPolicy(9).String() != "unknown" {
		t.Errorf("%v, %v", p, err)
	}
}

func TestPolicies(t *testing.T) {
	for in, want := range map[string]string{
		"Date: Wed, 11 Mar 2026 11:08:43 +0100 (CET)": "Date: Wed, 11 Mar 2026 10:08:43 +0000",
		"Date: 1 Mar 2026 00:30:00 +0100":             "Date: Sat, 28 Feb 2026 23:30:00 +0000",
		"Date: tomorrow":                              "Date: tomorrow",
		"To: A <a@x.test>, b@x.test (B)":              "To: a@x.test, b@x.test",
		"Cc: undisclosed-recipients:;":                "Cc: undisclosed-recipients:;",
		"comments: x":                                 "",
		"SUBJECT: x":                                  "SUBJECT: [...]",
		"X-Other: x":                                  "X-Other: x",
	} {
		got, ok := HeadersShy.conceal(mimeraw.Field{Raw: []byte(in + "\r\n")})
		if ok != (want != "") || ok && string(got.Raw) != want+"\r\n" {
			t.Errorf("%q: %q, %v", in, got.Raw, ok)
		}
	}
}
