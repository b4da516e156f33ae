package policy

import (
	"cmp"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

// Options are those of a [Dialer]. Zero values are the defaults.
type Options struct {
	// Policy is Required when zero.
	Policy Policy
	// Resolver is for DANE, and for targets with MX and SRV. DANE needs one whose
	// answers can be secure, such as dnsclient.Client with a validating resolver on a
	// loopback address.
	Resolver dane.Resolver
	// MTASTS is needed by a policy with MTA-STS.
	MTASTS *mtasts.Client
	// Roots are the authorities of PKIX; nil means those of the system.
	Roots *x509.CertPool
	// Certificates are shown to servers that ask for one.
	Certificates []cryptotls.Certificate
	// Profile is tls.Intermediate when empty: TLS 1.2 at least, 1.3 by rule, and
	// hybrid post-quantum key exchange first.
	Profile tls.Profile
	// ALPN is tls.ALPNOffer when zero.
	ALPN tls.ALPN
	// LocalName is what EHLO and LHLO say before TLS; "localhost" when empty.
	LocalName string
	// Sessions is how many servers' sessions are kept to be resumed; 64 when zero,
	// none when negative. A resumed session is judged as a new one is, by the
	// certificate that it began with.
	Sessions int
	// Figures count the handshakes; nil counts nothing. A server that the policy refuses
	// counts as one that failed.
	Figures *tls.Figures
	// Timeout bounds each attempt from the connection to the end of the handshake;
	// tls.DefaultTimeout when zero.
	Timeout time.Duration
	// Dial makes connections for the network "tcp"; nil means a net.Dialer. Where
	// Host.Addresses are known, it gets one of them, and else the name.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Time is the clock; nil means time.Now.
	Time func() time.Time
}

// A Dialer connects to servers by a policy. It may be used by several goroutines,
// and has nothing to close.
type Dialer struct {
	opts     Options
	sessions cryptotls.ClientSessionCache
}

// New returns a Dialer. opts is copied; nil is the zero value. The error is a
// *tls.ConfigError.
func New(opts *Options) (*Dialer, error) {
	d := &Dialer{}
	if opts != nil {
		d.opts = *opts
	}
	o := &d.opts
	o.Policy.Pins = slices.Clone(o.Policy.Pins)
	if err := o.Policy.check(); err != nil {
		return nil, err
	}
	switch {
	case o.Policy.DANE != Ignore && o.Resolver == nil:
		return nil, &tls.ConfigError{Field: "Resolver", Problem: "is needed for DANE"}
	case o.Policy.MTASTS && o.MTASTS == nil:
		return nil, &tls.ConfigError{Field: "MTASTS", Problem: "is needed for a policy with MTA-STS"}
	case o.Profile == "":
		o.Profile = tls.Intermediate
	case !slices.Contains(tls.Profiles(), o.Profile):
		return nil, &tls.ConfigError{Field: "Profile", Problem: fmt.Sprintf("%q is not known", o.Profile)}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Time == nil {
		o.Time = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = tls.DefaultTimeout
	}
	if o.Sessions == 0 {
		o.Sessions = 64
	}
	if o.Sessions > 0 {
		d.sessions = cryptotls.NewLRUClientSessionCache(o.Sessions)
	}
	return d, nil
}

// A Connection is a session, and why it is one by the policy.
type Connection struct {
	*tls.Session
	Verdict *Verdict
}

// Describe describes the TLS connection, as tls.Describe does, and says that it is
// verified if the verdict is that nobody else is there. Without TLS it describes
// nothing.
func (c *Connection) Describe() tls.Description {
	state := c.State()
	d := tls.Describe(&state)
	d.Verified = c.Verdict.Authenticated
	return d
}

// maxAttempts is how many connections are tried for one Dial.
const maxAttempts = 24

// Dial connects to a server of a target, and brings the connection to TLS, as the
// policy says. Servers, and their addresses, are tried in turn until one is as it
// has to be. The connection belongs to the caller, who closes it.
//
// The error is an *Error, about the server that was tried first, or a
// *tls.ConfigError.
func (d *Dialer) Dial(ctx context.Context, t *Target) (*Connection, error) {
	p, err := d.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, h := range p.Hosts {
		d.decide(ctx, p, h)
		if h.Err != nil {
			failed = append(failed, h.Err)
			continue
		}
		addresses := h.addresses()
		for i, address := range addresses {
			if len(failed) >= maxAttempts || ctx.Err() != nil {
				break
			}
			c, attemptErr := d.attempt(ctx, p, h, address, i < len(addresses)-1)
			if attemptErr == nil {
				return c, nil
			}
			failed = append(failed, attemptErr)
		}
	}
	if len(failed) == 0 {
		return nil, &Error{Reason: NotReached, Server: p.Hosts[0].Address(), Err: cmp.Or(ctx.Err(), errNoAddress)}
	}
	first, ok := errors.AsType[*Error](failed[0])
	if !ok {
		return nil, failed[0] // a *tls.ConfigError
	}
	first.Others = failed[1:]
	return nil, first
}

// errNoAddress says so.
var errNoAddress = errors.New("there is no address to connect to")

// addresses are those to dial.
func (h *Host) addresses() []string {
	if len(h.Addresses) == 0 {
		return []string{h.Address()}
	}
	var out []string
	for _, a := range h.Addresses {
		out = append(out, netip.AddrPortFrom(a, h.Port).String())
	}
	return out
}

// connectPatience is how long one address of several may take to be connected to.
const connectPatience = 5 * time.Second

// connect makes a connection without TLS. more says that there is another address.
func (d *Dialer) connect(ctx context.Context, address string, more bool) (net.Conn, error) {
	if more {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, connectPatience)
		defer cancel()
	}
	return d.opts.Dial(ctx, "tcp", address)
}

// attempt makes one connection.
func (d *Dialer) attempt(ctx context.Context, p *Plan, h *Host, address string, more bool) (*Connection, error) {
	if d.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.opts.Timeout)
		defer cancel()
	}
	fail := func(reason Reason, err error) error {
		return &Error{Reason: reason, Server: h.Address(), Rule: h.Rule, Why: slices.Clone(h.Why), Err: err}
	}
	conn, err := d.connect(ctx, address, more)
	if err != nil {
		return nil, fail(NotReached, err)
	}
	var verdict *Verdict
	cfg := &tls.ClientConfig{Protocol: p.Target.Protocol, Mode: p.Target.Mode, ALPN: d.opts.ALPN, LocalName: d.opts.LocalName,
		Domain: d.domain(p), Timeout: -1, TLS: d.tls(h, &verdict), Figures: d.opts.Figures}
	if h.Rule == RuleOpportunistic && cfg.Mode == tls.StartTLS && cfg.Protocol != tls.XMPP {
		cfg.Mode = tls.OpportunisticStartTLS
	}
	s, err := tls.Client(ctx, conn, cfg)
	if judged, ok := errors.AsType[*Error](err); ok {
		return nil, judged
	}
	if errors.As(err, new(*tls.ConfigError)) {
		return nil, err
	}
	if err != nil {
		return nil, fail(reasonOf(err), err)
	}
	if verdict == nil {
		verdict = h.plaintext()
	}
	return &Connection{Session: s, Verdict: verdict}, nil
}

