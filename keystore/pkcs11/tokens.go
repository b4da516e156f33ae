package pkcs11

import (
	"errors"
	"sync"

	"github.com/postseal/postseal/keystore"
)

// Tokens are the tokens that a program uses, for programs that get to know by
// URIs, beside the names of files, where identities are. The zero value has no
// tokens, and the options that are nil. Its methods may be called by several
// goroutines. It must not be copied.
//
//	tokens := &pkcs11.Tokens{}
//	defer tokens.Close()
//	...
//	if pkcs11.Is(name) {
//		ids, err = tokens.Identities(name, ask)
//	} else {
//		ids, err = keystore.Load(name, data, ask)
//	}
type Tokens struct {
	// Options are those of Open. Their PIN is not looked at.
	Options Options

	mu     sync.Mutex
	closed bool
	open   []*Token
}

// Identities opens the token that a URI names and returns the identities on it
// that the URI names, as [Token.Identities] does. Their keys can be used until
// Close. pin is asked for the PIN now, and later when the token was taken out or
// a key wants the PIN for each use; nil: there is nobody to ask. The error is a
// [*SyntaxError] or a [*keystore.FileError]; it wraps
// [keystore.ErrPassphraseNeeded] where pin says so, and then nothing is left
// open, so that a program can put the question off and come again.
func (s *Tokens) Identities(uri string, pin keystore.Passphrase) ([]keystore.Identity, error) {
	opts := s.Options
	opts.PIN = pin
	token, err := Open(uri, &opts)
	if err != nil {
		return nil, err
	}
	ids, err := token.Identities()
	if err == nil {
		err = s.keep(token)
	}
	if err != nil {
		// What went wrong first is what has to be told.
		_ = token.Close()
		return nil, err
	}
	return ids, nil
}

func (s *Tokens) keep(token *Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fileError(token.uri, ErrClosed)
	}
	s.open = append(s.open, token)
	return nil
}

// Close closes all tokens. The keys cannot be used any more. Closing again does
// nothing.
func (s *Tokens) Close() error {
	s.mu.Lock()
	tokens := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	var errs []error
	for _, token := range tokens {
		errs = append(errs, token.Close())
	}
	return errors.Join(errs...)
}
