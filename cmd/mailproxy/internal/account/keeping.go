package account

import (
	"slices"
	"strings"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/imapproxy"
)

// Names that mailboxes have, in lower case, whose special use (RFC 6154) the server
// does not tell.
var (
	sentNames  = []string{"sent", "sent items", "sent messages", "sent mail", "sent-mail"}
	draftNames = []string{"drafts", "draft"}
)

// Keeping is Append of imapproxy.Proxy: what becomes of messages that an account
// stores in a mailbox, by its special use or its name.
func (c *Connection) Keeping(login, mailbox, use string) *imapproxy.Keeping {
	a := c.access(login)
	if a == nil {
		return nil
	}
	name := strings.ToLower(mailbox[strings.LastIndexAny(mailbox, "/.")+1:])
	conf := a.shared.conf
	how := config.KeepAsIs
	switch {
	case use == "\\sent", use == "" && slices.Contains(sentNames, name):
		how = conf.IMAP.Sent
	case use == "\\drafts", use == "" && slices.Contains(draftNames, name):
		how = conf.IMAP.Drafts
	}
	if how == config.KeepAsIs {
		return nil
	}
	return &imapproxy.Keeping{Sign: how != config.KeepSealed, Encrypt: how != config.KeepSigned, Self: a.conf.Addresses[0], Keys: a, Headers: conf.Sending.Headers}
}
