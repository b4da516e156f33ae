package upstream

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// A Dialer connects to mail servers. It is not changed while it is used.
type Dialer struct {
	*Finder
	// Name is that of this host, in EHLO.
	Name string
	// Loops is told of all connections; it may be nil.
	Loops *Loops
}

// connectTime bounds connecting to one server, with what leads to TLS.
const connectTime = 30 * time.Second

// Connect connects to the mail server for a client and, where that matters, an
// account. With greeted the greeting of the server has been read. The caller
// closes the connection.
func (d *Dialer) Connect(ctx context.Context, c *Client, account string) (conn net.Conn, greeted bool, err error) {
	places, err := d.Find(ctx, c, account)
	if err != nil {
		return nil, false, err
	}
	var errs []error
	for _, p := range places {
		s, dialErr := d.Session(ctx, p, c)
		if dialErr == nil {
			greeted, dialErr = d.introduce(ctx, s, c)
		}
		if dialErr == nil {
			return s.Conn, greeted || s.Next != tls.NextGreeting, nil
		}
		errs = append(errs, &PlaceError{p.Address, dialErr})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, false, errors.Join(errs...)
}

// A PlaceError says why one server was not reached.
type PlaceError struct {
	Address string
	Err     error
}

func (e *PlaceError) Error() string { return e.Address + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *PlaceError) Unwrap() error { return e.Err }

// Session connects to one server, up to where its protocol begins.
func (d *Dialer) Session(ctx context.Context, p Place, c *Client) (*tls.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	if d.Loops != nil {
		conn = d.Loops.watch(conn)
	}
	if err = d.proxyHeader(ctx, conn, c); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return tls.Client(ctx, conn, d.client(p))
}

// client returns how to come to TLS.
func (d *Dialer) client(p Place) *tls.ClientConfig {
	cfg := &tls.ClientConfig{Protocol: tls.SMTP, Mode: p.Mode, LocalName: d.Name}
	if d.listener.Protocol == config.IMAP4 {
		cfg.Protocol = tls.IMAP
	}
	cfg.TLS = &cryptotls.Config{ServerName: p.Names[0], RootCAs: p.roots, MinVersion: cryptotls.VersionTLS12}
	if len(p.Names) > 1 {
		cfg.TLS.InsecureSkipVerify = true // crypto/tls knows one name; what follows knows all of them
		cfg.TLS.VerifyConnection = func(state cryptotls.ConnectionState) error { return verify(&state, p) }
	}
	return cfg
}

// verify judges a certificate as crypto/tls does, for one of several names.
func verify(state *cryptotls.ConnectionState, p Place) error {
	if len(state.PeerCertificates) == 0 {
		return ErrAnswer
	}
	leaf := state.PeerCertificates[0]
	opts := x509.VerifyOptions{Roots: p.roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return &cryptotls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	var err error
	if !slices.ContainsFunc(p.Names, func(name string) bool {
		if strings.HasPrefix(name, "_") {
			return false
		}
		nameErr := leaf.VerifyHostname(name)
		if err == nil {
			err = nameErr
		}
		return nameErr == nil
	}) {
		return &cryptotls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// proxyHeader begins with the PROXY protocol, where that is wanted.
func (d *Dialer) proxyHeader(ctx context.Context, conn net.Conn, c *Client) error {
	var version byte
	switch d.listener.Upstream.ClientAddress {
	case config.TellProxyV1:
		version = 1
	case config.TellProxyV2:
		version = 2
	default:
		return nil
	}
	h := &proxyproto.Header{Version: version, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if c != nil && c.Addr.IsValid() && c.Local.IsValid() {
		h = proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(c.Addr), net.TCPAddrFromAddrPort(c.Local))
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := h.WriteTo(conn); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}
