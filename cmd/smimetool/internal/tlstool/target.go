package tlstool

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/relay"
)

// DefaultTimeout bounds one connection up to the end of its handshake.
const DefaultTimeout = 15 * time.Second

// A Target is a server to connect to.
type Target struct {
	Host string // a domain name or an IP address
	Port uint16
	// ServerName is the name that the certificate is to have, and that the server
	// is asked for; Host when empty.
	ServerName string
	// Protocol is what the server speaks, or 0 if that is not known. With
	// StartTLS it must be.
	Protocol tls.Protocol
	StartTLS bool
	// Timeout is DefaultTimeout when zero.
	Timeout time.Duration
}

// A TargetError says that something is no target.
type TargetError struct{ Msg string }

// Error says what is wrong with it.
func (e *TargetError) Error() string { return e.Msg }

// A wellKnown is what servers speak at a port.
type wellKnown struct {
	protocol tls.Protocol
	startTLS bool
}

// ports are the ports of the protocols: RFC 8314, and IANA's registry.
var ports = map[uint16]wellKnown{
	25: {tls.SMTP, true}, 587: {tls.SMTP, true}, 465: {tls.SMTP, false}, 24: {tls.LMTP, true},
	143: {tls.IMAP, true}, 993: {tls.IMAP, false}, 110: {tls.POP3, true}, 995: {tls.POP3, false},
	4190: {tls.ManageSieve, true}, 389: {tls.LDAP, true}, 636: {tls.LDAP, false},
	5222: {tls.XMPP, true}, 5223: {tls.XMPP, false},
}

// ParseTarget reads HOST:PORT and the name of a protocol to upgrade, or "". If
// that is empty, the port tells the protocol, if it is a known one, and whether
// there is STARTTLS. The error is a *TargetError.
func ParseTarget(address, startTLS string) (*Target, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return nil, &TargetError{fmt.Sprintf("%q is not HOST:PORT", address)}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, &TargetError{fmt.Sprintf("%q is not the number of a port", portText)}
	}
	t := &Target{Host: strings.TrimSuffix(host, "."), Port: uint16(port)}
	known := ports[t.Port]
	t.Protocol, t.StartTLS = known.protocol, known.startTLS
	switch startTLS {
	case "":
	case "none":
		t.StartTLS = false
	default:
		if t.Protocol, err = tls.ParseProtocol(startTLS); err != nil {
			return nil, &TargetError{fmt.Sprintf("there is no STARTTLS for %q", startTLS)}
		}
		t.StartTLS = true
	}
	return t, nil
}

// Protocols are the names that ParseTarget knows.
func Protocols() []string {
	var names []string
	for p := tls.SMTP; p <= tls.XMPP; p++ {
		names = append(names, p.String())
	}
	return names
}

// Address returns host and port.
func (t *Target) Address() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Name returns the name that the certificate is to have.
func (t *Target) Name() string {
	if t.ServerName != "" {
		return t.ServerName
	}
	return t.Host
}

func (t *Target) timeout() time.Duration {
	if t.Timeout > 0 {
		return t.Timeout
	}
	return DefaultTimeout
}

// A DialError says that there was no connection.
type DialError struct{ Err error }

// Error names the cause.
func (e *DialError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *DialError) Unwrap() error { return e.Err }

// A connection is one with TLS.
type connection struct {
	*cryptotls.Conn
	transport *relay.Transport
	next      tls.Next // what comes after the handshake, if it is known
}

// dial connects and does a handshake with a configuration that names the server.
// What is said before TLS is told to say, if that is not nil. An error before TLS
// is a *DialError, or one of package tls.
func (t *Target) dial(ctx context.Context, config *cryptotls.Config, say func(format string, args ...any)) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout())
	defer cancel()
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return nil, &DialError{err}
	}
	tcp = traced(tcp, false, say)
	defer untrace(tcp)
	transport := relay.NewTransport(tcp)
	if !t.StartTLS {
		conn := cryptotls.Client(transport, config)
		if err = conn.HandshakeContext(ctx); err != nil {
			_ = transport.Close()
			return nil, &tls.HandshakeError{Protocol: t.Protocol, Err: err}
		}
		return &connection{conn, transport, 0}, nil
	}
	session, err := tls.Client(ctx, transport, &tls.ClientConfig{
		Protocol: t.Protocol, Mode: tls.StartTLS, TLS: config, ALPN: tls.ALPNOff, Domain: t.Name(), Timeout: -1,
	})
	if err != nil {
		return nil, err
	}
	return &connection{session.TLS, transport, session.Next}, nil
}

// refused reports whether an error is of the handshake, so that a server is
// there and did not like what it was offered.
func refused(err error) bool {
	return errors.As(err, new(*tls.HandshakeError)) && !errors.Is(err, context.DeadlineExceeded)
}
