package tls

import (
	"bytes"
	"strings"
)

// pop3 is the dialogue of POP3 (RFC 2595, Section 4; RFC 2449, Section 5).
func (c *client) pop3(w *wire) error {
	w.step = stepGreeting
	greeting, err := w.pop3Status()
	if err != nil {
		return err
	}
	first := printable(greeting)
	if err = w.send(stepCapabilities, "CAPA\r\n"); err != nil {
		return err
	}
	offered, err := w.pop3Capabilities()
	if err != nil {
		return err
	}
	if !offered {
		return &NotOfferedError{c.Protocol, first}
	}
	if err = w.send(stepStartTLS, "STLS\r\n"); err != nil {
		return err
	}
	_, err = w.pop3Status()
	return err
}

// pop3Status reads a status line (RFC 1939, Section 3).
func (w *wire) pop3Status() ([]byte, error) {
	line, err := w.line()
	if err != nil {
		return nil, err
	}
	word, _, _ := bytes.Cut(line, []byte(" "))
	switch {
	case strings.EqualFold(string(word), "+OK"):
		return line, nil
	case !strings.EqualFold(string(word), "-ERR"):
		return nil, w.fail(ErrSyntax, line)
	case w.step == stepStartTLS:
		return nil, w.fail(errDeclined, line)
	}
	return nil, w.fail(ErrRefused, line)
}

// pop3Capabilities reads the reply to CAPA and reports whether it has STLS. A
// server that does not know CAPA has not got it.
func (w *wire) pop3Capabilities() (offered bool, err error) {
	line, err := w.line()
	if err != nil {
		return false, err
	}
	word, _, _ := bytes.Cut(line, []byte(" "))
	if strings.EqualFold(string(word), "-ERR") {
		return false, nil
	}
	if !strings.EqualFold(string(word), "+OK") {
		return false, w.fail(ErrSyntax, line)
	}
	for range maxLines {
		if line, err = w.line(); err != nil {
			return false, err
		}
		if string(line) == "." {
			return offered, nil
		}
		offered = offered || offersLine([][]byte{line}, "STLS")
	}
	return false, w.fail(ErrTooLong, line)
}
