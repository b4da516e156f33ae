package smime

import (
	"bufio"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// senderSigners are certificates with addresses of all kinds.
func senderSigners(t *testing.T) map[string]*pki.Certificate {
	t.Helper()
	ca := people().ca
	hidden := []byte{0x30, 5, 0x81, 3, 'c', 'e', 'o'} // GeneralNames with the rfc822Name "ceo"
	out := make(map[string]*pki.Certificate)
	for name, p := range map[string]testpki.Profile{
		"alice":   {Email: "alice@example.test"},
		"mallet":  {Email: "mallet@evil.test"},
		"subject": {Email: "alice@example.test", SubjectEmail: true},
		"A-label": {Email: "alice@xn--grn-ioa.test"},
		"mailbox": {Email: "жук@xn--grn-ioa.test"},
		"U-label": {Email: "alice@grün.test"},
		"nobody":  {NoEmail: true},
		"unclear": {NoEmail: true, Edit: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: hidden}}
		}},
		"quotes":   {Email: "al ice@example.test"},
		"Cyrillic": {Email: "alice@exаmple.test"}, // with U+0430
		"two": {Email: "alice@example.test", Edit: func(c *x509.Certificate) {
			c.EmailAddresses = append(c.EmailAddresses, "alice@home.test")
		}},
	} {
		p.Key = testpki.P256
		person, err := ca.Issue(p)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = pki.FromX509(person.Cert)
	}
	return out
}

// judgeSender compares the sender that a header names with a signer.
func judgeSender(t *testing.T, header string, signer *pki.Certificate) (s *sender, warnings []error, err error) {
	t.Helper()
	parsed, parseErr := mimeraw.ReadHeader(bufio.NewReader(strings.NewReader(header+"\r\n")), 1<<16)
	if parseErr != nil {
		t.Fatalf("%q: %v", header, parseErr)
	}
	s = newSender(parsed)
	layer := new(Layer)
	everyone := cms.TrustFunc(func(*cms.TrustRequest) error { return nil })
	err = s.trust(everyone, layer).TrustSigner(&cms.TrustRequest{Certificate: signer})
	return s, layer.Warnings, err
}

