package main

import (
	"errors"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/pkcs11"
)

// pinEnv has the PIN of a token. It is not the passphrase of files: a token locks
// itself after a few wrong ones.
const pinEnv = "SMIMETOOL_PIN"

// isToken tells the URIs of tokens from names of files.
func isToken(name string) bool { return pkcs11.Is(name) }

// token opens the token that a URI names, once; it is closed at the end.
func (a *app) token(uri string) (*pkcs11.Token, error) {
	if t := a.tokens[uri]; t != nil {
		return t, nil
	}
	pin := &secret{a: a, env: pinEnv}
	t, err := pkcs11.Open(uri, &pkcs11.Options{PIN: pin.askPIN})
	if err != nil {
		return nil, err
	}
	if a.tokens == nil {
		a.tokens = make(map[string]*pkcs11.Token)
	}
	a.tokens[uri] = t
	return t, nil
}

// askPIN is ask for tokens. What it is told of them is said as it is.
func (s *secret) askPIN(what string) ([]byte, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.given != nil {
		return s.given, nil
	}
	return s.a.prompt("PIN for " + printable(what) + ": ")
}

func (a *app) closeTokens() {
	for _, t := range a.tokens {
		_ = t.Close() // what was to be done with it is done
	}
	a.tokens = nil
}

// loadToken reads an identity whose private key is on a token; so is its
// certificate, unless it is in a file.
func (a *app) loadToken(file identityFile) ([]keystore.Identity, error) {
	if file.key == "" {
		t, err := a.token(file.cert)
		if err != nil {
			return nil, err
		}
		return t.Identities()
	}
	certs, err := a.readCerts([]string{file.cert})
	if err != nil {
		return nil, err
	}
	t, err := a.token(file.key)
	if err != nil {
		return nil, err
	}
	var out []keystore.Identity
	var none error
	for _, c := range certs {
		key, keyErr := t.Key(c)
		switch {
		case errors.Is(keyErr, keystore.ErrNoMatch):
			none = keyErr
		case keyErr != nil:
			return nil, keyErr
		default:
			out = append(out, keystore.Identity{Certificate: c, Key: key, Chain: certs})
		}
	}
	if len(out) == 0 {
		return nil, none
	}
	return out, nil
}

// explainToken is for tokens and their URIs.
func explainToken(err error, e *explanation) bool {
	if se, ok := errors.AsType[*pkcs11.SyntaxError](err); ok {
		e.code, e.message = exitUsage, printable(se.Error())
		e.hints = []string{"such URIs look like pkcs11:token=NAME?module-name=opensc-pkcs11 (RFC 7512)"}
		return true
	}
	if ke, ok := errors.AsType[*pkcs11.KeyError](err); ok {
		e.code, e.message, e.hints = exitFailure, printable(ke.Error()), []string{"is the card or the key still put in?"}
		return true
	}
	if _, ok := errors.AsType[*keystore.FileError](err); !ok {
		return false
	}
	for _, known := range []struct {
		err  error
		code int
		hint string
	}{
		{pkcs11.ErrNotBuilt, exitUsage, "the certificate and the key can also be in files: --identity FILE"},
		{pkcs11.ErrNoModule, exitUsage, "the URI names the module of the token: ?module-name=NAME or ?module-path=FILE"},
		{pkcs11.ErrNoToken, exitNoKey, "is the card or the key put in?"},
		{pkcs11.ErrSeveralTokens, exitUsage, "name one by its serial number: serial=NUMBER"},
		{pkcs11.ErrLocked, exitFailure, "who gave you the token can unlock it"},
		{pkcs11.ErrPINInURI, exitUsage, "others see it there; pin-source=file:/PATH names a file with the PIN, or set " + pinEnv},
	} {
		if errors.Is(err, known.err) {
			e.code, e.hints = known.code, []string{known.hint}
			return true
		}
	}
	return false
}
