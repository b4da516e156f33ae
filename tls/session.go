package tls

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
)

// A Session is a connection that is ready for its protocol. It has nothing of
// what was said before the handshake: no capabilities, no referrals, no
// greeting.
type Session struct {
	// Conn is the connection to go on with, and belongs to the caller, who
	// closes it. It is TLS, or the plain connection in the mode
	// InsecurePlaintext and where OpportunisticStartTLS found no TLS. Reads and
	// writes may go on at the same time, in one goroutine each. A Write writes
	// everything or fails; after a Write that failed at a deadline the
	// connection is of no more use.
	Conn net.Conn
	// TLS is Conn, or nil without TLS.
	TLS      *cryptotls.Conn
	Protocol Protocol
	Mode     Mode
	// Next is what the protocol layer does now.
	Next Next

	server bool              // this side is the server
	local  *x509.Certificate // then its own certificate, if known
}

// Encrypted reports whether the session has TLS.
func (s *Session) Encrypted() bool { return s.TLS != nil }

// State returns the state of the TLS connection; without TLS it is the zero
// value. Its HandshakeComplete tells which.
func (s *Session) State() cryptotls.ConnectionState {
	if s.TLS == nil {
		return cryptotls.ConnectionState{}
	}
	return s.TLS.ConnectionState()
}

// ChannelBinding returns the data that bind SASL to this connection. The errors
// are those of [Exporter] and [ServerEndPoint]; a server that chooses among
// several certificates does not know which one a resumed session began with.
func (s *Session) ChannelBinding(kind BindingType) ([]byte, error) {
	if s.TLS == nil {
		return nil, &BindingError{kind, ErrNoTLS}
	}
	state := s.State()
	switch {
	case kind != TLSServerEndPoint || !s.server:
		return ChannelBinding(&state, kind)
	case s.local == nil:
		return nil, &BindingError{kind, fmt.Errorf("%w: which certificate it began with is not known", ErrUnbindable)}
	}
	return ServerEndPoint(s.local)
}

// Close closes the connection, after it has told the peer that this is the end.
func (s *Session) Close() error { return s.Conn.Close() }
