package smime

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
)

func reason(err error) cms.Reason {
	if ve, ok := errors.AsType[*cms.VerifyError](err); ok {
		return ve.Reason
	}
	return 0
}

// problem reports whether one of the errors is of type E.
func problem[E error](list []error) bool {
	return slices.ContainsFunc(list, func(err error) bool {
		_, ok := errors.AsType[E](err)
		return ok
	})
}

func TestTrust(t *testing.T) {
	c := people()
	byMallet := func(w io.Writer) (io.WriteCloser, error) { return Sign(w, []cms.Signer{signerOf(c.mallet)}, nil) }
	both := func(w io.Writer) (io.WriteCloser, error) {
		return Sign(w, []cms.Signer{signerOf(c.alice), signerOf(c.mallet)}, nil)
	}
	for _, tc := range []struct {
		name            string
		form            writerFunc
		trust           cms.Trust
		reason          cms.Reason
		status          Status
		signed, trusted bool
	}{
		{"good", signed(nil), readOptions().Trust, 0, StatusSignedVerified, true, true},
		{"not asked", signed(nil), cms.InsecureTrustAnySigner, 0, StatusSigned, true, false},
		{"no roots", signed(nil), cms.TrustRoots(), cms.ReasonUntrusted, StatusSignedFailed, true, false},
		{"other CA", byMallet, readOptions().Trust, cms.ReasonUntrusted, StatusSignedFailed, true, false},
		{"one of two", both, readOptions().Trust, cms.ReasonUntrusted, StatusSignedFailed, true, false},
		{"two", both, cms.TrustFunc(func(*cms.TrustRequest) error { return nil }), 0, StatusSignedVerified, true, true},
		{"encrypted", signedEncrypted(nil, false), cms.TrustRoots(), cms.ReasonUntrusted, StatusEncryptedSignedFailed, true, false},
		{"encrypted, not asked", signedEncrypted(nil, false), cms.InsecureTrustAnySigner, 0, StatusSigned, true, false},
		{"no certificate", signed(&SignOptions{CMS: &cms.SignOptions{NoCertificates: true}}), readOptions().Trust,
			cms.ReasonNoCertificate, StatusSignedFailed, false, false},
	} {
		o := readOptions()
		o.Trust = tc.trust
		m, err := read(t, protect(t, simple, tc.form), o)
		if reason(err) != tc.reason || (err == nil) != (tc.reason == 0) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if m.Status != tc.status || m.Signed != tc.signed || m.Trusted != tc.trusted {
			t.Errorf("%s: %s, signed %v, trusted %v", tc.name, m.Status, m.Signed, m.Trusted)
		}
		if got := text(t, m.Content()); got != simpleContent {
			t.Errorf("%s: %q", tc.name, got)
		}
		if l := m.Layers[len(m.Layers)-1]; l.Err != err || len(l.Signers) == 0 {
			t.Errorf("%s: %+v", tc.name, l)
		}
	}
}

