package tls

import (
	"bytes"
	"strings"
)

// imap is the dialogue of IMAP (RFC 9051, Section 6.2.1). Untagged responses,
// response codes with capabilities and referrals (RFC 2221), and alerts are
// read and forgotten.
func (c *client) imap(w *wire) error {
	w.step = stepGreeting
	line, err := w.imapLine()
	if err != nil {
		return err
	}
	first := printable(line)
	switch untagged(line) {
	case "OK":
	case "BYE":
		return w.fail(ErrRefused, line)
	case "PREAUTH":
		// RFC 9051, Section 7.1.4: the client closes when it wants TLS.
		return w.fail(ErrPreauth, line)
	default:
		return w.fail(ErrSyntax, line)
	}
	if err = w.send(stepCapabilities, "a1 CAPABILITY\r\n"); err != nil {
		return err
	}
	offered, err := w.imapResponses("a1")
	if err != nil {
		return err
	}
	if !offered {
		return &NotOfferedError{c.Protocol, first}
	}
	if err = w.send(stepStartTLS, "a2 STARTTLS\r\n"); err != nil {
		return err
	}
	_, err = w.imapResponses("a2")
	return err
}

// imapResponses reads up to the tagged response, which must be OK, and reports
// whether there was a CAPABILITY with STARTTLS.
func (w *wire) imapResponses(tag string) (offered bool, err error) {
	var line []byte
	for range maxLines {
		if line, err = w.imapLine(); err != nil {
			return false, err
		}
		switch untagged(line) {
		case "":
			return offered, w.imapTagged(tag, line)
		case "BYE":
			return false, w.fail(ErrRefused, line)
		case "PREAUTH":
			return false, w.fail(ErrPreauth, line)
		case "CAPABILITY":
			for word := range bytes.FieldsSeq(line[2:]) {
				offered = offered || strings.EqualFold(string(word), "STARTTLS")
			}
		}
	}
	return false, w.fail(ErrTooLong, line)
}

// imapTagged judges a tagged response.
func (w *wire) imapTagged(tag string, line []byte) error {
	words := strings.SplitN(string(line), " ", 3)
	switch {
	case len(words) < 2 || words[0] != tag:
		return w.fail(ErrSyntax, line)
	case strings.EqualFold(words[1], "OK"):
		return nil
	case !strings.EqualFold(words[1], "NO") && !strings.EqualFold(words[1], "BAD"):
		return w.fail(ErrSyntax, line)
	case w.step == stepStartTLS:
		return w.fail(errDeclined, line)
	}
	return w.fail(ErrRefused, line)
}

// imapLine reads a line that is a whole response: literals, which would make
// text out of lines, are refused, and so are continuation requests.
func (w *wire) imapLine() ([]byte, error) {
	line, err := w.line()
	if err != nil {
		return nil, err
	}
	if endsInLiteral(line) {
		return nil, w.fail(ErrLiteral, line)
	}
	if bytes.HasPrefix(line, []byte("+")) {
		return nil, w.fail(ErrSyntax, line)
	}
	return line, nil
}

// untagged returns the first word of an untagged response in upper case, "" for
// others.
func untagged(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte("* "))
	if !ok {
		return ""
	}
	word, _, _ := bytes.Cut(rest, []byte(" "))
	if len(word) == 0 {
		return "?"
	}
	return strings.ToUpper(string(word))
}

// endsInLiteral reports whether a line announces a literal, {12} or {12+}
// (RFC 9051, Section 4.3; RFC 7888), or with a tilde before it (RFC 3516).
func endsInLiteral(line []byte) bool {
	rest, ok := bytes.CutSuffix(line, []byte("}"))
	if !ok {
		return false
	}
	rest = bytes.TrimRight(rest, "+-")
	number := rest[bytes.LastIndexByte(rest, '{')+1:]
	return len(number) > 0 && len(number) < len(rest) && digits(number)
}
