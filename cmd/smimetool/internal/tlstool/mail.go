package tlstool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

// mail finds the domain whose mail the server takes: the one that was given, or for
// servers that mail is delivered to, that of its own name or one above it whose MX
// records name it.
func (p *prober) mail(ctx context.Context) {
	if p.opts.Domain != "" {
		p.report.Mail = p.mailOf(ctx, p.opts.Domain)
		return
	}
	if p.t.Protocol != tls.SMTP || !p.t.StartTLS || p.t.Port == 587 {
		return
	}
	name := strings.TrimSuffix(p.t.Name(), ".")
	for range 3 {
		if !strings.Contains(name, ".") {
			return
		}
		if m := p.mailOf(ctx, name); m.Listed {
			p.report.Mail = m
			return
		}
		_, name, _ = strings.Cut(name, ".")
	}
}

// mailOf asks for the mail servers of a domain.
func (p *prober) mailOf(ctx context.Context, domain string) *Mail {
	m := &Mail{Domain: printable(strings.ToLower(strings.TrimSuffix(domain, "."))), MX: []string{}}
	answer, err := p.opts.Resolver.LookupMX(ctx, domain)
	if err != nil {
		m.Error = printable(err.Error())
		return m
	}
	m.Secure = answer.Secure
	for _, r := range answer.Records {
		m.MX = append(m.MX, printable(fmt.Sprintf("%d %s", r.Preference, r.Host)))
		m.Listed = m.Listed || sameHost(r.Host, p.t.Name())
	}
	return m
}

// sts finds the MTA-STS policy of the domain.
func (p *prober) sts(ctx context.Context) {
	if p.report.Mail == nil {
		return
	}
	var err error
	p.stsClient, err = mtasts.New(&mtasts.Options{Resolver: p.opts.Resolver, Cache: mtasts.NewMemoryCache(nil), Roots: p.opts.Roots,
		Timeout: p.t.timeout(), Dial: p.opts.DialWeb, Time: p.opts.now})
	if err != nil {
		return // it has all that it needs
	}
	s := &MTASTS{}
	p.report.MTASTS = s
	result, err := p.stsClient.Lookup(ctx, p.report.Mail.Domain)
	if err != nil {
		s.Error, s.err = printable(err.Error()), err
		return
	}
	if s.err = result.Trouble; s.err != nil {
		s.Error = printable(s.err.Error())
	}
	if result.Policy == nil {
		return
	}
	s.ID, s.Mode, s.MaxAge, s.MX = result.ID, string(result.Policy.Mode), int64(result.Policy.MaxAge/time.Second), result.Policy.MX
	s.Listed = result.Policy.Matches(p.t.Name())
}

// adviseMail is about the domain.
func (p *prober) adviseMail() {
	m, r := p.report.Mail, p.report
	switch {
	case m == nil:
		return
	case m.Error != "":
		r.advise(Bad, "the MX records of "+m.Domain+" could not be looked up, so that mail to it waits: "+m.Error)
	case len(m.MX) == 0:
		r.advise(Warning, m.Domain+" has no MX records")
	case !m.Listed:
		r.advise(Warning, "the MX records of "+m.Domain+" do not name this server, but "+strings.Join(m.MX, ", "))
	}
	if d := r.DANE; d != nil && len(d.Records) > 0 && d.Secure && !m.Secure && m.Error == "" {
		r.advise(Warning, "DNSSEC vouches for the TLSA records, but not for the MX records of "+m.Domain+": they do not keep mail from being led elsewhere (RFC 7672, Section 2.2.1)")
	}
	p.adviseSTS()
}

func (p *prober) adviseSTS() {
	s, m, r := p.report.MTASTS, p.report.Mail, p.report
	switch {
	case s == nil:
	case s.Mode == "" && isNone(s.err):
		if d := r.DANE; d == nil || !d.Matched || !d.Secure || !m.Secure {
			r.advise(Note, m.Domain+" has no MTA-STS policy (RFC 8461): without one, or DANE, whoever is between a sender and this server can take STARTTLS away")
		}
	case s.Mode == "":
		r.advise(Warning, "the MTA-STS policy of "+m.Domain+" is of no use: "+s.Error)
	case s.Mode == string(mtasts.None):
		r.advise(Note, "the MTA-STS policy of "+m.Domain+" has the mode \"none\", which asks for nothing")
	case !s.Listed:
		r.advise(p.unlessTesting(), "the MTA-STS policy of "+m.Domain+" does not name this server, but "+strings.Join(s.MX, ", ")+"; add it, with a new id in the record")
	case !r.Trust.Trusted:
		r.advise(p.unlessTesting(), "MTA-STS asks for a certificate for "+printable(p.t.Name())+" from a public authority: senders that keep to it cannot deliver")
	case s.Mode == string(mtasts.Testing):
		r.advise(Note, "the MTA-STS policy of "+m.Domain+" has the mode \"testing\"; when no failures are reported, \"enforce\" protects")
	}
	if s != nil && s.Mode != "" && s.Mode != string(mtasts.None) && time.Duration(s.MaxAge)*time.Second < 24*time.Hour {
		r.advise(Note, fmt.Sprintf("the MTA-STS policy of %s holds for %s; weeks protect better (RFC 8461, Section 3.2)", m.Domain, span(s.MaxAge)))
	}
}

// isNone reports whether there just is no policy.
func isNone(err error) bool { return err == nil || errors.Is(err, mtasts.ErrNoRecord) }

// unlessTesting is how bad it is to break the policy.
func (p *prober) unlessTesting() Severity {
	if p.report.MTASTS.Mode == string(mtasts.Testing) {
		return Warning
	}
	return Bad
}
