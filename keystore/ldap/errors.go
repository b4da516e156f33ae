package ldap

import (
	"errors"
	"fmt"
)

// Errors of a [Finder], within a [*keystore.SourceError].
var (
	// ErrCredentials says that the directory refused the name or the password.
	ErrCredentials = errors.New("the directory refused the name or the password")
	// ErrReferral says that the directory has no certificate and refers to others,
	// which were not asked.
	ErrReferral = errors.New("the directory refers to others, which are not asked")
	// ErrMalformed says that an answer is not LDAP.
	ErrMalformed = errors.New("the answer is not LDAP")
	// ErrClosed says that the directory closed the connection before it had
	// answered.
	ErrClosed = errors.New("the directory closed the connection before it had answered")
)

// A ConfigError says what is wrong with [Options], or with an URL.
type ConfigError struct {
	Field   string // of Options
	Problem string // the rest of a sentence that begins with the field
}

func (e *ConfigError) Error() string { return "ldap: " + e.Field + " " + e.Problem }

// A ResultError is a result code other than success (RFC 4511, Section 4.1.9).
type ResultError struct {
	Code uint16
	Name string // of the code, in words
	// Text is what the directory says of it, not more than 200 characters of it;
	// nobody vouches for it. It is empty for a bind.
	Text string
}

func (e *ResultError) Error() string {
	text := fmt.Sprintf("the directory answered %q (%d)", e.Name, e.Code)
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// A LimitError says that an answer exceeds a limit, or that the directory says
// that it exceeds one of its own. What was found until then is not all.
type LimitError struct {
	Limit string // what is exceeded
}

func (e *LimitError) Error() string { return "the answer exceeds the limit of " + e.Limit }
