package tlstool

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Streams are what a connection is joined with.
type Streams struct {
	// In is read by a goroutine that ends when In does, or with the first read
	// after the connection has ended: a read that waits cannot be called off. It
	// may be nil.
	In  io.Reader
	Out io.Writer
	// Say takes sentences about the connection. It may be called by several
	// goroutines.
	Say func(format string, args ...any)
	// CRLF has lines of In that end in LF alone end in CRLF.
	CRLF bool
}

// ConnectOptions say how Connect connects.
type ConnectOptions struct {
	// Roots are the authorities that are trusted; nil means those of the system.
	Roots *x509.CertPool
	// NoTrust goes on whoever the server is.
	NoTrust bool
	// Certificate is shown to a server that asks; nil means none.
	Certificate *cryptotls.Certificate
	// MinVersion and MaxVersion are as in crypto/tls; the lowest is TLS 1.2 when
	// MinVersion is zero.
	MinVersion, MaxVersion uint16
	// ALPN is offered; nil means the identifier of the target's protocol.
	ALPN []string
	// Resume connects twice, and has the second connection resume the session of the
	// first, which says nothing.
	Resume bool
	// Verbose tells what is said before TLS, and more of certificates; PEM tells the
	// certificates themselves.
	Verbose, PEM bool
	// KeyLog, if set, is given the secrets of the connections, in the format that
	// Wireshark reads. Who has them can read everything.
	KeyLog io.Writer
	// Linger is how long the server may be silent after the end of the input; 10
	// seconds when zero.
	Linger time.Duration
}

const defaultLinger = 10 * time.Second

// inputWait is for what is still to be sent to a peer that sends no more.
const inputWait = 300 * time.Millisecond

// Connect joins a server with two streams, until the server closes the
// connection. After the end of the input the server gets close_notify. The error
// is an *UntrustedError, or of connection or handshake; an end of the connection
// without close_notify is said, and no error.
func Connect(ctx context.Context, t *Target, streams *Streams, opts *ConnectOptions) error {
	if opts == nil {
		opts = &ConnectOptions{}
	}
	request := new(certificateRequest)
	config := opts.config(t, request)
	if opts.Resume {
		if err := prime(ctx, t, config); err != nil {
			return opts.explain(err, request)
		}
	}
	var say func(format string, args ...any)
	if opts.Verbose {
		say = streams.Say
	}
	conn, err := t.dial(ctx, config, say)
	if err != nil {
		return opts.explain(err, request)
	}
	opts.tell(t, streams, conn, request)
	linger := opts.Linger
	if linger <= 0 {
		linger = defaultLinger
	}
	in := newInput(streams.In)
	defer in.close()
	return opts.explain(join(ctx, conn, streams, in, linger), request)
}

// A certificateRequest is what a server says when it asks for a certificate.
type certificateRequest struct {
	made        bool
	authorities [][]byte
}

// config returns the configuration for a target. What the server asks for is noted.
func (o *ConnectOptions) config(t *Target, request *certificateRequest) *cryptotls.Config {
	config := &cryptotls.Config{
		RootCAs: o.Roots, InsecureSkipVerify: o.NoTrust, ServerName: t.Name(), KeyLogWriter: o.KeyLog,
		MinVersion: max(o.MinVersion, cryptotls.VersionTLS10), MaxVersion: o.MaxVersion, NextProtos: o.ALPN,
		Renegotiation: cryptotls.RenegotiateFreelyAsClient,
	}
	if o.MinVersion == 0 {
		config.MinVersion = cryptotls.VersionTLS12
	}
	if config.MinVersion < cryptotls.VersionTLS12 {
		config.CipherSuites = allSuites()
	}
	if id := t.Protocol.ALPN(); id != "" && o.ALPN == nil {
		config.NextProtos = []string{id}
	}
	config.GetClientCertificate = func(info *cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
		request.made, request.authorities = true, info.AcceptableCAs
		if o.Certificate != nil {
			return o.Certificate, nil
		}
		return new(cryptotls.Certificate), nil
	}
	return config
}

// tell tells what there is to say before the conversation begins.
func (o *ConnectOptions) tell(t *Target, streams *Streams, conn *connection, request *certificateRequest) {
	sayConnection(streams, conn, o.Verbose)
	if o.PEM {
		sayPEM(streams, conn.ConnectionState().PeerCertificates)
	}
	if o.NoTrust {
		sayUnchecked(streams, conn, o.Roots, t.Name())
	}
	if o.Resume && !conn.ConnectionState().DidResume {
		streams.Say("the session was not resumed")
	}
	if request.made && o.Certificate == nil {
		streams.Say("the server asked for a client certificate, and got none")
	}
	if request.made && (o.Verbose || o.Certificate == nil) {
		sayAuthorities(streams, request.authorities)
	}
	if step := nextSteps[conn.next]; step != "" && t.StartTLS {
		streams.Say("%s", step)
	}
}

