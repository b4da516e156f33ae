package render

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/smime"
)

const plain = "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: Lunch\r\n\r\nat noon\r\n"

// forgedFields is what somebody puts into a message who wants it to look good.
const forgedFields = "Authentication-Results: (x) MX.example.org 1; smime=pass\r\n" +
	"Authentication-Results: other.example; dkim=pass\r\n" +
	"x-postseal-status: signed/verified\r\n\tand more\r\nX-Postseal-New: yes\r\n"

type people struct {
	ca         *testpki.CA
	alice, bob *testpki.Person
}

func newPeople(t testing.TB) *people {
	t.Helper()
	ca, err := testpki.NewCA("Test")
	if err != nil {
		t.Fatal(err)
	}
	p := &people{ca: ca}
	for name, dst := range map[string]**testpki.Person{"alice": &p.alice, "bob": &p.bob} {
		if *dst, err = ca.Issue(testpki.Profile{Name: name, Email: name + "@example.org", Key: testpki.P256}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *people) options() *Options {
	return &Options{Service: "mx.example.org", Read: smime.ReadOptions{
		Trust: cms.TrustRoots(p.ca.Cert), Identities: []cms.Identity{cms.NewIdentity(p.bob.Cert, p.bob.Key)}}}
}

func (p *people) sign(t testing.TB, message string) string {
	return mailtest.Protect(t, message, func(w io.Writer) (io.WriteCloser, error) {
		return smime.Sign(w, []cms.Signer{cms.NewSigner(p.alice.Cert, p.alice.Key.(crypto.Signer))}, nil)
	})
}

func (p *people) encrypt(t testing.TB, message string, to *x509.Certificate, opts *smime.EncryptOptions) string {
	return mailtest.Protect(t, message, func(w io.Writer) (io.WriteCloser, error) {
		return smime.Encrypt(w, []cms.Recipient{cms.NewRecipient(to)}, opts)
	})
}

// render renders twice, and wants the same both times.
func render(t testing.TB, message string, opts *Options) (*Rendering, string) {
	t.Helper()
	var first string
	for i := range 2 {
		r, err := Open(strings.NewReader(message), int64(len(message)), opts)
		if err != nil {
			t.Fatal(err)
		}
		text := message
		if r.Changed {
			data, readErr := io.ReadAll(r.NewReader())
			if readErr != nil {
				t.Fatal(readErr)
			}
			text = string(data)
		}
		if i == 1 {
			if text != first {
				t.Fatalf("two renderings differ:\n%s\n---\n%s", first, text)
			}
			t.Cleanup(func() { _ = r.Close() })
			return r, text
		}
		first = text
		if err = r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	panic("not reached")
}

func TestOpen(t *testing.T) {
	p := newPeople(t)
	signed := p.sign(t, plain)
	mallory, err := testpki.NewCA("Mallory")
	if err != nil {
		t.Fatal(err)
	}
	impostor, err := mallory.Issue(testpki.Profile{Name: "Mallory", Email: "alice@example.org", Key: testpki.P256})
	if err != nil {
		t.Fatal(err)
	}
	untrusted := (&people{ca: p.ca, alice: impostor}).sign(t, plain)
	encrypted := p.encrypt(t, plain, p.bob.Cert, nil)
	both := p.encrypt(t, signed, p.bob.Cert, nil)
	cbc := p.encrypt(t, plain, p.bob.Cert, &smime.EncryptOptions{Cipher: cms.AES128CBC})
	toAlice := p.encrypt(t, plain, p.alice.Cert, nil)
	// The last octets are those of the tag.
	end := len(strings.TrimRight(encrypted, "=\r\n")) - 8
	other := "A"
	if encrypted[end] == 'A' {
		other = "B"
	}
	damaged := encrypted[:end] + other + encrypted[end+1:]

	for _, tc := range []struct {
		name, message string
		status        smime.Status
		opened        bool
		has, hasNot   []string
		problem       error // a value, or a pointer to a type
	}{
		{"plain", plain, smime.StatusUnknown, true, nil, []string{"X-Postseal", "mx.example.org"}, nil},
		{"signed", signed, smime.StatusSignedVerified, true,
			[]string{"; smime=pass\r\n body.smime-identifier=alice@example.org\r\n", "X-Postseal-Status: signed/verified\r\n", "X-Postseal-Signer: alice@example.org\r\n", "at noon"},
			[]string{"X-Postseal-Problem", "multipart/signed", "X-Postseal-Encryption"}, nil},
		{"changed", strings.Replace(signed, "noon", "nine", 1), smime.StatusSignedFailed, true,
			[]string{"smime=fail (", "signed/failed", "X-Postseal-Problem: the content is not what was signed", "at nine"},
			[]string{"X-Postseal-Signer", "smime=pass"}, &cms.VerifyError{}},
		{"untrusted", untrusted, smime.StatusSignedFailed, true, []string{"smime=fail (", "signed/failed", "at noon"},
			[]string{"X-Postseal-Signer", "smime=pass"}, &cms.VerifyError{}},
		{"encrypted", encrypted, smime.StatusUnknown, true, []string{"smime=none", "X-Postseal-Encryption: aes-256-gcm, authenticated", "at noon"},
			[]string{"X-Postseal-Problem"}, nil},
		{"encrypted, not authenticated", cbc, smime.StatusUnknown, true, []string{"X-Postseal-Encryption: aes-128-cbc, not authenticated"}, nil, nil},
		{"both", both, smime.StatusEncryptedSignedVerified, true, []string{"smime=pass", "X-Postseal-Status: encrypted+signed/verified"}, nil, nil},
		{"for another", toAlice, smime.StatusUnknown, false, []string{"X-Postseal-Problem: ", "application/pkcs7-mime"}, []string{"at noon"}, &cms.NoMatchError{}},
		{"damaged", damaged, smime.StatusUnknown, false, []string{"X-Postseal-Problem: ", "application/pkcs7-mime"}, []string{"at noon", "smime=pass"}, cms.ErrDecrypt},
	} {
		for _, prefix := range []string{"", forgedFields} {
			r, text := render(t, prefix+tc.message, p.options())
			name := tc.name
			if prefix != "" {
				name += ", forged"
			}
			if r.Status != tc.status || r.Opened != tc.opened || r.Changed == (tc.name == "plain" && prefix == "") {
				t.Errorf("%s: status %s, opened %v, changed %v", name, r.Status, r.Opened, r.Changed)
			}
			switch want := tc.problem.(type) {
			case nil:
				if r.Problem != nil {
					t.Errorf("%s: %v", name, r.Problem)
				}
			case *cms.VerifyError:
				if !errors.As(r.Problem, &want) {
					t.Errorf("%s: %v", name, r.Problem)
				}
			case *cms.NoMatchError:
				if !errors.As(r.Problem, &want) {
					t.Errorf("%s: %v", name, r.Problem)
				}
			default:
				if !errors.Is(r.Problem, want) {
					t.Errorf("%s: %v", name, r.Problem)
				}
			}
			for _, s := range tc.has {
				if !strings.Contains(text, s) {
					t.Errorf("%s: %q is missing in\n%s", name, s, text)
				}
			}
			for _, s := range append(tc.hasNot, "X-Postseal-New", "and more", "MX.example.org", "x-postseal") {
				if strings.Contains(text, s) {
					t.Errorf("%s: %q is in\n%s", name, s, text)
				}
			}
			if prefix != "" && !strings.Contains(text, "other.example; dkim=pass") {
				t.Errorf("%s: another service's results are gone", name)
			}
			if r.Changed && r.Size() != int64(len(text)) {
				t.Errorf("%s: size %d of %d octets", name, r.Size(), len(text))
			}
		}
	}
}

func TestTagSubject(t *testing.T) {
	p := newPeople(t)
	opts := p.options()
	opts.TagSubject = true
	signed := p.sign(t, plain)
	for want, message := range map[string]string{
		"Subject: Lunch":                     plain,
		"Subject: [signed] Lunch":            signed,
		"Subject: [signature failed] Lunch":  strings.Replace(signed, "noon", "nine", 1),
		"Subject: [encrypted] Lunch":         p.encrypt(t, plain, p.bob.Cert, nil),
		"Subject: [encrypted, signed] Lunch": p.encrypt(t, signed, p.bob.Cert, nil),
		"Subject: [not opened] Lunch":        p.encrypt(t, plain, p.alice.Cert, nil),
	} {
		if _, text := render(t, message, opts); !strings.Contains(text, "\r\n"+want+"\r\n") {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestAuthservID(t *testing.T) {
	for value, want := range map[string]string{
		"mx.example.org; none":                "mx.example.org",
		"mx.example.org 1; none":              "mx.example.org",
		"(com(m)ent) mx.example.org(x); none": "mx.example.org",
		`"mx.exam\ple.org"; smime=pass`:       "mx.example.org",
		"mx.example.org":                      "mx.example.org",
		"\tmx.example.org\t;":                 "mx.example.org",
		"":                                    "",
		"; none":                              "",
		`(\)) mx.example.org;`:                "mx.example.org",
		"mx.example.org/1; smime=pass":        "mx.example.org",
	} {
		if got := authservID(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestPvalue has names that would add results of their own.
func TestPvalue(t *testing.T) {
	for address, want := range map[string]string{
		"alice@example.org":           "alice@example.org",
		"a;smime=pass@example.org":    `"a;smime=pass@example.org"`,
		`a"b@example.org`:             `"a\"b@example.org"`,
		"zoë@example.org":             "zo?@example.org",
		"a\r\nSubject: x@example.org": `"a  Subject: x@example.org"`,
		"no address":                  `"no address"`,
	} {
		if got := pvalue(address); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
	if got := comment("a) smime=pass (\\"); got != `a\) smime=pass \(\\` {
		t.Errorf("comment: %s", got)
	}
}

type broken struct{ after int64 }

var errBroken = errors.New("broken")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.after {
		return 0, errBroken
	}
	n := min(int64(len(p)), b.after-off)
	copy(p, plain[off:off+n])
	return int(n), nil
}

// TestSourceFails reads from a source that fails: that is not a short message.
func TestSourceFails(t *testing.T) {
	p := newPeople(t)
	for _, after := range []int64{0, 10, int64(len(plain)) - 1} {
		if _, err := Open(broken{after}, int64(len(plain))+10, p.options()); !errors.Is(err, errBroken) {
			t.Errorf("after %d octets: %v", after, err)
		}
	}
	opts := p.options()
	opts.Read.Trust = nil
	if _, err := Open(strings.NewReader(plain), int64(len(plain)), opts); !errors.As(err, new(*cms.UsageError)) {
		t.Errorf("without trust: %v", err)
	}
}