// TestSenderAttacks has the ways in which the header can make a signer appear as
// someone else, beside what is honest.
func TestSenderAttacks(t *testing.T) {
	signers := senderSigners(t)
	const good, unchecked, bad = "good", "unchecked", "bad"
	cases := []struct {
		header, signer, want string
	}{
		// One address, in many forms.
		{"From: alice@example.test", "alice", good},
		{"from:alice@example.test", "alice", good},
		{"FROM \t: <alice@EXAMPLE.Test>", "alice", good},
		{"From: Alice\r\n <alice@example.test>", "subject", good},
		{"From: alice@example.test (a (nested \\) comment) <mallet>)", "alice", good},
		{"From: alice@example.test (a (nested \\) comment) <mallet@evil.test>)", "alice", bad},
		{"From: \"al ice\"@example.test", "quotes", good},

		// Several addresses, and none that is clear.
		{"From: alice@example.test\r\nFrom: mallet@evil.test", "alice", bad},
		{"From: mallet@evil.test\r\nFrom: alice@example.test", "alice", bad},
		{"From: alice@example.test\r\nFROM : alice@example.test", "alice", bad},
		{"From: alice@example.test\r\nFrom:", "alice", bad},
		{"From: alice@example.test, mallet@evil.test", "alice", bad},
		{"From: alice@example.test, mallet@evil.test\r\nSender: alice@example.test", "alice", bad},
		{"From: alice@example.test\r\n mallet@evil.test", "alice", bad},
		{"From: alice@example.test mallet@evil.test", "alice", bad},
		{"From: <alice@example.test> <mallet@evil.test>", "alice", bad},
		{"From: <alice@example.test>, <mallet@evil.test>", "alice", bad},
		{"From: <alice@example.test>mallet@evil.test", "alice", bad},
		{"From: <<alice@example.test>>", "alice", bad},
		{"From: <alice@example.test", "alice", bad},
		{"From: alice@example.test>", "alice", bad},
		{"From: alice@example.test@evil.test", "alice", bad},
		{"From: mallet@evil.test@example.test", "alice", bad},
		{"From: alice@example.test;", "alice", bad},
		{"From: alice@example.test; mallet@evil.test", "alice", bad},

		// Groups and routes.
		{"From: Friends: alice@example.test;", "alice", bad},
		{"From: alice@example.test: mallet@evil.test;", "alice", bad},
		{"From: undisclosed-recipients:;", "alice", bad},
		{"From: <@example.test:mallet@evil.test>", "alice", bad},
		{"From: <@evil.test,@example.test:alice@example.test>", "alice", bad},

		// Another address that looks like the signer's.
		{"From: \"alice@example.test\" <mallet@evil.test>", "alice", bad},
		{"From: \"alice@example.test\" <mallet@evil.test>", "mallet", bad},
		{"From: =?utf-8?q?alice=40example.test?= <mallet@evil.test>", "mallet", bad},
		{"From: mallet@evil.test (alice@example.test)", "mallet", bad},
		{"From: (alice@example.test) mallet@evil.test", "mallet", bad},
		{"From: \"Alice <alice@example.test>\" <mallet@evil.test>", "mallet", bad},
		{"From: \"alice＠example.test\" <mallet@evil.test>", "mallet", bad},
		{"From: \"alice@example.test via mallet@evil.test\" <mallet@evil.test>", "mallet", bad},
		{"From: \"mallet@evil.test\" <mallet@evil.test>", "mallet", good},
		{"From: Alice Example <mallet@evil.test>", "mallet", good}, // a name is not an address
		{"From: \"alice@home.test\" <alice@example.test>", "two", good},
		{"From: \"bob@home.test\" <alice@example.test>", "two", bad},
		{"Sender: \"alice@example.test\" <mallet@evil.test>", "mallet", bad},
		{"From: alice@example.test <mallet@evil.test>", "alice", bad},
		{"From: alice@example.test <mallet@evil.test>", "mallet", bad},
		{"From: (alice@example.test) mallet@evil.test", "alice", bad},
		{"From: mallet@evil.test (alice@example.test)", "alice", bad},
		{"From: mallet@evil.test(<alice@example.test>", "alice", bad},
		{"From: =?utf-8?q?alice=40example.test?=", "alice", bad},
		{"From: =?utf-8?q?alice?=@example.test", "alice", bad},
		{"From: \"alice@example.test\"@evil.test", "alice", bad},
		{"From: \"mallet@evil.test\"@example.test", "alice", bad},
		{"From: \"alice@example.test\"", "alice", bad},
		{"From: alice%evil.test@example.test", "alice", bad},
		{"From: alice+x@example.test", "alice", bad},
		{"From: Alice@example.test", "alice", bad},
		{"From: alice@sub.example.test", "alice", bad},
		{"From: alice@xexample.test", "alice", bad},
		{"From: alice@example.test.evil.test", "alice", bad},
		{"From: alice@example.test.", "alice", bad},
		{"From: .alice@example.test", "alice", bad},
		{"From: ali..ce@example.test", "alice", bad},
		{"From: alice@example..test", "alice", bad},
		{"From: alice@[example.test]", "alice", bad},
		{"From: @example.test", "alice", bad},
		{"From: alice@", "alice", bad},

		// Characters that are not seen, or look like others.
		{"From: alice@example.test\x00", "alice", bad},
		{"From: alice@example.test\x00@evil.test", "alice", bad},
		{"From: ali\x08ce@example.test", "alice", bad},
		{"From: mallet@evil.test\ralice@example.test", "alice", bad},
		{"From: mallet@evil.test\r\r\n alice@example.test", "alice", bad},
		{"From: alice@example.test\x7f", "alice", bad},
		{"From: alice@example.test\xa0", "alice", bad},
		{"From: alice@example.test\xc0\x80", "alice", bad},
		{"From: alice\u200b@example.test", "alice", bad},
		{"From: alice@example\u00ad.test", "alice", bad},
		{"From: \u202ealice@example.test", "alice", bad},
		{"From: alice＠example.test", "alice", bad},
		{"From: alice@example\u3002test", "alice", bad}, // an ideographic full stop
		{"From: alice@exаmple.test", "alice", bad},      // U+0430
		{"From: alice@example.test", "Cyrillic", bad},
		{"From: alice@exаmple.test", "Cyrillic", good},
		{"From: alice@xn--exmple-4nf.test", "Cyrillic", good},
		{"From: alice@xn--exmple-4nf.test", "alice", bad},
		{"From: alice@ｅxample.test", "alice", bad}, // a wide e
		{"From: аlice@example.test", "alice", bad}, // U+0430

		// A-labels and U-labels (RFC 9598, Section 5).
		{"From: alice@xn--grn-ioa.test", "A-label", good},
		{"From: alice@XN--GRN-IOA.test", "A-label", good},
		{"From: alice@grün.test", "A-label", good},
		{"From: alice@GRÜN.test", "A-label", good},
		{"From: alice@xn--grn-ioa.test", "U-label", good},
		{"From: alice@grün.test", "U-label", good},
		{"From: alice@gru\u0308n.test", "U-label", bad}, // composed in another way
		{"From: alice@grun.test", "U-label", bad},
		{"From: жук@xn--grn-ioa.test", "mailbox", good},
		{"From: Жук <жук@grün.test>", "mailbox", good},
		{"From: ЖУК@grün.test", "mailbox", bad},

		// Other fields.
		{"Subject: x", "alice", unchecked},
		{"Sender: alice@example.test", "alice", unchecked},
		{"Sender: mallet@evil.test", "alice", bad},
		{"Sender: alice@example.test\r\nSender: mallet@evil.test", "alice", bad},
		{"Sender: alice@example.test, mallet@evil.test", "alice", bad},
		{"Sender: x", "nobody", unchecked},
		{"From: mallet@evil.test\r\nSender: alice@example.test", "alice", bad},
		{"From: alice@example.test\r\nSender: mallet@evil.test", "alice", good},
		{"From: mallet@evil.test\r\nResent-From: alice@example.test", "alice", bad},
		{"From: mallet@evil.test\r\nResent-Sender: alice@example.test", "alice", bad},
		{"From: mallet@evil.test\r\nReply-To: alice@example.test", "alice", bad},
		{"From: alice@example.test\r\nResent-From: mallet@evil.test", "alice", good},
		{"X-From: alice@example.test\r\nFrom: mallet@evil.test", "alice", bad},

		// Certificates without addresses, and with one that cannot be read.
		{"From: mallet@evil.test", "nobody", unchecked},
		{"From: mallet@evil.test", "unclear", bad},
		{"From: ceo", "unclear", bad},
		{"Sender: mallet@evil.test", "unclear", bad},
		{"Subject: x", "unclear", unchecked},
	}
	for _, tc := range cases {
		_, warnings, err := judgeSender(t, tc.header+"\r\n", signers[tc.signer])
		got := good
		switch {
		case err != nil:
			got = bad
		case slices.ContainsFunc(warnings, func(w error) bool { return errors.As(w, new(*UncheckedSenderError)) }):
			got = unchecked
		}
		if got != tc.want || err != nil && !errors.As(err, new(*SenderError)) {
			t.Errorf("%q by %s: %s, want %s: %v", tc.header, tc.signer, got, tc.want, err)
		}
	}
	if len(signers) != 11 {
		t.Errorf("%d signers", len(signers))
	}
}

