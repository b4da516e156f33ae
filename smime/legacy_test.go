package smime

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// decodedBody returns the body of an entity without its transfer encoding.
func decodedBody(t *testing.T, entity string) string {
	t.Helper()
	header, body := split(t, entity)
	var r io.Reader = strings.NewReader(body)
	switch {
	case strings.Contains(header, "quoted-printable"):
		r = quotedprintable.NewReader(r)
	case strings.Contains(header, "base64"):
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	return text(t, r)
}

// TestLegacyDisplay hides a subject, repeats it in the text, and takes that away
// again.
func TestLegacyDisplay(t *testing.T) {
	alice := []cms.Signer{signerOf(people().alice)}
	const plain, typed = "Subject: ", "Content-Type: text/plain; charset=utf-8\r\n"
	inHTML := func(subject string) string {
		return "<div class=\"header-protection-legacy-display\"><pre>Subject: " + subject + "\r\n</pre></div>\r\n"
	}
	longText := strings.Repeat("long lines of text, ", 40) + "\r\n\r\nend\r\n"
	for _, tc := range []struct{ name, subject, header, body, want, want8 string }{
		{"untyped", "The plan", "", "Hello\r\n\r\nBob\r\n", plain + "The plan\r\n\r\n", ""},
		{"untyped, not ASCII", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "", "Hello\r\n", plain + "=?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", ""},
		{"typed", "The plan", typed, "Hello\r\n", plain + "The plan\r\n\r\n", ""},
		{"not ASCII", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", typed, "Hello\r\n", plain + "=?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", plain + "Grüße\r\n\r\n"},
		{"8 bit", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", typed + "Content-Transfer-Encoding: 8bit\r\n", "Hällo\r\n", plain + "Grüße\r\n\r\n", ""},
		{"quoted-printable", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", typed + "Content-Transfer-Encoding: quoted-printable\r\n", "H=C3=A4llo =\r\nBob\r\n\r\nx\r\n", plain + "Grüße\r\n\r\n", ""},
		{"base64", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", typed + "Content-Transfer-Encoding: base64\r\n",
			base64.StdEncoding.EncodeToString([]byte("Hällo\r\n")) + "\r\n", plain + "Grüße\r\n", ""},
		{"long", strings.Repeat("=?utf-8?q?=C3=BC?=\r\n ", 30) + "x", typed + "Content-Transfer-Encoding: quoted-printable\r\n", "Hello\r\n", plain + strings.Repeat("ü", 30) + " x\r\n\r\n", ""},
		{"long text", "x", typed, longText, plain + "x\r\n\r\n", ""},
		{"HTML", "1 < 2 & 3", "Content-Type: text/html; charset=utf-8\r\n", "<html><body>Hello</body></html>\r\n", inHTML("1 &lt; 2 &amp; 3"), ""},
		{"HTML, quoted", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
			"<p class=3D\"x\">Hello</p>\r\n", inHTML("Grüße"), ""},
		{"empty", "The plan", typed, "", plain + "The plan\r\n\r\n", ""},
	} {
		letter := strings.Replace(letter, "Subject: Handling the contract\r\nKeywords: money", "Subject: "+tc.subject, 1)
		for _, opts := range []*EncryptOptions{{Headers: HeadersBaseline}, {Headers: HeadersBaseline, Signers: alice}} {
			want := tc.want
			if opts.Signers != nil && tc.want8 != "" {
				want = tc.want8
			}
			m := mustRead(t, protect(t, letter+tc.header+"\r\n"+tc.body, encrypted(opts)), readOptions())
			original := decodedBody(t, letter+tc.header+"\r\n"+tc.body)
			content := text(t, m.Content())
			if got := decodedBody(t, content); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, original) || !strings.Contains(content, "hp-legacy-display=\"1\"") {
				t.Errorf("%s: %q", tc.name, content)
			}
			shown := opened(t, m)
			if got := decodedBody(t, shown); got != original || strings.Contains(shown, "hp-legacy") {
				t.Errorf("%s: %q, want %q in\n%s", tc.name, got, original, shown)
			}
		}
		// What is not hidden is not repeated.
		for _, opts := range []*EncryptOptions{{Headers: HeadersVisible}, {Headers: HeadersBaseline, NoLegacyDisplay: true}} {
			m := mustRead(t, protect(t, letter+tc.header+"\r\n"+tc.body, encrypted(opts)), readOptions())
			if content := text(t, m.Content()); strings.Contains(content, "hp-legacy") || !strings.HasSuffix(content, tc.body) {
				t.Errorf("%s: %q", tc.name, content)
			}
		}
	}
}

// TestLegacyParts finds the parts that people read first.
func TestLegacyParts(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=m\r\n\r\n" +
		"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n" +
		"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
		"--a\r\n\r\nfirst\r\n" +
		"--a\r\nContent-Type: text/html\r\n\r\n<p>second</p>\r\n" +
		"--a--\r\n" +
		"--r\r\nContent-Type: text/html\r\n\r\n<p>third</p>\r\n" +
		"--r--\r\n" +
		"--m\r\nContent-Type: text/plain\r\n\r\nfourth\r\n" +
		"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nfifth\r\n" +
		"--m--\r\n"
	m := mustRead(t, protect(t, letter+mixed, encrypted(&EncryptOptions{Headers: HeadersBaseline})), readOptions())
	content := text(t, m.Content())
	if n := strings.Count(content, "hp-legacy-display"); n != 2 {
		t.Errorf("%d elements in\n%s", n, content)
	}
	has(t, "text", content, "Subject: Handling the contract\r\nKeywords: money\r\n\r\nfirst")
	has(t, "HTML", content, "<div class=\"header-protection-legacy-display\"><pre>Subject: Handling the contract\r\nKeywords: money\r\n</pre></div>\r\n<p>second</p>")
	_, body := split(t, opened(t, m))
	if want := strings.Replace(mixed, "--a\r\n\r\nfirst", "--a\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nfirst", 1); body != want[strings.Index(want, "\r\n\r\n")+4:] {
		t.Errorf("%q", body)
	}
	// An attachment is not what is read first.
	attached := "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nHello\r\n"
	m = mustRead(t, protect(t, letter+attached, encrypted(&EncryptOptions{Headers: HeadersBaseline})), readOptions())
	lacks(t, "attachment", text(t, m.Content()), "hp-legacy")
}

// TestLegacyOfOthers cuts nothing out that is not such an element.
func TestLegacyOfOthers(t *testing.T) {
	for _, tc := range []struct{ param, header, body, want string }{
		{"1", "", "Subject: x\r\nFrom: y\r\n z\r\n\r\nHello\r\n", "Hello\r\n"},
		{"1", "", "Hello\r\n\r\nBob\r\n", "Hello\r\n\r\nBob\r\n"},
		{"1", "", "Subject: x\r\nHello", "Subject: x\r\nHello"},
		{"2", "", "Subject: x\r\n\r\nHello\r\n", "Subject: x\r\n\r\nHello\r\n"},
		{"1", "Content-Transfer-Encoding: base64\r\n", "no base64 at all!\r\n", "no base64 at all!\r\n"},
		{"1", "Content-Transfer-Encoding: base64\r\n", base64.StdEncoding.EncodeToString([]byte("Subject: xy\r\n\r\nHello\r\n")) + "\r\n",
			base64.StdEncoding.EncodeToString([]byte("Hello\r\n")) + "\r\n"},
	} {
		content := "Subject: x\r\nContent-Type: text/plain; hp=cipher; hp-legacy-display=" + tc.param + "\r\n" + tc.header + "\r\n" + tc.body
		m := mustRead(t, protect(t, letter+"\r\n"+content, asContent), readOptions())
		if _, body := split(t, opened(t, m)); body != tc.want {
			t.Errorf("%q: %q, want %q", tc.body, body, tc.want)
		}
		if text(t, m.Body()) != tc.body {
			t.Errorf("%q: the body has changed", tc.body)
		}
	}
	for in, want := range map[string]string{
		"<html><body><DIV class=\"header-protection-legacy-display\"><pre>Subject: x</pre></DIV><p>Hello": "<html><body><p>Hello",
		"<div>a</div><p class=\"header-protection-legacy-display\">b</p>":                                 "",
		"header-protection-legacy-display</div>":                                                          "",
		"<div class=\"header-protection-legacy-display\">without end":                                     "",
	} {
		from, to := legacyHTML([]byte(in))
		if want == "" {
			want = in
		}
		if got := in[:from] + in[to:]; got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