func TestSender(t *testing.T) {
	c := people()
	issue := func(p testpki.Profile) *testpki.Person {
		p.Key = testpki.P256
		person, err := c.ca.Issue(p)
		if err != nil {
			t.Fatal(err)
		}
		return person
	}
	noEmail := issue(testpki.Profile{Name: "Nobody", NoEmail: true})
	inSubject := issue(testpki.Profile{Name: "Sub", Email: "alice@example.test", SubjectEmail: true})
	german := issue(testpki.Profile{Name: "Gr", Email: "grün@example.test"})
	good, unchecked, bad := 0, 1, 2
	for _, tc := range []struct {
		header string
		by     *testpki.Person
		want   int
		from   int // addresses in the error
	}{
		{"From: alice@example.test\n", c.alice, good, 0},
		{"From: alice@EXAMPLE.test\n", c.alice, good, 0},
		{"From : =?utf-8?q?A?= (comment, more <x y.test>)\n <alice@example.test>\n", c.alice, good, 0},
		{"From : =?utf-8?q?A?= (comment, more <x@y.test>)\n <alice@example.test>\n", c.alice, bad, 1},
		{"From: \"bob@example.test\" <alice@example.test>\n", c.alice, bad, 1},
		{"From: alice@example.test\nSender: \"bob@example.test\" <alice@example.test>\n", c.alice, bad, 1},
		{"From: \"Alice, A.\" <alice@example.test>,\n", c.alice, good, 0},
		{"From: alice (comment) @ example . test\n", c.alice, good, 0},
		{"From: \"alice\"@example.test\n", c.alice, good, 0},
		{"From: A. Lice <alice@example.test>\n", inSubject, good, 0},
		{"From: grün@example.test\n", german, good, 0},
		{"From: Alice@example.test\n", c.alice, bad, 1},
		{"From: mallet@example.test\n", c.alice, bad, 1},
		{"From: \"alice@example.test\" <mallet@example.test>\n", c.alice, bad, 1},
		{"From: mallet@example.test\nFrom: alice@example.test\n", c.alice, bad, 2},
		{"From: alice@example.test\nfrom: alice@example.test\n", c.alice, bad, 2},
		{"From: alice@example.test, mallet@example.test\n", c.alice, bad, 2},
		{"From: mallet@example.test, alice@example.test\n", c.alice, bad, 2},
		{"From: list: alice@example.test;\n", c.alice, bad, 0},
		{"From: <@mallet.test:alice@example.test>\n", c.alice, bad, 0},
		{"From: <alice@example.test> mallet@example.test\n", c.alice, bad, 0},
		{"From: alice@example.test mallet\n", c.alice, bad, 0},
		{"From: alice@example.test\x00.test\n", c.alice, bad, 0},
		{"From: alice@example.test\xff\n", c.alice, bad, 0},
		{"From: alice@example.test (not closed\n", c.alice, bad, 0},
		{"From: alice@\"example.test\"\n", c.alice, bad, 0},
		{"From: alice.@example.test\n", c.alice, bad, 0},
		{"From: alice@[127.0.0.1]\n", c.alice, bad, 1},
		{"From:\n", c.alice, bad, 0},
		{"From: alice\n", c.alice, bad, 0},
		{"From: <>\n", c.alice, bad, 0},
		{"From: \"alice@example.test\n", c.alice, bad, 0},
		{"Sender: alice@example.test\n", c.alice, unchecked, 0},
		{"From: mallet@example.test\n", noEmail, unchecked, 0},
		{"From: mallet@example.test\nFrom: x\n", noEmail, unchecked, 0},
	} {
		for _, opaque := range []bool{false, true} {
			message := protect(t, tc.header+"\nx\n", func(w io.Writer) (io.WriteCloser, error) {
				return Sign(w, []cms.Signer{signerOf(tc.by)}, &SignOptions{Opaque: opaque})
			})
			m, err := read(t, message, readOptions())
			se, isSender := errors.AsType[*SenderError](err)
			if (tc.want == bad) != isSender || isSender != (err != nil) || (isSender && (len(se.From) != tc.from || reason(err) != cms.ReasonUntrusted)) {
				t.Errorf("%q: %v", tc.header, err)
			}
			if m.Trusted == isSender || m.Status == StatusSignedVerified == isSender {
				t.Errorf("%q: %s", tc.header, m.Status)
			}
			if problem[*UncheckedSenderError](m.Layers[0].Warnings) != (tc.want == unchecked) {
				t.Errorf("%q: %v", tc.header, m.Layers[0].Warnings)
			}
			o := readOptions()
			o.NoSenderCheck = true
			if m, err = read(t, message, o); err != nil || !m.Trusted {
				t.Errorf("%q, not checked: %v", tc.header, err)
			}
		}
	}
}

func TestDisplayName(t *testing.T) {
	for header, want := range map[string]bool{
		"From: \"bob@example.test\" <alice@example.test>\n":           true,
		"From: =?utf-8?q?bob=40example.test?= <alice@example.test>\n": true,
		"From: \"Bob (bob＠example.test)\" <alice@example.test>\n":     true,
		"From: \"alice@example.test\" <alice@example.test>\n":         false,
		"From: Alice <alice@example.test>\n":                          false,
		"From: alice@example.test\n":                                  false,
	} {
		message := protect(t, header+"\nx\n", signed(nil))
		m, err := read(t, message, readOptions())
		if refused := new(SenderError); errors.As(err, &refused) != want || problem[*DisplayNameError](m.Problems) != want || m.Trusted == want {
			t.Errorf("%q: %v, %v", header, m.Problems, err)
		}
		o := readOptions()
		o.NoSenderCheck = true
		if m = mustRead(t, message, o); problem[*DisplayNameError](m.Problems) != want {
			t.Errorf("%q: %v", header, m.Problems)
		}
	}
}

// TestTamper changes each octet of signed messages: never is other content
// good.
func TestTamper(t *testing.T) {
	for _, c := range []struct {
		name string
		form writerFunc
	}{
		{"clear", signed(&SignOptions{CMS: &cms.SignOptions{}})},
		{"opaque", signed(&SignOptions{Opaque: true})},
		{"encrypted", signedEncrypted(nil, false)},
		{"gcm", encrypted(nil)},
	} {
		message := protect(t, "From: alice@example.test\n"+simpleContent, c.form)
		same := 0
		for i := range len(message) {
			flipped := []byte(message)
			flipped[i] ^= 1 << (i % 7)
			m, err := Read(bytes.NewReader(flipped), readOptions())
			if err == nil && (m.Signed || m.Encrypted) {
				if got := text(t, m.Content()); got != simpleContent {
					t.Fatalf("%s: octet %d: good with %.80q…", c.name, i, got)
				}
				same++
			}
			if err != nil && (m.Trusted || m.Status == StatusSignedVerified || m.Status == StatusEncryptedSignedVerified) {
				t.Errorf("%s: octet %d: %v, and trusted", c.name, i, err)
			}
			if cerr := m.Close(); cerr != nil {
				t.Fatal(cerr)
			}
		}
		if same == 0 || same > len(message)/2 {
			t.Errorf("%s: %d of %d changes did not matter", c.name, same, len(message))
		}
	}
}

