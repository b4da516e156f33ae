package outgoing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/policy"
)

// An Answer is how a mail server says no (RFC 5321, Section 4.2; RFC 3463).
type Answer struct {
	Code     int
	Enhanced string
	// Lines are at least one, of printable US-ASCII, each at most 400 octets.
	Lines []string
}

// maxLines bounds an Answer.
const maxLines = 20

// Explain translates an error of a Sealer into an answer for the sender. What is
// not known is temporary: the sender has the message still.
func Explain(err error) Answer {
	if u, ok := errors.AsType[*UnavailableError](err); ok {
		return answer(451, "4.7.5", u.What)
	}
	if r, ok := errors.AsType[*policy.Refusal](err); ok {
		return answer(550, "5.7.5", r.Error())
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return answer(550, "5.7.5", r.Error())
	}
	if c, ok := errors.AsType[*policy.ConflictError](err); ok {
		return answer(550, "5.7.5", c.Error())
	}
	if w, ok := errors.AsType[*WishError](err); ok {
		return answer(554, "5.6.0", w.Error())
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return answer(552, "5.3.4", "The message is too large")
	case errors.Is(err, mimeraw.ErrHeaderTooLong):
		return answer(554, "5.6.0", "The header of the message is too long")
	case errors.Is(err, ErrHeader):
		return answer(554, "5.6.0", ErrHeader.Error())
	case errors.Is(err, ErrClearReply):
		return answer(550, "5.7.5", ErrClearReply.Error())
	}
	return answer(451, "4.3.0", "The message could not be received whole")
}

func answer(code int, enhanced, text string) Answer {
	a := Answer{Code: code, Enhanced: enhanced}
	for line := range strings.SplitSeq(text, "\n") {
		if len(a.Lines) == maxLines {
			a.Lines = append(a.Lines, fmt.Sprintf("and %d more", strings.Count(text, "\n")+1-maxLines))
			break
		}
		a.Lines = append(a.Lines, OneLine(line))
	}
	return a
}

// OneLine returns text for a reply: printable US-ASCII, and not too long.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 400)]
}
