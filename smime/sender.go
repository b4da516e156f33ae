package smime

import (
	"mime"
	"strings"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

// A sender is what the header of a message says of who sent it.
type sender struct {
	fields int       // number of From fields
	from   []mailbox // of all fields
	bad    bool      // a field cannot be read, or leaves a doubt
}

func newSender(h *mimeraw.Header) *sender {
	s := &sender{}
	for _, value := range h.Values("From") {
		s.fields++
		list, ok := parseMailboxes(value)
		s.from = append(s.from, list...)
		s.bad = s.bad || !ok
	}
	return s
}

// trust returns a Trust for one layer that also compares the signer with the
// sender. RFC 8550, Section 3: the address in the From field MUST be one of the
// certificate's, if that has any.
func (s *sender) trust(base cms.Trust, layer *Layer) cms.Trust {
	return cms.TrustFunc(func(req *cms.TrustRequest) error {
		if err := base.TrustSigner(req); err != nil {
			return err
		}
		switch {
		case s.fields == 0:
			layer.Warnings = append(layer.Warnings, &UncheckedSenderError{What: "the message has no From field"})
			return nil
		case len(req.Certificate.Emails) == 0:
			layer.Warnings = append(layer.Warnings, &UncheckedSenderError{What: "the signer's certificate has no mail address"})
			return nil
		case s.fields == 1 && !s.bad && len(s.from) == 1 && req.Certificate.HasEmail(s.from[0].address):
			return nil
		}
		e := &SenderError{Addresses: req.Certificate.Emails}
		for _, m := range s.from {
			e.From = append(e.From, m.address)
		}
		return e
	})
}

// displayName returns a *DisplayNameError when a name shows another address
// than the one that counts.
func (s *sender) displayName() error {
	for _, m := range s.from {
		name := m.name
		if decoded, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
			name = decoded
		}
		if strings.ContainsAny(name, "@＠﹫") && !strings.EqualFold(strings.Trim(name, " '\"<>"), m.address) {
			return &DisplayNameError{Name: name, Address: m.address}
		}
	}
	return nil
}
