package imapproxy

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

var errLocked = errors.New("the key is locked")

// aliceKeys are those of Alice's account.
type aliceKeys struct {
	w      *world
	locked bool
}

// Signer implements outgoing.Keys.
func (k *aliceKeys) Signer(_ context.Context, address string) (*cms.Signer, error) {
	if k.locked {
		return nil, errLocked
	}
	if address != "alice@example.org" {
		return nil, outgoing.ErrNoIdentity
	}
	s := cms.NewSigner(k.w.alice.Cert, k.w.alice.Key.(crypto.Signer))
	return &s, nil
}

// Recipient implements outgoing.Keys.
func (k *aliceKeys) Recipient(_ context.Context, address string) (*recipients.Candidate, error) {
	if address != "alice@example.org" {
		return nil, &recipients.NoneError{Address: address}
	}
	return &recipients.Candidate{Found: keystore.Found{Certificate: pki.FromX509(k.w.alice.Cert), Source: "test"}}, nil
}

var (
	sentMessage = crlf("From: Alice <alice@example.org>\nTo: bob@example.org\nSubject: Sent away\nDate: Fri, 02 Jan 2026 10:00:00 +0000\nMessage-ID: <s@example.org>\n\nsecret text\n")
	fromOther   = strings.Replace(sentMessage, "alice@", "other@", 1)
)

