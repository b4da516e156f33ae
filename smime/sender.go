package smime

import (
	"errors"
	"slices"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A sender is what the header of a message says of who sent it. Resent-From and
// the like say who passed it on (RFC 5322, Section 3.6.6), and are not looked
// at.
type sender struct {
	author, agent originator // the From and the Sender field
	header        *mimeraw.Header
}

// An originator is what all fields of one name say.
type originator struct {
	fields int // how many there are
	list   []mailbox
	bad    bool // one cannot be read, or leaves a doubt
}

func newSender(h *mimeraw.Header) *sender {
	return &sender{author: readOriginator(h, "From"), agent: readOriginator(h, "Sender"), header: h}
}

func readOriginator(h *mimeraw.Header, name string) (o originator) {
	for _, f := range h.Fields {
		if !f.Is(name) {
			continue
		}
		o.fields++
		list, ok := parseMailboxes(f.Value())
		if o.list == nil {
			o.list = list
		} else {
			o.list = append(o.list, list...)
		}
		o.bad = o.bad || !ok
	}
	return o
}

// single returns the one address, if it is certain that there is no other.
func (o *originator) single() (string, bool) {
	if o.fields != 1 || o.bad || len(o.list) != 1 {
		return "", false
	}
	return o.list[0].address, true
}

func (o *originator) isOf(c *pki.Certificate) bool {
	address, ok := o.single()
	return ok && c.HasEmail(address)
}

// trust returns a Trust for one layer that also compares the signer with the
// sender.
//
// RFC 8550, Section 3: the address in the From or Sender field MUST be one of
// the certificate's, if that has any. A Sender beside a From says who posted
// what someone else wrote: it is From, and in it exactly one address, that has
// to be the signer's. Programs show names in place of addresses, so that a name or
// a comment with the address of somebody else is refused as well.
func (s *sender) trust(base cms.Trust, layer *Layer) cms.Trust {
	return cms.TrustFunc(func(req *cms.TrustRequest) error {
		if err := base.TrustSigner(req); err != nil {
			return err
		}
		unchecked := func(what string) error {
			layer.Warnings = append(layer.Warnings, &UncheckedSenderError{What: what})
			return nil
		}
		who, c := &s.author, req.Certificate
		switch {
		case s.author.fields == 0 && s.agent.fields == 0:
			return unchecked("the message has no From field")
		case len(c.Emails) == 0 && !hidesAddress(c):
			return unchecked("the signer's certificate has no mail address")
		case s.author.fields == 0:
			who = &s.agent
		}
		shown := ""
		if who.isOf(c) {
			switch shown = s.pretends(c); {
			case shown == "" && who == &s.agent:
				return unchecked("the message has no From field")
			case shown == "":
				return nil
			}
		}
		return &SenderError{From: who.addresses(), Addresses: c.Emails, Shown: shown}
	})
}

// pretends returns a name or comment, of the From or the Sender field, that shows
// the address of somebody else, or "".
func (s *sender) pretends(signer *pki.Certificate) string {
	for _, o := range []*originator{&s.author, &s.agent} {
		for i := range o.list {
			if shown := o.list[i].pretends(signer); shown != "" {
				return shown
			}
		}
	}
	return ""
}

// hidesAddress reports whether a certificate may have addresses that cannot be
// read. It is not one without addresses, whose signer may be anyone.
func hidesAddress(c *pki.Certificate) bool {
	return slices.ContainsFunc(c.Problems, func(problem error) bool {
		parse, ok := errors.AsType[*pki.ParseError](problem)
		return ok && (parse.Field == "email address" || parse.Field == "subject" || parse.Field == "extensions" ||
			parse.Field == "extension "+string(oid.ExtSubjectAltName))
	})
}

// problems returns what there is to say about the names and addresses that are
// shown to people: a *DisplayNameError for each that is the address of someone
// else, and *StructureErrors.
func (s *sender) problems() []error {
	var out []error
	for _, o := range []*originator{&s.author, &s.agent} {
		for i := range o.list {
			out = append(out, o.list[i].problems()...)
		}
	}
	if s.agent.fields > 1 || s.agent.bad || s.agent.fields == 1 && len(s.agent.list) != 1 {
		// RFC 5322, Section 3.6.2: one field with one mailbox.
		out = append(out, &StructureError{What: "the Sender field is not that of one sender"})
	}
	author, isAuthor := s.author.single()
	if agent, ok := s.agent.single(); ok && isAuthor && agent != author {
		out = append(out, &StructureError{What: "the Sender field has another address than the From field"})
	}
	return out
}
