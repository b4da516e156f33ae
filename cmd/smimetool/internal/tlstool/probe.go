package tlstool

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls/mtasts"
	"github.com/postseal/postseal/tls/policy"
)

// Options say how Probe looks at a server.
type Options struct {
	// Roots are the authorities that are trusted; nil means those of the system.
	Roots *x509.CertPool
	// Certificate is shown to a server that asks; nil means none.
	Certificate *cryptotls.Certificate
	// Resolver is asked for TLSA and other records; nil means that nobody is, and
	// that MTA-STS is not looked at.
	Resolver dane.Resolver
	// Domain is one whose mail the server takes, for MX records and MTA-STS; when it
	// is empty, the name of the server may tell.
	Domain string
	// DialWeb connects to web servers; see mtasts.Options.
	DialWeb func(ctx context.Context, network, address string) (net.Conn, error)
	// Time is when certificates are judged; zero means now.
	Time time.Time
	// Quick leaves out all connections but the first two.
	Quick bool
}

func (o *Options) now() time.Time {
	if o.Time.IsZero() {
		return time.Now()
	}
	return o.Time
}

// An UntrustedError says that a server's certificate is not trusted, or is for
// another name.
type UntrustedError struct{ Err error }

// Error says why.
func (e *UntrustedError) Error() string { return "the server is not trusted: " + e.Err.Error() }

// Unwrap returns the error of crypto/x509, or of package policy.
func (e *UntrustedError) Unwrap() error { return e.Err }

// A CertificateWantedError says that a server takes no client without a
// certificate.
type CertificateWantedError struct{ Err error }

// Error says so.
func (e *CertificateWantedError) Error() string {
	return "the server wants a client certificate: " + e.Err.Error()
}

// Unwrap returns the error of the connection.
func (e *CertificateWantedError) Unwrap() error { return e.Err }

// patience is how long Probe waits for what a server may say after the
// handshake: session tickets, and that it wants a certificate.
const patience = 400 * time.Millisecond

