package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Errors that an [*Error] wraps.
var (
	// ErrNotStore says that a file is no store of certificates.
	ErrNotStore = errors.New("this is not a certificate store")
	// ErrDamaged says that what a store holds is not what was written to it.
	ErrDamaged = errors.New("the store is damaged")
	// ErrBusy says that another process was writing for too long.
	ErrBusy = errors.New("another process is writing to the store")
	// ErrExposed says that others than the owner may read or write the file.
	ErrExposed = errors.New("others may read or write this file; its mode has to be 0600")
	// ErrFolder says that everybody may write to the folder of the file, and so
	// put other files in the place of those of the store.
	ErrFolder = errors.New("everybody may write to the folder of this file")
	// ErrNotFound says that the store does not have what was asked for.
	ErrNotFound = errors.New("the store does not have it")
	// ErrWrapper says that the data key is kept in another way than that of
	// Options.Key.
	ErrWrapper = errors.New("the key of the store is kept in another way")
	// ErrChanged says that another process changed the same thing meanwhile.
	ErrChanged = errors.New("another process has changed it meanwhile")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// Errors of Harvest.
var (
	// ErrNotTrusted says that a signature is not good, or its signer not
	// trusted, so that nothing was learned from it.
	ErrNotTrusted = errors.New("the signer is not trusted")
	// ErrNotSender says that a signer's certificate is not for the address.
	ErrNotSender = errors.New("the signer's certificate is for another address")
)

// An Error says what could not be done with a store.
type Error struct {
	Path string // of the store
	Op   string // such as "opening"
	// Kind is one of the errors of this package, or nil.
	Kind error
	// Err is the underlying error, or nil.
	Err error
}

// Error returns a sentence for people.
func (e *Error) Error() string {
	parts := []string{e.Op + " " + e.Path}
	for _, err := range e.Unwrap() {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns Kind and Err, those that are not nil.
func (e *Error) Unwrap() []error {
	var out []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// A NewerError says that a newer version of the program has written a store.
type NewerError struct {
	Version int // of the store's schema
	Known   int // the newest that this program knows
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the store has version %d, and this program knows versions up to %d: a newer program wrote it", e.Version, e.Known)
}

// A NoIdentityError says that no identity can be used for an address.
type NoIdentityError struct {
	Address string
	// Rejected are the identities that have the address, and why they are not
	// used; the newest first.
	Rejected []Rejection
}

// A Rejection says why a certificate is not used.
type Rejection struct {
	Certificate *pki.Certificate
	Err         *keystore.UnusableError
}

// Error returns a sentence for people, with the first of the reasons.
func (e *NoIdentityError) Error() string {
	text := "there is no identity for " + e.Address
	if len(e.Rejected) == 0 {
		return text
	}
	return fmt.Sprintf("%s that can be used: the certificate of %q %v", text, e.Rejected[0].Certificate.Subject(), e.Rejected[0].Err)
}

// Unwrap returns ErrNotFound.
func (e *NoIdentityError) Unwrap() error { return ErrNotFound }

// fail wraps an error with the path and an operation, once, and names its kind.
func (s *Store) fail(op string, err error) error {
	var known *Error
	var file *keystore.FileError
	var none *NoIdentityError
	switch {
	case err == nil, errors.As(err, &known), errors.As(err, &file), errors.As(err, &none):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Path: s.path, Op: op, Err: err}
	}
	for _, kind := range []error{ErrNotStore, ErrDamaged, ErrBusy, ErrExposed, ErrFolder, ErrNotFound, ErrWrapper, ErrChanged, ErrClosed, ErrNotTrusted, ErrNotSender, ErrRejected} {
		if errors.Is(err, kind) {
			return &Error{Path: s.path, Op: op, Err: err}
		}
	}
	return &Error{Path: s.path, Op: op, Kind: kindOf(err), Err: err}
}

// kindOf translates the database's errors.
func kindOf(err error) error {
	switch {
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
		return ErrBusy
	case errors.Is(err, sqlite3.NOTADB):
		return ErrNotStore
	case errors.Is(err, sqlite3.CORRUPT):
		return ErrDamaged
	}
	return nil
}
