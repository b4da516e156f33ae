package tls

import (
	"encoding"
	"fmt"
	"strings"
)

// A Protocol is an application protocol that TLS is used with.
type Protocol int

// The protocols. Their zero value is none of them, so that forgetting to say
// which is an error.
const (
	SMTP        Protocol = iota + 1 // RFC 5321, RFC 3207; submission too
	LMTP                            // RFC 2033, RFC 3207
	IMAP                            // RFC 9051 and RFC 3501
	POP3                            // RFC 1939, RFC 2595
	ManageSieve                     // RFC 5804
	LDAP                            // RFC 4511; client alone
	XMPP                            // RFC 6120, client to server; client alone
)

// protocols has what differs between protocols, indexed by Protocol.
var protocols = [...]struct {
	name string
	alpn string // RFC 7301 identifier, or "" if none is in use
	tls  Next   // what comes after a TLS handshake that began the connection
	up   Next   // what comes after an upgrade
}{
	SMTP:        {"smtp", "smtp", NextGreeting, NextHello},
	LMTP:        {"lmtp", "", NextGreeting, NextHello},
	IMAP:        {"imap", "imap", NextGreeting, NextCommand},
	POP3:        {"pop3", "pop3", NextGreeting, NextCommand},
	ManageSieve: {"managesieve", "managesieve", NextGreeting, NextGreeting},
	LDAP:        {"ldap", "", NextCommand, NextCommand},
	XMPP:        {"xmpp", "xmpp-client", NextStream, NextStream},
}

func (p Protocol) valid() bool { return p > 0 && int(p) < len(protocols) }

// String returns the protocol's name in lower case, such as "smtp".
func (p Protocol) String() string {
	if !p.valid() {
		return fmt.Sprintf("Protocol(%d)", int(p))
	}
	return protocols[p].name
}

// ALPN returns the identifier that the protocol has in application-layer
// protocol negotiation (RFC 7301), or "" for LMTP and LDAP, which have none.
// "smtp" is what mail servers use; it was not registered by IANA when this was
// written. The others are.
func (p Protocol) ALPN() string {
	if !p.valid() {
		return ""
	}
	return protocols[p].alpn
}

// ParseProtocol returns the protocol with a name; upper and lower case are the
// same, and "sieve", "submission" and "xmpp-client" are known too. The error is
// a *ConfigError.
func ParseProtocol(name string) (Protocol, error) {
	name = strings.ToLower(name)
	switch name {
	case "sieve":
		return ManageSieve, nil
	case "submission":
		return SMTP, nil
	case "xmpp-client":
		return XMPP, nil
	}
	for p := SMTP; p.valid(); p++ {
		if protocols[p].name == name {
			return p, nil
		}
	}
	return 0, &ConfigError{Field: "Protocol", Problem: fmt.Sprintf("%q is not known", name)}
}

// A Mode says how a connection comes to TLS.
type Mode int

const (
	// Implicit is TLS from the first octet (RFC 8314, Section 3).
	Implicit Mode = iota
	// StartTLS is an upgrade in the protocol, which is required: there is no
	// way back to plaintext.
	StartTLS
	// OpportunisticStartTLS upgrades if the server says it can, and goes on in
	// plaintext if it says it cannot: whoever can change what is on the wire can
	// have all of it (RFC 7435). What fails once the handshake has begun is an
	// error here too. It is for clients alone, and not for XMPP.
	OpportunisticStartTLS
	// InsecurePlaintext is no TLS at all.
	InsecurePlaintext
)

var modes = [...]string{
	Implicit: "implicit", StartTLS: "starttls",
	OpportunisticStartTLS: "opportunistic-starttls", InsecurePlaintext: "insecure-plaintext",
}

func (m Mode) valid() bool { return m >= 0 && int(m) < len(modes) }

// String returns the mode's name: "implicit", "starttls",
// "opportunistic-starttls" or "insecure-plaintext".
func (m Mode) String() string {
	if !m.valid() {
		return fmt.Sprintf("Mode(%d)", int(m))
	}
	return modes[m]
}

// ParseMode returns the mode with the name that String gives it. The error is a
// *ConfigError.
func ParseMode(name string) (Mode, error) {
	for m, known := range modes {
		if strings.EqualFold(name, known) {
			return Mode(m), nil
		}
	}
	return 0, &ConfigError{Field: "Mode", Problem: fmt.Sprintf("%q is not known", name)}
}

// ALPN says what is made of application-layer protocol negotiation (RFC 7301),
// which keeps a connection for one protocol from being led to a server for
// another with the same certificate (the ALPACA attack). A peer that negotiates
// another protocol is refused in any case.
type ALPN int

const (
	// ALPNOffer names the protocol, and accepts a peer that knows nothing of
	// ALPN, as many mail servers and programs do not.
	ALPNOffer ALPN = iota
	// ALPNRequire refuses a peer that does not negotiate the protocol.
	ALPNRequire
	// ALPNOff leaves cryptotls.Config.NextProtos as it is.
	ALPNOff
)

// Next says what the protocol layer has to do with a new [Session].
type Next int

const (
	// NextGreeting: the server greets. In ManageSieve that is its capabilities,
	// which come again, unasked, after an upgrade (RFC 5804, Section 2.2).
	NextGreeting Next = iota + 1
	// NextHello: no greeting comes. The client says EHLO or LHLO (again) and the
	// server forgets what was said before (RFC 3207, Section 4.2).
	NextHello
	// NextCommand: no greeting comes. The client gives a command, and asks for
	// capabilities anew if it wants to know them (RFC 9051, Section 6.2.1;
	// RFC 2595, Section 4).
	NextCommand
	// NextStream: the client opens a new XML stream (RFC 6120, Section 5.4.3.3).
	NextStream
)

var nexts = [...]string{NextGreeting: "greeting", NextHello: "hello", NextCommand: "command", NextStream: "stream"}

// String returns "greeting", "hello", "command" or "stream".
func (n Next) String() string {
	if n <= 0 || int(n) >= len(nexts) {
		return fmt.Sprintf("Next(%d)", int(n))
	}
	return nexts[n]
}

// MarshalText returns the name of the protocol.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes what [ParseProtocol] takes.
func (p *Protocol) UnmarshalText(text []byte) (err error) {
	*p, err = ParseProtocol(string(text))
	return err
}

// MarshalText returns the name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes what [ParseMode] takes.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

var (
	_ encoding.TextUnmarshaler = (*Protocol)(nil)
	_ encoding.TextUnmarshaler = (*Mode)(nil)
)
