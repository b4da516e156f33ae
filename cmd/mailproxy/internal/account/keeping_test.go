package account

import (
	"testing"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

func TestKeeping(t *testing.T) {
	c := testConfig(t)
	c.IMAP.Sent, c.IMAP.Drafts = config.KeepSigned, config.KeepBoth
	user := openSet(t, c).Connection(quiet)
	defer user.Close()
	for _, tc := range []struct {
		login, mailbox, use string
		there, sign, seal   bool
	}{
		{"alice", "Gesendet", "\\sent", true, true, false},
		{"alice", "INBOX.Sent", "", true, true, false},
		{"alice", "Sent", "\\archive", false, false, false},
		{"alice", "Mail/Drafts", "", true, true, true},
		{"alice", "x", "\\drafts", true, true, true},
		{"alice", "INBOX", "", false, false, false},
		{"alice", "presents", "", false, false, false},
		{"bob", "Sent", "\\sent", false, false, false},
	} {
		k := user.Keeping(tc.login, tc.mailbox, tc.use)
		if (k != nil) != tc.there || k != nil && (k.Sign != tc.sign || k.Encrypt != tc.seal || k.Self != "alice@example.org") {
			t.Errorf("%s %s %s: %+v", tc.login, tc.mailbox, tc.use, k)
		}
	}
	c.IMAP.Sent = config.KeepSealed
	if k := user.Keeping("alice", "Sent", ""); k == nil || k.Sign || !k.Encrypt {
		t.Errorf("%+v", k)
	}
	c.IMAP.Sent = config.KeepAsIs
	if k := user.Keeping("alice", "Sent", ""); k != nil {
		t.Errorf("%+v", k)
	}
}
