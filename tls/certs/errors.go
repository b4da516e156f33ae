package certs

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// What a *LoadError wraps, besides errors of the file system and of package
// keystore.
var (
	// ErrExpired: the certificate is not valid any more, or not yet.
	ErrExpired = errors.New("the certificate is not in its time of validity")
	// ErrKeyType: crypto/tls cannot use the key or the certificate.
	ErrKeyType = errors.New("TLS cannot use keys or certificates of this kind")
	// ErrNoStaple: the certificate demands a stapled OCSP response (RFC 7633), and
	// there is none.
	ErrNoStaple = errors.New("the certificate demands a stapled OCSP response, and there is none")
	// ErrTooLarge: a file or an answer is larger than allowed.
	ErrTooLarge = errors.New("larger than allowed")
)

// ErrExposed is told of a file with a key that everybody may read.
var ErrExposed = errors.New("everybody on this host can read the key")

// errNotYet is an ErrExpired that passes.
var errNotYet = fmt.Errorf("%w yet", ErrExpired)

// What a *ClientError wraps, besides a *pki.ChainError and the errors of
// pki.Revocation.
var (
	// ErrNoCertificate: the client has shown none.
	ErrNoCertificate = errors.New("the client has shown no certificate")
	// ErrNoAccount: the certificate is good and is no account's.
	ErrNoAccount = errors.New("no account belongs to the certificate")
	// ErrPurpose: the certificate, or one of its authorities, is not meant for the
	// authentication of clients.
	ErrPurpose = errors.New("the certificate is not meant for the authentication of clients")
)

// A ConfigError is a mistake of the caller.
type ConfigError struct {
	Field   string // of the options
	Problem string
}

func (e *ConfigError) Error() string { return "certs: " + e.Field + ": " + e.Problem }

// A LoadError says why a file was not taken.
type LoadError struct {
	File string // the file with the certificate
	Err  error
}

func (e *LoadError) Error() string { return fmt.Sprintf("certs: %s: %v", e.File, e.Err) }

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// A StapleError says why there is no new OCSP response to staple. It wraps a
// *pki.RevokedError when the certificate has been revoked.
type StapleError struct {
	Responder string // its URL, or "" if the certificate names none
	Err       error
}

func (e *StapleError) Error() string {
	return printable(fmt.Sprintf("certs: OCSP response from %q: %v", e.Responder, e.Err))
}

// Unwrap returns the cause.
func (e *StapleError) Unwrap() error { return e.Err }

// An ACMEError says why a certificate was not obtained. It wraps an acme.Problem
// of github.com/mholt/acmez/v3/acme where the server says so.
type ACMEError struct {
	Names []string // that were asked for
	Err   error
}

func (e *ACMEError) Error() string {
	return printable(fmt.Sprintf("certs: ACME for %s: %v", strings.Join(e.Names, ", "), e.Err))
}

// Unwrap returns the cause.
func (e *ACMEError) Unwrap() error { return e.Err }

// A ClientError says why a client's certificate does not count.
type ClientError struct {
	Subject string // as in pki.Certificate.Subject, or "" without a certificate
	Err     error
}

func (e *ClientError) Error() string {
	if e.Subject == "" {
		return "certs: " + e.Err.Error()
	}
	return printable(fmt.Sprintf("certs: the client's certificate %q: %v", e.Subject, e.Err))
}

// Unwrap returns the cause.
func (e *ClientError) Unwrap() error { return e.Err }

// maxText bounds what a server says in an error, in octets.
const maxText = 2000

// printable makes a text that may have a peer's words in it fit for a log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxText)]
}
