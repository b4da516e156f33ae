package tls

import (
	"crypto"
	_ "crypto/sha256" // for ServerEndPoint
	_ "crypto/sha512"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// A BindingType is the unique prefix of a channel binding (RFC 5056, Section
// 2.1), as SCRAM writes it (RFC 5802, Section 6).
type BindingType string

// The channel bindings.
const (
	// TLSExporter is the one to choose (RFC 9266).
	TLSExporter BindingType = "tls-exporter"
	// TLSServerEndPoint binds to the server's certificate alone (RFC 5929,
	// Section 4). Whoever has its key can stand in the middle.
	TLSServerEndPoint BindingType = "tls-server-end-point"
	// TLSUnique is refused: it does not exist in TLS 1.3 (RFC 9266, Section 3),
	// and in TLS 1.2 it is not unique across resumptions without the extended
	// master secret.
	TLSUnique BindingType = "tls-unique"
)

// What a *BindingError wraps.
var (
	// ErrNoTLS: there is no connection to bind to.
	ErrNoTLS = errors.New("no TLS")
	// ErrUnbindable: the connection is of a kind that the binding is not safe or
	// not defined for.
	ErrUnbindable = errors.New("not available for this connection")
	// ErrNoBindingType: the binding is not known or not supported.
	ErrNoBindingType = errors.New("not supported")
)

// A BindingError says that a channel binding is not to be had.
type BindingError struct {
	Type BindingType
	Err  error
}

func (e *BindingError) Error() string {
	return fmt.Sprintf("tls: channel binding %s: %v", e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *BindingError) Unwrap() error { return e.Err }

// ChannelBinding returns channel binding data of a client's connection. Errors
// are *BindingError. Servers use [Exporter] and [ServerEndPoint].
func ChannelBinding(state *cryptotls.ConnectionState, kind BindingType) ([]byte, error) {
	switch kind {
	case TLSExporter:
		return Exporter(state)
	case TLSServerEndPoint:
		if !state.HandshakeComplete {
			return nil, &BindingError{kind, ErrNoTLS}
		}
		if len(state.PeerCertificates) == 0 {
			return nil, &BindingError{kind, fmt.Errorf("%w: the server's certificate is not known", ErrUnbindable)}
		}
		return ServerEndPoint(state.PeerCertificates[0])
	}
	return nil, &BindingError{kind, ErrNoBindingType}
}

// Exporter returns the 32 octets of tls-exporter, which are the same on both
// sides and on no other connection. The error is a *BindingError: TLS 1.2 needs
// the extended master secret (RFC 7627) and must not renegotiate.
func Exporter(state *cryptotls.ConnectionState) ([]byte, error) {
	if !state.HandshakeComplete {
		return nil, &BindingError{TLSExporter, ErrNoTLS}
	}
	// RFC 9266, Section 4.2: not without the extended master secret, which
	// crypto/tls sees to from TLS 1.0 on, and has no word for in earlier versions.
	if state.Version < cryptotls.VersionTLS12 {
		return nil, &BindingError{TLSExporter, fmt.Errorf("%w: it has %s", ErrUnbindable, cryptotls.VersionName(state.Version))}
	}
	// RFC 9266, Section 2: the context is a zero-length string, which in TLS 1.2
	// is not the same as none.
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		return nil, &BindingError{TLSExporter, fmt.Errorf("%w: %w", ErrUnbindable, err)}
	}
	return data, nil
}

// ServerEndPoint returns the data of tls-server-end-point for the certificate
// that a server has shown, its own. The error is a *BindingError: for signatures
// without one hash function, such as Ed25519, nothing is defined.
func ServerEndPoint(cert *x509.Certificate) ([]byte, error) {
	h, ok := endPointHash(cert.SignatureAlgorithm)
	if !ok {
		return nil, &BindingError{TLSServerEndPoint,
			fmt.Errorf("%w: the certificate is signed with %v", ErrUnbindable, cert.SignatureAlgorithm)}
	}
	sum := h.New()
	sum.Write(cert.Raw)
	return sum.Sum(nil), nil
}

// endPointHash is the hash function of RFC 5929, Section 4.1: that of the
// signature, but SHA-256 instead of MD5 and SHA-1.
func endPointHash(alg x509.SignatureAlgorithm) (crypto.Hash, bool) {
	switch alg {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		return crypto.SHA256, true
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384, true
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512, true
	}
	return 0, false
}
