package smtpproxy

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/outgoing"
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

// oneLine returns text for a reply.
func oneLine(text string) string { return outgoing.OneLine(text) }

// explain translates why a message or a recipient is not taken into a reply, and
// tells the log of it.
func (s *session) explain(err error) *smtp.SMTPError {
	if errors.Is(err, smtp.ErrDataTooLarge) {
		err = outgoing.ErrTooLarge
	}
	a := outgoing.Explain(err)
	s.p.log().Info("mail refused", "account", s.account, "code", a.Code, "reason", err)
	code, _ := cutEnhanced(a.Enhanced)
	return &smtp.SMTPError{Code: a.Code, EnhancedCode: code, Message: strings.Join(a.Lines, "\n")}
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

// printable replaces control characters within a line: go-smtp repeats what a
// client has said, and a CR could make two replies of one.
func printable(line []byte) {
	for i, c := range bytes.TrimSuffix(line, []byte("\r\n")) {
		if c < ' ' || c == 0x7f {
			line[i] = '?'
		}
	}
}

// enhance gives all lines of a reply the enhanced status code of the last one.
func enhance(lines [][]byte) {
	last := string(lines[len(lines)-1])
	if len(last) < 4 {
		return
	}
	if code, _ := cutEnhanced(last[4:]); code[0] == 0 {
		return
	}
	enhanced, _, _ := strings.Cut(last[4:], " ")
	for i, line := range lines[:len(lines)-1] {
		if len(line) > 4 {
			lines[i] = slices.Concat(line[:4], []byte(enhanced+" "), line[4:])
		}
	}
}
