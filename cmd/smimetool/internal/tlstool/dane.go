package tlstool

import (
	"context"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// dane asks for the TLSA records of the server and holds them against its
// certificates.
func (p *prober) dane(ctx context.Context) {
	if p.opts.Resolver == nil {
		return
	}
	name, err := dane.TLSAName(p.t.Name(), "tcp", p.t.Port)
	if err != nil {
		return // an address has none
	}
	d := &DANE{Name: name, Records: []string{}}
	p.report.DANE = d
	ctx, cancel := context.WithTimeout(ctx, p.t.timeout())
	defer cancel()
	answer, err := p.opts.Resolver.LookupTLSA(ctx, name)
	if err != nil {
		d.Error = printable(err.Error())
		return
	}
	d.Secure = answer.Secure
	for _, r := range answer.Records {
		d.Records = append(d.Records, printable(r.String()))
	}
	// RFC 7672, Section 3.1.3: SMTP takes no PKIX usages.
	usages := []dane.Usage{dane.DANETA, dane.DANEEE}
	if p.report.Protocol != "smtp" {
		usages = append(usages, dane.PKIXTA, dane.PKIXEE)
	}
	usable := dane.Usable(answer.Records, usages...)
	d.Usable = len(usable)
	for _, r := range dane.Strongest(usable) {
		d.Matched = d.Matched || p.matches(r)
	}
}

// matches reports whether a record vouches for the certificate.
func (p *prober) matches(r dane.Record) bool {
	certs := p.state.PeerCertificates
	switch r.Usage {
	case dane.DANEEE, dane.PKIXEE:
		certs = certs[:min(1, len(certs))]
		if r.Usage == dane.PKIXEE && !p.report.Trust.Trusted {
			return false
		}
	default:
		// RFC 7672, Section 3.1.2: the anchor must have been sent, and the name
		// must match. The path to it is that of the server.
		if len(certs) == 0 || !p.report.Trust.NameOK || r.Usage == dane.PKIXTA && !p.report.Trust.Trusted {
			return false
		}
		return p.anchored(r)
	}
	for _, c := range certs {
		if parsed, err := pki.ParseCertificate(c.Raw); err == nil && r.Matches(parsed) {
			return true
		}
	}
	return false
}

// anchored follows the issuers that were sent up to one that a record is for.
func (p *prober) anchored(r dane.Record) bool {
	certs := p.state.PeerCertificates
	for i, c := range certs {
		if i > 0 && certs[i-1].CheckSignatureFrom(c) != nil {
			return false
		}
		parsed, err := pki.ParseCertificate(c.Raw)
		if err != nil || p.opts.now().After(c.NotAfter) || p.opts.now().Before(c.NotBefore) {
			return false
		}
		if i > 0 && r.Matches(parsed) {
			return true
		}
	}
	return false
}