// TestSenderNames has what stands beside the address.
func TestSenderNames(t *testing.T) {
	signer := senderSigners(t)["alice"]
	for header, want := range map[string]string{
		"From: Alice <alice@example.test>":                                                         "",
		"From: \"alice@example.test\" <alice@example.test>":                                        "",
		"From: \"ALICE@example.test\" <alice@example.test>":                                        "",
		"From: \"'alice@example.test'\" <alice@example.test>":                                      "",
		"From: \"Alice (alice@example.test)\" <alice@example.test>":                                "",
		"From: alice@example.test (Alice)":                                                         "",
		"From: alice@example.test (alice@example.test)":                                            "",
		"From: \"O'Hara, A. \\\"Al\\\"\" <alice@example.test>":                                     "",
		"From: =?iso-2022-jp?b?GyRCOzNFRBsoQg==?= <alice@example.test>":                            "",
		"From: =?koi8-r?b?4czJ08E=?= <alice@example.test>":                                         "",
		"From: \u05d0\u200f <alice@example.test>":                                                  "",
		"From: \"bob@example.test\" <alice@example.test>":                                          "name",
		"From: \"bob@example.test via alice@example.test\" <alice@example.test>":                   "name",
		"From: \"alice@example.test\" \"bob@example.test\" <alice@example.test>":                   "name",
		"From: \"alice@example.test.evil.test\" <alice@example.test>":                              "name",
		"From: \"<bob@example.test>\" <alice@example.test>":                                        "name",
		"From: \"bob @ example.test\" <alice@example.test>":                                        "name",
		"From: \"bob\u200b@example.test\" <alice@example.test>":                                    "name",
		"From: bob＠example.test <alice@example.test>":                                              "name",
		"From: \"bob﹫example.test\" <alice@example.test>":                                          "name",
		"From: alice@example.test (bob@example.test)":                                              "name",
		"From: (bob@example.test) alice@example.test":                                              "name",
		"From: alice@example.test (Bob <bob@example.test>)":                                        "name",
		"From: alice@example.test (=?utf-8?q?bob=40example.test?=)":                                "name",
		"From: Alice (bob\\@example.test) <alice@example.test>":                                    "name",
		"From: =?utf-8?q?bob=40example.test?= <alice@example.test>":                                "name",
		"From: =?utf-8?b?Ym9iQGV4YW1wbGUudGVzdA==?= <alice@example.test>":                          "name",
		"From: =?utf-8?q?bob?= =?utf-8?q?=40example.test?= <alice@example.test>":                   "name",
		"From: \"=?utf-8?q?bob=40example.test?=\" <alice@example.test>":                            "name",
		"From: =?utf-8?q?=22bob=40example.test=22_=3Cbob=40example.test=3E?= <alice@example.test>": "name",
		"From: =?us-ascii*en?q?bob=40example.test?= <alice@example.test>":                          "name",
		"From: =?koi8-r?q?bob=40example.test?= <alice@example.test>":                               "name",
		"From: =?utf-7?q?bob+AEA-example.test?= <alice@example.test>":                              "name",
		"From: =?utf-16be?b?AGIAbwBiAEAAZQB4AGEAbQBwAGwAZQAuAHQAZQBzAHQ=?= <alice@example.test>":   "name",
		"From: \"\u202etset.elpmaxe@bob\" <alice@example.test>":                                    "name order",
		"From: \"Alice\u2066\" <alice@example.test>":                                               "order",
		"From: Alice =?utf-8?q?=E2=80=AE?= <alice@example.test>":                                   "order",
		"From: alice@example.test\r\nSender: alice@example.test":                                   "",
		"From: alice@example.test\r\nSender: bob@example.test":                                     "sender",
		"From: alice@example.test\r\nSender: alice@example.test\r\nSender: alice@example.test":     "sender",
		"From: alice@example.test\r\nSender: alice@example.test, bob@example.test":                 "sender",
		"From: alice@example.test\r\nSender: bob":                                                  "sender",
		"From: alice@example.test\r\nSender:":                                                      "sender",
		"From: alice@example.test\r\nSender: \"bob@example.test\" <alice@example.test>":            "name",
	} {
		s, _, err := judgeSender(t, header+"\r\n", signer)
		var refused *SenderError
		if pretends := strings.HasPrefix(want, "name"); pretends != errors.As(err, &refused) || pretends && refused.Shown == "" {
			t.Errorf("%q: %v", header, err)
		}
		var got []string
		for _, problem := range s.problems() {
			display, isName := errors.AsType[*DisplayNameError](problem)
			structure, isStructure := errors.AsType[*StructureError](problem)
			switch {
			case isName && display.Address == "alice@example.test" && display.Name != "":
				got = append(got, "name")
			case isStructure && structure.What == whatOrder:
				got = append(got, "order")
			case isStructure:
				got = append(got, "sender")
			default:
				t.Errorf("%q: %v", header, problem)
			}
		}
		if found := strings.Join(slices.Compact(got), " "); found != want {
			t.Errorf("%q: %q, want %q", header, found, want)
		}
	}
}

// FuzzSender compares the address that is taken for the sender's with the
// text: it stands there, but for blanks, comments and quotes.
func FuzzSender(f *testing.F) {
	for _, seed := range []string{"Alice <alice@example.test>", "a@b, c@d", "g: a@b;", "\"a\\\"\"@b (c (d)) ", "=?utf-7?q?+AEA-?= <a@[1]>", "<a@[<b]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		list, ok := parseMailboxes(value)
		for i := range list {
			m := &list[i]
			at := strings.LastIndexByte(m.address, '@')
			if ok && (at < 1 || at == len(m.address)-1 || strings.ContainsAny(m.address, "\r\n\x00")) {
				t.Errorf("%q: %q", value, m.address)
			}
			if domain := m.address[at+1:]; ok && strings.ContainsAny(domain, "\"<>(), \t@") {
				t.Errorf("%q: the domain %q", value, domain)
			}
			m.problems()
		}
	})
}
