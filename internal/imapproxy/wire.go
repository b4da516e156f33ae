package imapproxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Limits of what the two sides may say.
const (
	maxCommandLine  = 64 << 10 // octets of a client's line
	maxResponseLine = 4 << 20  // octets of a server's line, without its literals
	maxHeld         = 64 << 10 // octets of a command that is read as a whole
	wireBuffer      = 32 << 10
)

// Errors of the two sides.
var (
	// ErrTooLong says that a line is longer than allowed.
	ErrTooLong = errors.New("a line is too long")
	// ErrSyntax says that what came is not IMAP.
	ErrSyntax = errors.New("this is not IMAP")
)

// readLine reads a line with its end, of at most max octets. The result is valid
// until br is read again, unless the line is longer than its buffer.
func readLine(br *bufio.Reader, max int) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err == nil {
		if len(line) > max {
			return nil, ErrTooLong
		}
		return line, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	whole := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(whole) > max {
			return nil, ErrTooLong
		}
		line, err = br.ReadSlice('\n')
		whole = append(whole, line...)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && len(whole) > max {
		err = ErrTooLong
	}
	return whole, err
}

// A literal is what a line announces at its end (RFC 3501, Section 4.3; RFC
// 7888; RFC 3516 for the tilde).
type literal struct {
	size    int64
	waiting bool // the sender waits for a continuation (client to server alone)
}

// literalAt finds the literal that a line ends with. Braces in a quoted string
// are text.
func literalAt(line []byte) (literal, bool) {
	text := trimEnd(line)
	if len(text) == 0 || text[len(text)-1] != '}' || inQuotes(text) {
		return literal{}, false
	}
	open := bytes.LastIndexByte(text, '{')
	if open < 0 {
		return literal{}, false
	}
	digits := text[open+1 : len(text)-1]
	l := literal{waiting: true}
	if n := len(digits); n > 0 && (digits[n-1] == '+' || digits[n-1] == '-') {
		digits, l.waiting = digits[:n-1], false
	}
	if len(digits) == 0 || len(digits) > 18 {
		return literal{}, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return literal{}, false
		}
	}
	size, err := strconv.ParseInt(string(digits), 10, 64)
	l.size = size
	return l, err == nil
}

// inQuotes reports whether the end of a line is inside a quoted string.
func inQuotes(text []byte) bool {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '\\' && quoted:
			i++
		}
	}
	return quoted
}

// cutWord returns the first word of a line and what follows its blank.
func cutWord(line []byte) (word string, rest []byte) {
	first, rest := cutBytes(line)
	return string(first), rest
}

// cutBytes is cutWord within the line.
func cutBytes(line []byte) (word, rest []byte) {
	line = trimEnd(line)
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i+1:]
	}
	return line, nil
}

// trimEnd takes the end of a line off.
func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// upper returns ASCII text in upper case.
func upper(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// statusWords begin responses with text for people, which has no literals.
var statusWords = map[string]bool{"OK": true, "NO": true, "BAD": true, "BYE": true, "PREAUTH": true}