// domain is that of XMPP.
func (d *Dialer) domain(p *Plan) string {
	if p.Target.SRV != "" {
		return p.Target.SRV
	}
	if p.Target.ServerName != "" {
		return p.Target.ServerName
	}
	return p.Target.Host
}

// plaintext is the verdict where there is no TLS.
func (h *Host) plaintext() *Verdict {
	v := &Verdict{Host: h.Name, Port: h.Port, Rule: h.Rule, Why: slices.Clone(h.Why)}
	if h.Rule == RuleOpportunistic {
		v.because("the server has no STARTTLS, so this is plaintext")
	}
	if h.testing {
		h.wouldFail(v, tls.ErrStartTLSNotOffered)
	}
	return v
}

// tls is the configuration for a host. All certificates are judged by Host.Judge,
// those of resumed sessions too.
func (d *Dialer) tls(h *Host, verdict **Verdict) *cryptotls.Config {
	c := d.opts.Profile.Config()
	c.ServerName = h.ServerName
	c.InsecureSkipVerify = true
	c.Certificates = d.opts.Certificates
	c.Time = d.opts.Time
	// Messages go there. Records of the size of a packet, as crypto/tls begins, are a
	// write each, which costs more than the first octet's being there earlier wins.
	c.DynamicRecordSizingDisabled = true
	if d.sessions != nil {
		c.ClientSessionCache = scoped{d.sessions, h.Address() + " "}
	}
	c.VerifyConnection = func(state cryptotls.ConnectionState) (err error) {
		*verdict, err = h.Judge(&state, d.opts.Time())
		return err
	}
	return c
}

// scoped keeps the sessions of one server apart from those of others with the
// same name.
type scoped struct {
	cryptotls.ClientSessionCache
	prefix string
}

// Get implements tls.ClientSessionCache.
func (s scoped) Get(key string) (*cryptotls.ClientSessionState, bool) {
	return s.ClientSessionCache.Get(s.prefix + key)
}

// Put implements tls.ClientSessionCache.
func (s scoped) Put(key string, state *cryptotls.ClientSessionState) {
	s.ClientSessionCache.Put(s.prefix+key, state)
}
