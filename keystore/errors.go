package keystore

import (
	"errors"

	"github.com/postseal/postseal/internal/oid"
)

// Errors that a [*FileError] wraps.
var (
	// ErrPassphrase says that the passphrase was wrong.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrPassphraseNeeded says that a file is encrypted and there was nobody to ask.
	ErrPassphraseNeeded = errors.New("a passphrase is needed")
	// ErrFormat says that a file is in no format that is known, or damaged.
	ErrFormat = errors.New("the format is not known, or the file is damaged")
	// ErrNoKey says that a file has no private key.
	ErrNoKey = errors.New("there is no private key in it")
	// ErrNoCertificate says that a file has no certificate.
	ErrNoCertificate = errors.New("there is no certificate in it")
	// ErrNoMatch says that there are keys and certificates, but no pair.
	ErrNoMatch = errors.New("the private key belongs to none of the certificates")
)

// A FileError says what is wrong with a file.
type FileError struct {
	Name string // as the caller named it
	What string // what was read or expected, such as "PKCS#12"; may be empty
	Err  error
}

// Error returns a sentence for people. For ErrPassphrase that is "wrong
// passphrase for NAME" and nothing else.
func (e *FileError) Error() string {
	if errors.Is(e.Err, ErrPassphrase) {
		return "wrong passphrase for " + e.Name
	}
	text := e.Name + ": "
	if e.What != "" {
		text += e.What + ": "
	}
	return text + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *FileError) Unwrap() error { return e.Err }

// An UnsupportedError says that a file has something that this package does
// not read.
type UnsupportedError struct {
	What string  // such as "cipher"
	OID  oid.OID // its identifier, or ""
}

func (e *UnsupportedError) Error() string {
	if e.OID == "" {
		return e.What + " is not supported"
	}
	return e.What + " " + e.OID.String() + " is not supported"
}

// A LimitError says that a file asks for more work or memory than allowed.
type LimitError struct {
	Limit string // what is exceeded
}

func (e *LimitError) Error() string { return "the file exceeds the limit of " + e.Limit }

// A SyntaxError says which part of a file is malformed.
type SyntaxError struct {
	Field string
	Err   error // may be nil
}

func (e *SyntaxError) Error() string {
	if e.Err == nil {
		return "malformed " + e.Field
	}
	return "malformed " + e.Field + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

func malformed(field string) error { return &SyntaxError{Field: field} }

// named wraps an error with the name of the file, once.
func named(name, what string, err error) error {
	var fileErr *FileError
	if err == nil || errors.As(err, &fileErr) {
		return err
	}
	return &FileError{Name: name, What: what, Err: err}
}