// TestAppend stores messages as the policy of their mailbox wants them.
func TestAppend(t *testing.T) {
	w := newWorld(t)
	upstream := startDovecotWith(t, "namespace inbox {\n inbox = yes\n mailbox Gesendet {\n special_use = \\Sent\n auto = create\n }\n mailbox Drafts {\n special_use = \\Drafts\n auto = create\n }\n}\n")
	p := w.proxy()
	keys := &aliceKeys{w: w}
	p.MaxAppend = 100_000
	p.Append = func(account, mailbox, use string) *Keeping {
		if account != "alice" {
			t.Errorf("account %q", account)
		}
		k := &Keeping{Self: "alice@example.org", Keys: keys}
		switch {
		case use == `\sent`:
			k.Sign = true
		case use == `\drafts`:
			k.Encrypt = true
		case mailbox == "both":
			k.Sign, k.Encrypt = true, true
		case mailbox == "nobody":
			k.Encrypt, k.Self = true, "nobody@example.org"
		default:
			return nil
		}
		return k
	}
	c := login(t, serve(t, p, upstream), "")
	for _, name := range []string{"both", "nobody", "plain"} {
		c.ok("CREATE " + name)
	}
	signed := w.sign(t, noteMessage, false)
	encrypted := w.encrypt(t, noteMessage, w.carol)
	direct := login(t, upstream, "")
	day := time.Now().UTC().Format("02-Jan-2006") + " 00:00:01"
	for _, tc := range []struct {
		mailbox, message  string
		stored, notStored []string // in what is stored
		shown             []string
		same              bool
	}{
		{"plain", sentMessage, nil, nil, nil, true},
		{"Gesendet", sentMessage, []string{"multipart/signed", "secret text"}, nil, []string{"X-Postseal-Status: signed/verified"}, false},
		{"Gesendet", fromOther, nil, nil, nil, true},
		{"Gesendet", signed, nil, nil, nil, true},
		{"Drafts", sentMessage, []string{"application/pkcs7-mime"}, []string{"secret text"}, []string{"secret text", "X-Postseal-Encryption"}, false},
		{"Drafts", encrypted, nil, nil, nil, true},
		{"Drafts", signed, []string{"application/pkcs7-mime"}, []string{"at noon"}, []string{"at noon"}, false},
		{`"both"`, sentMessage, []string{"application/pkcs7-mime"}, []string{"secret text"}, []string{"secret text", "X-Postseal-Status: encrypted+signed/verified"}, false},
	} {
		for _, form := range []string{"%s (\\Seen $Label1) \"" + day + " +0000\" {%d}", "%s {%d+}", "%s ~{%d}"} {
			command := "APPEND " + fmt.Sprintf(form, tc.mailbox, len(tc.message))
			if strings.HasSuffix(form, "+}") {
				if _, status := c.do(command + "\r\n" + tc.message); !strings.HasPrefix(status, "OK [APPENDUID ") {
					t.Fatalf("%s: %s", command, status)
				}
			} else if _, status := c.do(command, tc.message+"\r\n"); !strings.HasPrefix(status, "OK [APPENDUID ") {
				t.Fatalf("%s: %s", command, status)
			}
			direct.ok("SELECT " + tc.mailbox)
			stored := literalOf(t, direct.one("FETCH * BODY.PEEK[]"))
			flags := direct.one("FETCH * (FLAGS INTERNALDATE)")
			if tc.same != (stored == tc.message) {
				t.Errorf("%s: %q is stored as\n%s", command, tc.message, stored)
			}
			if seen := strings.Contains(form, "Seen"); seen != strings.Contains(flags, `\Seen`) || seen != strings.Contains(flags, "$Label1") || seen != strings.Contains(flags, day) {
				t.Errorf("%s: %s", command, flags)
			}
			c.ok("SELECT " + tc.mailbox)
			shown := literalOf(t, c.one("FETCH * BODY.PEEK[]"))
			for _, want := range tc.stored {
				if !strings.Contains(stored, want) {
					t.Errorf("%s: %q is missing in\n%s", command, want, stored)
				}
			}
			for _, no := range tc.notStored {
				if strings.Contains(stored, no) {
					t.Errorf("%s: %q is in\n%s", command, no, stored)
				}
			}
			for _, want := range tc.shown {
				if !strings.Contains(shown, want) {
					t.Errorf("%s: %q is missing in\n%s", command, want, shown)
				}
			}
		}
	}
	// Two in one command, and a name that is a literal.
	if _, status := c.do("APPEND {6}", fmt.Sprintf("Drafts {%d}\r\n", len(sentMessage)), sentMessage+fmt.Sprintf(" (\\Flagged) {%d}\r\n", len(noteMessage)), noteMessage+"\r\n"); !strings.HasPrefix(status, "OK [APPENDUID ") {
		t.Error(status)
	}
	direct.ok("SELECT Drafts")
	for i, line := range direct.ok("FETCH 1:* BODY.PEEK[TEXT]") {
		if strings.Contains(line, "secret text") {
			t.Errorf("message %d is in the clear", i+1)
		}
	}
	if line := direct.one("FETCH * FLAGS"); !strings.Contains(line, `\Flagged`) {
		t.Error(line)
	}
	// What cannot be protected is not stored, and the connection goes on.
	count := func() string {
		return direct.ok("STATUS Drafts (MESSAGES)")[0] + direct.ok("STATUS nobody (MESSAGES)")[0]
	}
	before := count()
	refuse := func(want, command string, literals ...string) {
		t.Helper()
		if _, status := c.do(command, literals...); !strings.HasPrefix(status, want) {
			t.Errorf("%s: %s", command, status)
		}
		c.ok("NOOP")
	}
	refuse("NO [CANNOT]", fmt.Sprintf("APPEND nobody {%d}", len(sentMessage)), sentMessage+"\r\n")
	refuse("NO [CANNOT]", fmt.Sprintf("APPEND nobody {%d+}\r\n%s {3+}\r\nabc", len(sentMessage), sentMessage))
	refuse("NO [TOOBIG]", "APPEND Drafts {100001}")
	refuse("NO [TOOBIG]", "APPEND Drafts {100001+}\r\n"+strings.Repeat("x", 100001))
	refuse("NO [CANNOT]", "APPEND Drafts CATENATE (TEXT {3+}\r\nabc URL \"/INBOX/;UID=1\")")
	refuse("NO [CANNOT]", "APPEND Drafts UTF8 (~{3+}\r\nabc)")
	refuse("NO [TRYCREATE]", fmt.Sprintf("APPEND none {%d}", len(sentMessage)))
	refuse("BAD", "APPEND {5}", "a\r\nbc {3+}\r\nabc\r\n")
	keys.locked = true
	refuse("NO [UNAVAILABLE]", fmt.Sprintf("APPEND both {%d}", len(sentMessage)), sentMessage+"\r\n")
	if after := count(); after != before {
		t.Errorf("%s became %s", before, after)
	}
}