// explain gives an error a type that says more.
func (o *ConnectOptions) explain(err error, request *certificateRequest) error {
	if ve := new(cryptotls.CertificateVerificationError); errors.As(err, &ve) {
		return &UntrustedError{ve.Err}
	}
	if err != nil && request.made && o.Certificate == nil && wantsCertificate(err) {
		return &CertificateWantedError{err}
	}
	return err
}

// primeWait is how long a server may take to send its ticket, which in TLS 1.3 it
// does when it likes.
const primeWait = time.Second

// prime makes a connection and ends it, for its session.
func prime(ctx context.Context, t *Target, config *cryptotls.Config) error {
	cache := &firstTicket{ClientSessionCache: cryptotls.NewLRUClientSessionCache(1), put: make(chan struct{}, 1)}
	config.ClientSessionCache = cache
	conn, err := t.dial(ctx, config, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(primeWait))
	go func() {
		<-cache.put
		_ = conn.SetReadDeadline(time.Now())
	}()
	defer cache.Put("", nil) // ends it
	_, err = io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// A firstTicket is a cache that tells when there is something in it.
type firstTicket struct {
	cryptotls.ClientSessionCache
	put chan struct{}
}

// Put takes a session.
func (c *firstTicket) Put(key string, session *cryptotls.ClientSessionState) {
	if session != nil {
		c.ClientSessionCache.Put(key, session)
	}
	select {
	case c.put <- struct{}{}:
	default:
	}
}

// An input is a stream that one connection after the other can be given. Nothing
// is read ahead but what one read returns.
type input struct {
	data chan []byte // closed at the end
	stop chan struct{}
}

// newInput starts reading. r may be nil.
func newInput(r io.Reader) *input {
	in := &input{make(chan []byte), make(chan struct{})}
	if r == nil {
		return in
	}
	go func() {
		defer close(in.data)
		for {
			buf := make([]byte, 16<<10)
			n, err := r.Read(buf)
			if n > 0 {
				select {
				case in.data <- buf[:n]:
				case <-in.stop:
					return
				}
			}
			if err != nil {
				return // the connection gets its end
			}
		}
	}()
	return in
}

// close has the reader end after the read that it may be in.
func (in *input) close() { close(in.stop) }

// join joins a connection with streams until the peer closes it, and closes it.
// After the end of the input the peer may be silent for as long as linger, and
// after the end of what the peer sends the input for as long as inputWait.
func join(ctx context.Context, conn *connection, streams *Streams, in *input, linger time.Duration) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.transport.Close() })()
	over := make(chan struct{})
	var group sync.WaitGroup
	var lingering atomic.Bool
	group.Go(func() {
		send(conn, streams, in, over)
		lingering.Store(true)
		_ = conn.SetReadDeadline(time.Now().Add(linger))
	})
	err := receive(conn, streams.Out, func() {
		if lingering.Load() {
			_ = conn.SetReadDeadline(time.Now().Add(linger))
		}
	})
	close(over)
	// A write that waits is of no use any more.
	_ = conn.SetWriteDeadline(time.Now().Add(inputWait))
	group.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case lingering.Load() && errors.Is(err, os.ErrDeadlineExceeded):
		streams.Say("the peer does not close the connection")
		return nil
	case err == io.EOF && conn.transport.Ended():
		streams.Say("the peer closed the connection without close_notify: what came may be cut off")
		return nil
	case err == io.EOF:
		streams.Say("the peer closed the connection")
		return nil
	}
	return err
}

// receive copies what comes until the end.
func receive(conn *connection, out io.Writer, progress func()) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if _, writeErr := out.Write(buf[:n]); writeErr != nil {
				return writeErr
			}
			progress()
		}
		if err != nil {
			return err
		}
	}
}

// send sends the input until it or the connection ends. An error of the
// connection is found by who reads, too.
func send(conn *connection, streams *Streams, in *input, over <-chan struct{}) {
	var last byte
	var enough <-chan time.Time
	for {
		select {
		case <-over:
			over, enough = nil, time.After(inputWait)
			continue
		case <-enough:
			return
		case p, ok := <-in.data:
			if !ok {
				_ = conn.CloseWrite()
				return
			}
			if streams.CRLF {
				p = withCRLF(p, last)
			}
			last = p[len(p)-1]
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	}
}

// withCRLF gives lines CRLF. The octet before p is last.
func withCRLF(p []byte, last byte) []byte {
	out := make([]byte, 0, len(p)+len(p)/16)
	for _, c := range p {
		if c == '\n' && last != '\r' {
			out = append(out, '\r')
		}
		out, last = append(out, c), c
	}
	return out
}
