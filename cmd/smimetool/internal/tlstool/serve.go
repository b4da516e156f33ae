package tlstool

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/relay"
)

// ServeOptions say how Serve serves.
type ServeOptions struct {
	// Certificates are those of the server; the client's SNI chooses.
	Certificates []cryptotls.Certificate
	// ClientCAs has clients need a certificate from one of these authorities;
	// nil means that none is asked for, unless AskClient has clients asked for any,
	// which is told and not checked.
	ClientCAs *x509.CertPool
	AskClient bool
	// Verbose tells what clients offer and what is said before TLS, and more of
	// certificates. What a client offers is told in any case when it fails.
	Verbose bool
	// KeyLog is as in ConnectOptions.
	KeyLog io.Writer
	// Protocol is spoken before STARTTLS; 0 without.
	Protocol tls.Protocol
	StartTLS bool
	// MinVersion and MaxVersion are as in crypto/tls; the lowest is TLS 1.2 when
	// MinVersion is zero.
	MinVersion, MaxVersion uint16
	// ALPN is negotiated; nil means the identifier of the protocol.
	ALPN []string
	// Echo sends back what comes, to many clients at once. Otherwise one client
	// after the other is joined with the streams.
	Echo bool
	// Once ends after one client; its error is returned.
	Once bool
}

// A server is one run of Serve.
type server struct {
	opts    *ServeOptions
	streams *Streams
	layer   *tls.Server       // nil without a protocol
	config  *cryptotls.Config // without a protocol
	input   *input
	group   sync.WaitGroup
}

// Serve accepts connections until the context ends, which is no error, or the
// listener fails. It closes the listener. Handshakes that fail are said. When it
// returns no connection is left.
func Serve(ctx context.Context, ln net.Listener, streams *Streams, opts *ServeOptions) error {
	defer ln.Close()
	s := &server{opts: opts, streams: streams}
	if err := s.configure(); err != nil {
		return err
	}
	if !opts.Echo {
		s.input = newInput(streams.In)
		defer s.input.close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.group.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		tcp, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &DialError{err}
		}
		if s.opts.Echo && !s.opts.Once {
			s.group.Go(func() { s.say(tcp, s.client(ctx, tcp)) })
			continue
		}
		err = s.client(ctx, tcp)
		if s.opts.Once {
			return err
		}
		s.say(tcp, err)
	}
}

func (s *server) say(tcp net.Conn, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.streams.Say("%s: %s", tcp.RemoteAddr(), printable(err.Error()))
	}
}

func (s *server) configure() error {
	config := &cryptotls.Config{
		Certificates: s.opts.Certificates, MinVersion: s.opts.MinVersion, MaxVersion: s.opts.MaxVersion, NextProtos: s.opts.ALPN,
		KeyLogWriter: s.opts.KeyLog,
		GetConfigForClient: func(hello *cryptotls.ClientHelloInfo) (*cryptotls.Config, error) {
			if note, ok := hello.Context().Value(offerKey{}).(*string); ok {
				*note = offered(hello)
			}
			return nil, nil
		},
	}
	if config.MinVersion == 0 {
		config.MinVersion = cryptotls.VersionTLS12
	}
	if config.MinVersion < cryptotls.VersionTLS12 {
		config.CipherSuites = allSuites()
	}
	if s.opts.AskClient {
		config.ClientAuth = cryptotls.RequestClientCert
	}
	if s.opts.ClientCAs != nil {
		config.ClientCAs, config.ClientAuth = s.opts.ClientCAs, cryptotls.RequireAndVerifyClientCert
	}
	s.config = config
	if s.opts.Protocol == 0 {
		return nil
	}
	layer := &tls.ServerConfig{Protocol: s.opts.Protocol, TLS: config, Timeout: DefaultTimeout}
	if s.opts.StartTLS {
		layer.Mode = tls.StartTLS
	}
	if s.opts.ALPN != nil {
		layer.ALPN = tls.ALPNOff
	}
	var err error
	s.layer, err = tls.NewServer(layer)
	return err
}

// offerKey is the key of a *string in the handshake's context: what the client
// offers.
type offerKey struct{}

// client serves one connection.
func (s *server) client(ctx context.Context, tcp net.Conn) error {
	var offer string
	conn, err := s.handshake(context.WithValue(ctx, offerKey{}, &offer), tcp)
	if offer != "" && (err != nil || s.opts.Verbose) {
		s.streams.Say("%s offers: %s", tcp.RemoteAddr(), offer)
	}
	if err != nil {
		return err
	}
	sayConnection(s.streams, conn, s.opts.Verbose)
	if s.opts.AskClient && s.opts.ClientCAs == nil && len(conn.ConnectionState().PeerCertificates) == 0 {
		s.streams.Say("the client has shown no certificate")
	}
	if s.opts.Echo {
		return echo(ctx, conn)
	}
	return join(ctx, conn, s.streams, s.input, defaultLinger)
}

func (s *server) handshake(ctx context.Context, tcp net.Conn) (*connection, error) {
	if s.opts.Verbose {
		tcp = traced(tcp, true, s.streams.Say)
		defer untrace(tcp)
	}
	transport := relay.NewTransport(tcp)
	if s.layer != nil {
		session, err := s.layer.Handshake(ctx, transport)
		if err != nil {
			return nil, err
		}
		return &connection{session.TLS, transport, session.Next}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	conn := cryptotls.Server(transport, s.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = transport.Close()
		return nil, &tls.HandshakeError{Err: err}
	}
	return &connection{conn, transport, 0}, nil
}

// echoIdle is how long a client of an echo server may be silent.
const echoIdle = 10 * time.Minute

// echo sends back what comes.
func echo(ctx context.Context, conn *connection) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.transport.Close() })()
	buf := make([]byte, 16<<10)
	for {
		_ = conn.SetDeadline(time.Now().Add(echoIdle))
		n, err := conn.Read(buf)
		if n > 0 {
			if _, writeErr := conn.Write(buf[:n]); writeErr != nil {
				return writeErr
			}
		}
		if err != nil {
			if err == io.EOF || ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}
