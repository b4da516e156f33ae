package tls

import (
	"bytes"
	"strings"
)

// smtp is the dialogue of SMTP and, with LHLO, of LMTP (RFC 3207, Section 4).
func (c *client) smtp(w *wire) error {
	w.step = stepGreeting
	greeting, err := w.smtpReply("220")
	if err != nil {
		return err
	}
	first := printable(greeting[0])
	hello := "EHLO "
	if c.Protocol == LMTP {
		hello = "LHLO " // RFC 2033, Section 4.1
	}
	if err = w.send(stepCapabilities, hello+c.LocalName+"\r\n"); err != nil {
		return err
	}
	lines, err := w.smtpReply("250")
	if err != nil {
		return err
	}
	if !offersLine(lines[1:], "STARTTLS") {
		return &NotOfferedError{c.Protocol, first}
	}
	if err = w.send(stepStartTLS, "STARTTLS\r\n"); err != nil {
		return err
	}
	_, err = w.smtpReply("220")
	return err
}

// smtpReply reads a reply of one or more lines and returns their texts (RFC
// 5321, Section 4.2.1). A code other than the one wanted is a refusal.
func (w *wire) smtpReply(want string) ([][]byte, error) {
	var texts [][]byte
	for code := ""; ; {
		line, err := w.line()
		if err != nil {
			return nil, err
		}
		if len(texts) >= maxLines {
			return nil, w.fail(ErrTooLong, line)
		}
		if len(line) < 3 || !digits(line[:3]) || len(line) > 3 && line[3] != ' ' && line[3] != '-' ||
			code != "" && code != string(line[:3]) {
			return nil, w.fail(ErrSyntax, line)
		}
		code = string(line[:3])
		texts = append(texts, bytes.Clone(line[min(4, len(line)):]))
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		switch {
		case code == want:
			return texts, nil
		case w.step == stepStartTLS && code != "421":
			// RFC 3207, Section 4: 454 and 501; RFC 5321 has more.
			return nil, w.fail(errDeclined, line)
		}
		return nil, w.fail(ErrRefused, line)
	}
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// offersLine reports whether a line has a keyword as its first word.
func offersLine(lines [][]byte, keyword string) bool {
	for _, line := range lines {
		word, _, _ := bytes.Cut(line, []byte(" "))
		if strings.EqualFold(string(word), keyword) {
			return true
		}
	}
	return false
}
