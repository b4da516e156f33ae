package tlstool

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// ask asks the DNS, and for MTA-STS the web, what they say of the server, and finds
// out what a client that heeds it does.
func (p *prober) ask(ctx context.Context) {
	if p.opts.Resolver == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*p.t.timeout())
	defer cancel()
	p.mail(ctx)
	p.sts(ctx)
	host, err := p.plan(ctx)
	p.dane(ctx, host)
	p.judge(host, err)
}

// plan returns what a client would ask of the server: one that delivers mail to the
// domain, if that is known, and else one that was told its name.
func (p *prober) plan(ctx context.Context) (*policy.Host, error) {
	opts := &policy.Options{Resolver: p.opts.Resolver, Roots: p.opts.Roots, Time: p.opts.now,
		Policy: policy.Policy{DANE: policy.IfPublished}}
	target := &policy.Target{Protocol: p.t.Protocol, Host: p.t.Name(), Port: p.t.Port}
	if target.Protocol == 0 {
		target.Protocol = tls.LDAP // a plan speaks no protocol; this one has no ALPN
	}
	if p.delivers() {
		target = &policy.Target{MX: p.report.Mail.Domain, Port: p.t.Port}
		opts.Policy.MTASTS, opts.Policy.Base, opts.MTASTS = true, policy.Opportunistic, p.stsClient
	}
	d, err := policy.New(opts)
	if err != nil {
		return nil, err
	}
	plan, err := d.Plan(ctx, target)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(plan.Hosts, func(h *policy.Host) bool { return sameHost(h.Name, p.t.Name()) })
	if i < 0 {
		return nil, errNotPlanned
	}
	return plan.Hosts[i], nil
}

// errNotPlanned says that a client would not connect here.
var errNotPlanned = errors.New("the server is behind so many others that nobody connects to it")

// delivers reports whether the server is one that takes mail of a known domain.
func (p *prober) delivers() bool { return p.report.Mail != nil && p.report.Mail.Listed }

func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// dane holds TLSA records against the server's certificates. The host may be nil.
func (p *prober) dane(ctx context.Context, host *policy.Host) {
	name, err := dane.TLSAName(p.t.Name(), "tcp", p.t.Port)
	if err != nil || net.ParseIP(p.t.Name()) != nil {
		return // an address has none
	}
	d := &DANE{Name: name, Records: []string{}}
	p.report.DANE = d
	records, names := []dane.Record(nil), []string{p.t.Name()}
	if host != nil && host.TLSAName != "" {
		d.Name, d.Secure, records, names = host.TLSAName, true, host.TLSA, host.Names
	} else {
		answer, lookupErr := p.opts.Resolver.LookupTLSA(ctx, name)
		if lookupErr != nil {
			d.Error = printable(lookupErr.Error())
			return
		}
		d.Secure, records = answer.Secure, answer.Records
	}
	for _, r := range records {
		d.Records = append(d.Records, printable(r.String()))
	}
	// RFC 7672, Section 3.1.3: SMTP takes no PKIX usages.
	usages := []dane.Usage{dane.DANETA, dane.DANEEE}
	if p.report.Protocol != "smtp" {
		usages = append(usages, dane.PKIXTA, dane.PKIXEE)
	}
	d.Usable = len(dane.Usable(records, usages...))
	match, err := dane.Verify(records, p.state.PeerCertificates, &dane.VerifyOptions{
		Usages: usages, Roots: p.opts.Roots, Time: p.opts.now(),
		Name: func(c *x509.Certificate) error { _, nameErr := tls.VerifyName(c, names...); return nameErr },
	})
	if d.Matched = err == nil; d.Matched {
		d.Record = match.Record.Short()
	} else if len(records) > 0 {
		d.Mismatch = printable(err.Error())
	}
}

// judge tells what a client makes of the server.
func (p *prober) judge(host *policy.Host, err error) {
	c := &Client{Why: []string{}}
	p.report.Client = c
	var verdict *policy.Verdict
	if err == nil {
		err = host.Err
	}
	if err == nil {
		verdict, err = host.Judge(&p.state, p.opts.now())
	}
	if refusal, ok := errors.AsType[*policy.Error](err); ok {
		c.Reason = refusal.Reason.String()
		if c.Why = append(c.Why, refusal.Why...); refusal.Rule != 0 {
			c.Rule = refusal.Rule.String()
		}
	}
	if err != nil {
		c.Error, c.err = printable(err.Error()), err
		return
	}
	c.Connects, c.Authenticated, c.Rule, c.Why = true, verdict.Authenticated, verdict.Rule.String(), verdict.Why
}
