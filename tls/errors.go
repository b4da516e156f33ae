package tls

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What a *ProtocolError wraps. An error of the connection or of the context is
// wrapped as it is, and io.ErrUnexpectedEOF where the peer has gone.
var (
	// ErrRefused: the peer answered with a refusal.
	ErrRefused = errors.New("refused by the peer")
	// ErrSyntax: what the peer sent is not of the protocol.
	ErrSyntax = errors.New("not of the protocol")
	// ErrTooLong: the peer sent more than the limits of the dialogue allow.
	ErrTooLong = errors.New("longer than allowed")
	// ErrPreauth: an IMAP server greeted with PREAUTH, which leaves no room for
	// STARTTLS (RFC 9051, Section 7.1.4).
	ErrPreauth = errors.New("greeted with PREAUTH, after which there is no STARTTLS")
	// ErrLiteral: the peer sent a literal where none has a place before TLS.
	ErrLiteral = errors.New("a literal has no place before TLS")
	// ErrNoStartTLS: the client left, or tried too often to go on, without
	// asking for TLS.
	ErrNoStartTLS = errors.New("the client did not ask for TLS")
)

// ErrStartTLSNotOffered is what a *NotOfferedError is.
var ErrStartTLSNotOffered = errors.New("STARTTLS is not offered")

// ErrALPN is wrapped by a *HandshakeError when the peer did not negotiate the
// protocol and [ALPNRequire] is set.
var ErrALPN = errors.New("the peer does not negotiate the application protocol (ALPN)")

// A ConfigError is a caller's mistake. It is found before anything is sent.
type ConfigError struct {
	Field   string // of the configuration
	Problem string
}

func (e *ConfigError) Error() string { return "tls: " + e.Field + ": " + e.Problem }

// A NotOfferedError says that a server does not offer STARTTLS, or that
// somebody on the way has removed the offer. It wraps [ErrStartTLSNotOffered].
type NotOfferedError struct {
	Protocol Protocol
	// Greeting is the first line of the server's greeting, made printable and at
	// most 512 octets long; nobody vouches for it. It is empty for LDAP and XMPP.
	Greeting string
}

func (e *NotOfferedError) Error() string {
	return fmt.Sprintf("tls: %s: %v; the server greeted with %q", e.Protocol, ErrStartTLSNotOffered, e.Greeting)
}

// Unwrap returns [ErrStartTLSNotOffered].
func (e *NotOfferedError) Unwrap() error { return ErrStartTLSNotOffered }

// A ProtocolError says that the dialogue before the handshake failed.
type ProtocolError struct {
	Protocol Protocol
	// Step is what was expected: "greeting", "capabilities", "starttls", or for
	// a server "command".
	Step string
	// Reply is what the peer sent, made printable and at most 512 octets long;
	// nobody vouches for it. It may be empty.
	Reply string
	// Err is the cause.
	Err error
}

func (e *ProtocolError) Error() string {
	s := fmt.Sprintf("tls: %s: %s: %v", e.Protocol, e.Step, e.Err)
	if e.Reply != "" {
		s += fmt.Sprintf(": %q", e.Reply)
	}
	return s
}

// Unwrap returns the cause.
func (e *ProtocolError) Unwrap() error { return e.Err }

// An InjectionError says that octets came that must not have come: behind the
// last line before the handshake, or before they were asked for. Had they been
// kept, they would have counted as protected by TLS. (CVE-2011-0411 and many
// like it.)
type InjectionError struct {
	Protocol Protocol
	// Step is what had been read when more was there, as in [ProtocolError].
	Step string
	// Octets is how many were seen; there may have been more. They are not kept.
	Octets int
}

func (e *InjectionError) Error() string {
	return fmt.Sprintf("tls: %s: %d octets came unasked after %s, before TLS: injected or out of turn", e.Protocol, e.Octets, e.Step)
}

// A HandshakeError says that the TLS handshake failed. The connection is closed.
type HandshakeError struct {
	Protocol Protocol // zero if it is not known
	// Err is the cause: of crypto/tls, crypto/x509, the context, or [ErrALPN].
	Err error
}

func (e *HandshakeError) Error() string {
	s := fmt.Sprintf("tls: %s: handshake: %v", e.Protocol, e.Err)
	if !e.Protocol.valid() {
		s = fmt.Sprintf("tls: handshake: %v", e.Err)
	}
	if advice := Advice(e.Err); advice != "" {
		s += " (" + advice + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// quote is how many octets of what a peer said stand in an error.
const quote = 512

// printable makes what a peer sent fit for errors and logs.
func printable(b []byte) string {
	cut := len(b) > quote
	if cut {
		b = b[:quote]
	}
	s := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.TrimRight(string(b), "\r\n"))
	for len(s) > quote {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
