package tls

import (
	"bytes"
	"strings"
)

// sieve is the dialogue of ManageSieve (RFC 5804, Section 2.2). The server
// greets with its capabilities, and sends them again after the handshake.
func (c *client) sieve(w *wire) error {
	w.step = stepGreeting
	var first string
	offered := false
	for range maxLines {
		line, err := w.sieveLine()
		if err != nil {
			return err
		}
		if first == "" {
			first = printable(line)
		}
		if bytes.HasPrefix(line, []byte(`"`)) {
			// RFC 5804, Section 1.7: names of capabilities are not case-sensitive.
			name, _, _ := bytes.Cut(line[1:], []byte(`"`))
			offered = offered || strings.EqualFold(string(name), "STARTTLS")
			continue
		}
		if err = w.sieveStatus(line); err != nil {
			return err
		}
		if !offered {
			return &NotOfferedError{c.Protocol, first}
		}
		if err = w.send(stepStartTLS, "STARTTLS\r\n"); err != nil {
			return err
		}
		if line, err = w.sieveLine(); err != nil {
			return err
		}
		return w.sieveStatus(line)
	}
	return w.fail(ErrTooLong, nil)
}

// sieveLine reads a line without a literal.
func (w *wire) sieveLine() ([]byte, error) {
	line, err := w.line()
	if err != nil {
		return nil, err
	}
	if endsInLiteral(line) {
		return nil, w.fail(ErrLiteral, line)
	}
	return line, nil
}

// sieveStatus judges OK, NO and BYE, which may have a code, such as a referral,
// in parentheses (RFC 5804, Section 1.3).
func (w *wire) sieveStatus(line []byte) error {
	word, _, _ := bytes.Cut(line, []byte(" "))
	switch strings.ToUpper(string(word)) {
	case "OK":
		return nil
	case "NO":
		if w.step == stepStartTLS {
			return w.fail(errDeclined, line)
		}
		return w.fail(ErrRefused, line)
	case "BYE":
		return w.fail(ErrRefused, line)
	}
	return w.fail(ErrSyntax, line)
}