// TestTruncated: a message that is cut off is not good.
func TestTruncated(t *testing.T) {
	for _, c := range combinations {
		message := protect(t, simple, c.forms...)
		for cut := 0; cut < len(message)-6; cut += 53 {
			m, err := Read(strings.NewReader(message[:cut]), readOptions())
			if err == nil && (m.Signed || m.Encrypted) && text(t, m.Content()) != simpleContent {
				t.Errorf("%s at %d: good", c.name, cut)
			}
			_ = m.Close()
		}
	}
}

// clearOver makes a multipart/signed by hand.
func clearOver(t *testing.T, signedOctets, shown, eol, extra string, digest crypto.Hash) string {
	t.Helper()
	s := signerOf(people().alice)
	s.Digest = digest
	d, err := cms.NewDetachedSigner([]cms.Signer{s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(d, signedOctets)
	var sig bytes.Buffer
	if err = d.Finish(&sig); err != nil {
		t.Fatal(err)
	}
	head := strings.ReplaceAll("From: alice@example.test\nContent-Type: multipart/signed; "+extra+"boundary=b\n\n--b\n", "\n", eol)
	tail := strings.ReplaceAll("\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n", "\n", eol)
	return head + shown + tail + base64.StdEncoding.EncodeToString(sig.Bytes()) + strings.ReplaceAll("\n--b--\n", "\n", eol)
}

const protocol = "protocol=\"application/pkcs7-signature\"; "

// TestCanonical: content is verified with canonical line ends, then as it is,
// and comes out as what was verified.
func TestCanonical(t *testing.T) {
	crlf, bare := "A: b\r\n\r\nc\r\n", "A: b\n\nc\n"
	for _, tc := range []struct {
		name, over, shown, eol, want string
		good                         bool
	}{
		{"sent", crlf, crlf, "\r\n", crlf, true},
		{"stored", crlf, bare, "\n", crlf, true},
		{"stored in part", crlf, "A: b\r\n\nc\n", "\n", crlf, true},
		{"signed as stored", bare, bare, "\n", bare, true},
		{"binary", "\n\r\n\n\x00", "\n\r\n\n\x00", "\r\n", "\n\r\n\n\x00", true},
		{"bare, sent", bare, crlf, "\r\n", crlf, false},
		{"other", crlf, "A: b\n\nd\n", "\n", "A: b\n\nd\n", false},
		{"line more", crlf, crlf + "\r\n", "\r\n", crlf + "\r\n", false},
		{"blank more", crlf, "A: b\r\n\r\nc \r\n", "\r\n", "A: b\r\n\r\nc \r\n", false},
		{"lone CR", "a\rb", "a\rb", "\r\n", "a\rb", true},
		{"empty", "", "", "\r\n", "", true},
	} {
		for _, digest := range []crypto.Hash{crypto.SHA256, crypto.SHA512} {
			for _, size := range []int{0, 100 << 10} { // beyond what cms keeps
				filler := strings.Repeat("x", size)
				message := clearOver(t, filler+tc.over, filler+tc.shown, tc.eol, protocol, digest)
				m, err := read(t, message, readOptions())
				if (err == nil) != tc.good || (!tc.good && reason(err) != cms.ReasonDigest) {
					t.Errorf("%s, %v, %d: %v", tc.name, digest, size, err)
				}
				if got := text(t, m.Content()); got != filler+tc.want {
					t.Errorf("%s: %d octets, %q", tc.name, len(got), strings.TrimLeft(got, "x"))
				}
			}
		}
	}
}

func TestMicalg(t *testing.T) {
	filler := strings.Repeat("x", 100<<10)
	for _, hint := range []string{"", "micalg=sha512; ", "micalg=unknown; ", "micalg=\"md5, sha-1 ,SHA384\"; ", "micalg=rsa-sha1; "} {
		message := clearOver(t, filler, filler, "\r\n", protocol+hint, crypto.SHA384)
		if m := mustRead(t, message, readOptions()); !m.Trusted {
			t.Errorf("%s: not trusted", hint)
		}
	}
	message := protect(t, simple, func(w io.Writer) (io.WriteCloser, error) {
		a, b := signerOf(people().alice), signerOf(people().alice)
		b.Digest = crypto.SHA512
		return Sign(w, []cms.Signer{a, b, a}, nil)
	})
	if !strings.Contains(message, "\r\n micalg=\"sha-256,sha-512\";\r\n") {
		t.Error(message)
	}
}