// Probe looks at a server. There is a report whenever one handshake went well.
// The error is an *UntrustedError if the server is not one to trust, by what the
// DNS vouches for or else by its certificate's path, and of connection or handshake
// if there is no report.
func Probe(ctx context.Context, t *Target, opts *Options) (*Report, error) {
	if opts == nil {
		opts = &Options{}
	}
	p := &prober{t: t, opts: opts, report: &Report{
		Target: t.Address(), ServerName: t.Name(), StartTLS: t.StartTLS,
		Certificates: []Certificate{}, Versions: []Offer{}, Suites: []Offer{}, Groups: []Offer{}, Advice: []Advice{},
	}}
	if t.Protocol != 0 {
		p.report.Protocol = t.Protocol.String()
	}
	if err := p.first(ctx); err != nil {
		return nil, err
	}
	p.resume(ctx)
	p.ask(ctx)
	if !opts.Quick {
		p.versions(ctx)
		p.suites(ctx)
		p.groups(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.advise()
	if untrusted := p.untrusted(); untrusted != nil {
		return p.report, &UntrustedError{untrusted}
	}
	return p.report, nil
}

// untrusted says why the server is not one to trust. What the DNS vouches for
// decides, and else the authorities that are trusted here.
func (p *prober) untrusted() error {
	if c := p.report.Client; c != nil {
		refusal, ok := errors.AsType[*policy.Error](c.err)
		switch {
		case c.Authenticated:
			return nil
		case ok && refusal.Reason != policy.LookupFailed && refusal.Reason != policy.NoSuchHost:
			return c.err
		}
	}
	return p.report.Trust.err
}

// A prober is one run of Probe.
type prober struct {
	t      *Target
	opts   *Options
	report *Report
	state  cryptotls.ConnectionState // of the first connection
	cache  cryptotls.ClientSessionCache

	stsClient *mtasts.Client // nil if it is not asked
}

// config is that of a client which can do all and looks at certificates later.
func (p *prober) config() *cryptotls.Config {
	c := &cryptotls.Config{
		InsecureSkipVerify: true, // certificates are judged afterwards, and nothing is sent
		MinVersion:         cryptotls.VersionTLS10,
		Time:               p.opts.now,
		ServerName:         p.t.Name(), // if it is an address, crypto/tls does not send it
	}
	if id := p.t.Protocol.ALPN(); id != "" {
		c.NextProtos = []string{id}
	}
	return c
}

// first makes the connection that the report is about.
func (p *prober) first(ctx context.Context) error {
	p.cache = cryptotls.NewLRUClientSessionCache(4)
	client := &p.report.Handshake.ClientCertificate
	connect := func(alpn bool) (*connection, error) {
		config := p.config()
		config.ClientSessionCache = p.cache
		config.GetClientCertificate = func(info *cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
			*client = ClientCertificate{Requested: true, Authorities: authorities(info.AcceptableCAs)}
			if p.opts.Certificate == nil || info.SupportsCertificate(p.opts.Certificate) != nil {
				return new(cryptotls.Certificate), nil
			}
			client.Sent = true
			return p.opts.Certificate, nil
		}
		if !alpn {
			config.NextProtos = nil
		}
		return p.t.dial(ctx, config, nil)
	}
	start := time.Now()
	conn, err := connect(true)
	if refused(err) && p.t.Protocol.ALPN() != "" {
		// Some servers end the handshake over a protocol that they do not know.
		start = time.Now()
		if again, secondErr := connect(false); secondErr == nil {
			p.report.advise(Warning, "the server refuses clients that name the protocol "+p.t.Protocol.ALPN()+" with ALPN (RFC 7301); it should take the name, or pass it over")
			conn, err = again, nil
		}
	}
	if err != nil {
		if client.Requested && !client.Sent && wantsCertificate(err) {
			return &CertificateWantedError{err}
		}
		return err
	}
	defer conn.Close()
	p.report.Handshake.Milliseconds = time.Since(start).Milliseconds()
	p.state = conn.ConnectionState()
	p.report.Address = conn.RemoteAddr().String()
	p.negotiated()
	p.certificates()
	p.trust()
	p.staple()
	client.Required = wantsCertificate(p.listen(conn)) && !client.Sent
	return nil
}

func (p *prober) negotiated() {
	h := &p.report.Handshake
	h.Version = cryptotls.VersionName(p.state.Version)
	h.CipherSuite = cryptotls.CipherSuiteName(p.state.CipherSuite)
	if p.state.CurveID != 0 {
		h.Group = p.state.CurveID.String()
	}
	h.PostQuantum = slices.Contains(hybrids, p.state.CurveID)
	h.ALPN = printable(p.state.NegotiatedProtocol)
	h.Timestamps = len(p.state.SignedCertificateTimestamps)
}

// listen reads for a while, for crypto/tls to see what comes after the handshake
// of TLS 1.3. It returns the error of the connection, or nil.
func (p *prober) listen(conn *connection) error {
	if p.state.Version < cryptotls.VersionTLS13 {
		return nil // nothing comes
	}
	wanted := p.report.Handshake.ClientCertificate.Requested && !p.report.Handshake.ClientCertificate.Sent
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = conn.SetReadDeadline(time.Now().Add(patience / 10))
		_, err := conn.Read(make([]byte, 4096))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if session, ok := p.cache.Get(p.t.Name()); ok && session != nil && !wanted {
			return nil
		}
	}
	return nil
}

// The alert with which a server says that it wants a certificate: RFC 8446,
// Section 6.2. In earlier versions it is handshake_failure, at once.
const certificateRequired = "certificate required"

func wantsCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err != nil &&
		(op.Err.Error() == "tls: "+certificateRequired || op.Err.Error() == "tls: handshake failure" || op.Err.Error() == "tls: bad certificate")
}

// authorities returns the names in a certificate request.
func authorities(names [][]byte) []string {
	var out []string
	for _, raw := range names[:min(len(names), 100)] {
		var rdn pkix.RDNSequence
		if _, err := asn1.Unmarshal(raw, &rdn); err != nil {
			continue
		}
		var name pkix.Name
		name.FillFromRDNSequence(&rdn)
		out = append(out, printable(name.String()))
	}
	return out
}

// resume makes a second connection, with the ticket of the first one.
func (p *prober) resume(ctx context.Context) {
	r := &p.report.Resumption
	session, ok := p.cache.Get(p.t.Name())
	if r.Ticket = ok && session != nil; !r.Ticket {
		return
	}
	config := p.config()
	config.ClientSessionCache = p.cache
	if p.report.Handshake.ALPN == "" {
		config.NextProtos = nil
	}
	if p.report.Handshake.ClientCertificate.Sent {
		config.Certificates = []cryptotls.Certificate{*p.opts.Certificate}
	}
	conn, err := p.t.dial(ctx, config, nil)
	if err != nil {
		r.Error = printable(err.Error())
		return
	}
	defer conn.Close()
	r.Resumed = conn.ConnectionState().DidResume
}
