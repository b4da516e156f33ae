package smtpproxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
)

// temporary returns a reply of 451.
func temporary(enhanced, text string) *smtp.SMTPError {
	code, _ := cutEnhanced(enhanced + " ")
	return &smtp.SMTPError{Code: 451, EnhancedCode: code, Message: oneLine(text)}
}

// permanent returns a reply of 554 or another code.
func permanent(code int, enhanced, text string) *smtp.SMTPError {
	e, _ := cutEnhanced(enhanced + " ")
	return &smtp.SMTPError{Code: code, EnhancedCode: e, Message: oneLine(text)}
}

// oneLine returns text for a reply: printable US-ASCII, and not too long.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 400)]
}

// explain translates why a message or a recipient is not taken into a reply. What
// is not known is temporary: the client has the message still.
func (s *session) explain(err error) *smtp.SMTPError {
	if r, ok := errors.AsType[*smtp.SMTPError](err); ok {
		if errors.Is(err, smtp.ErrDataTooLarge) {
			err = outgoing.ErrTooLarge
		} else {
			return r
		}
	}
	if u, ok := errors.AsType[*outgoing.UnavailableError](err); ok {
		s.p.log().Warn("something is not available", "what", u.What, "error", u.Err)
		return temporary("4.7.5", u.What)
	}
	if r, ok := errors.AsType[*policy.Refusal](err); ok {
		s.p.log().Info("recipient refused", "recipient", r.Recipient, "reason", r.Error())
		return permanent(550, "5.7.5", r.Error())
	}
	if r, ok := errors.AsType[*outgoing.RefusedError](err); ok {
		return refusalReply(r.Refusals)
	}
	if w, ok := errors.AsType[*outgoing.WishError](err); ok {
		return permanent(554, "5.6.0", w.Error())
	}
	switch {
	case errors.Is(err, outgoing.ErrTooLarge):
		return permanent(552, "5.3.4", "The message is too large")
	case errors.Is(err, mimeraw.ErrHeaderTooLong):
		return permanent(554, "5.6.0", "The header of the message is too long")
	case errors.Is(err, outgoing.ErrClearReply):
		return permanent(550, "5.7.5", err.Error())
	}
	s.p.log().Warn("a message was not received", "error", err)
	return temporary("4.3.0", "The message could not be received whole")
}

// refusalReply is the reply to a message that cannot go out as the policy asks.
func refusalReply(refusals []*policy.Refusal) *smtp.SMTPError {
	var lines []string
	for _, r := range refusals {
		lines = append(lines, oneLine(r.Error()))
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and for %d more", len(lines)-most))
	}
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 5}, Message: strings.Join(lines, "\n")}
}

// forClient returns a reply of the upstream as one to the client.
func (r *Reply) forClient() *smtp.SMTPError {
	e := &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.EnhancedCode{r.Code / 100, 0, 0}}
	if class := r.Code / 100; class != 2 && class != 4 && class != 5 {
		// Something else was to come: it is not the client's fault.
		e.Code, e.EnhancedCode = 451, smtp.EnhancedCode{4, 3, 0}
	}
	text := make([]string, len(r.Lines))
	for i, line := range r.Lines {
		var code smtp.EnhancedCode
		code, text[i] = cutEnhanced(line)
		if code[0] == e.Code/100 {
			e.EnhancedCode = code
		}
	}
	e.Message = strings.Join(text, "\n")
	return e
}

// cutEnhanced splits a line into its enhanced status code (RFC 2034) and the
// rest. Without one the code is zero.
func cutEnhanced(line string) (smtp.EnhancedCode, string) {
	first, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 {
		return smtp.EnhancedCode{}, line
	}
	var code smtp.EnhancedCode
	for i, part := range parts {
		if part == "" || len(part) > 3 {
			return smtp.EnhancedCode{}, line
		}
		for _, c := range part {
			if c < '0' || c > '9' {
				return smtp.EnhancedCode{}, line
			}
			code[i] = code[i]*10 + int(c-'0')
		}
	}
	return code, rest
}
