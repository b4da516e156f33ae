package config

import (
	"fmt"
	"strings"
)

// An Error says what is wrong with one key of a configuration.
type Error struct {
	File string
	Line int    // the first is 1; 0 where it is not known
	Key  string // such as "listener[0].mode"; "" when it is about the syntax
	Want string // what is wrong, and what was expected
}

// Error returns a sentence for people.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Want)
	return b.String()
}

// Errors are all that is wrong with a file, at least one, by their lines.
type Errors []*Error

// Error returns a line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}
