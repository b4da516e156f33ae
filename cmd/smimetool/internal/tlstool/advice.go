package tlstool

import (
	"crypto/rsa"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// soon is when a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// advise says what should be done about what was found, worst first.
func (p *prober) advise() {
	p.adviseCertificate()
	p.adviseStaple()
	p.adviseDANE()
	p.adviseMail()
	p.adviseProtocol()
	p.adviseRest()
	order := []Severity{Bad, Warning, Note}
	slices.SortStableFunc(p.report.Advice, func(a, b Advice) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
}

func (p *prober) adviseCertificate() {
	r, certs := p.report, p.state.PeerCertificates
	if len(certs) == 0 {
		return
	}
	leaf, now := certs[0], p.opts.now()
	if !r.Trust.NameOK {
		text := "the certificate is not for " + printable(p.t.Name())
		if names := r.Certificates[0].Names; len(names) > 0 {
			text += ", but for " + strings.Join(names[:min(len(names), 5)], ", ")
		}
		if p.t.ServerName == "" {
			text += "; connect by one of its names, or get a certificate with this one"
		}
		r.advise(p.unlessDANE(), text)
	}
	for i, c := range certs {
		which := "the certificate"
		if i > 0 {
			which = "the certificate of " + printable(c.Subject.String())
		}
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			r.advise(p.unlessDANE(), which+" has expired on "+c.NotAfter.UTC().Format(time.DateOnly)+"; renew it")
		case now.Before(c.NotBefore):
			r.advise(p.unlessDANE(), which+" is not valid before "+c.NotBefore.UTC().Format(time.RFC3339)+"; look at the clocks")
		case left < soon && left < c.NotAfter.Sub(c.NotBefore)/3:
			r.advise(Warning, fmt.Sprintf("%s expires in %d days; renew it", which, int(left/(24*time.Hour))))
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
			r.advise(Bad, fmt.Sprintf("the RSA key of %s has %d bits; 2048 are the least", strings.TrimPrefix(which, "the certificate of "), key.N.BitLen()))
		}
		if slices.Contains([]x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA}, c.SignatureAlgorithm) && string(c.RawSubject) != string(c.RawIssuer) {
			r.advise(Bad, which+" is signed with "+c.SignatureAlgorithm.String()+", which clients refuse; get a new one")
		}
	}
	p.advisePath(leaf)
}

func (p *prober) advisePath(leaf *x509.Certificate) {
	r := p.report
	var unknown x509.UnknownAuthorityError
	switch err := r.Trust.err; {
	case err == nil, errors.As(err, new(x509.HostnameError)):
	case errors.As(err, &unknown) && string(leaf.RawSubject) == string(leaf.RawIssuer):
		r.advise(p.unlessDANE(), "the certificate is self-signed: only clients that were given it (--trust FILE), or DANE, can trust it")
	case errors.As(err, &unknown) && len(p.state.PeerCertificates) == 1:
		r.advise(p.unlessDANE(), "the issuer "+printable(leaf.Issuer.String())+" is not known here; if it is not an authority of your own (--trust FILE), the server should send the intermediate certificates with its own")
	case errors.As(err, &unknown):
		r.advise(p.unlessDANE(), "no path leads to an authority that is trusted here; is one of your own missing (--trust FILE)?")
	default:
		if text := tls.Advice(err); text != "" && !strings.Contains(text, "expired") {
			r.advise(p.unlessDANE(), text)
		}
	}
}

// unlessDANE is how bad a fault of the certificate is: TLSA records may vouch for it
// all the same, for those who look at them.
func (p *prober) unlessDANE() Severity {
	if c := p.report.Client; c != nil && c.Authenticated && c.Rule == policy.RuleDANE.String() {
		return Note
	}
	return Bad
}

func (p *prober) adviseStaple() {
	switch o, r := p.report.OCSP, p.report; {
	case o.Status == "revoked":
		r.advise(Bad, "the certificate has been revoked, as the server itself says in its stapled OCSP response; get a new one")
	case o.MustStaple && !o.Stapled:
		r.advise(Bad, "the certificate demands a stapled OCSP response (RFC 7633), and the server gave none; switch stapling on")
	case o.Error != "":
		r.advise(Warning, "the stapled OCSP response is of no use: "+o.Error)
	}
}

func (p *prober) adviseDANE() {
	d, r := p.report.DANE, p.report
	switch {
	case d == nil:
	case d.Error != "" && r.Client != nil && r.Client.Reason == policy.Bogus.String():
		r.advise(Bad, "clients that use DANE do not connect, since the DNSSEC signatures do not hold; sign the zone anew: "+d.Error)
	case d.Error != "":
		r.advise(Warning, "the TLSA records could not be looked up, and where DANE is used mail waits until they can: "+d.Error)
	case len(d.Records) == 0:
		if r.Protocol == "smtp" && p.t.Port == 25 {
			r.advise(Note, "there are no TLSA records at "+d.Name+"; with DNSSEC, "+r.Certificates[0].TLSA+" would let others know your key (RFC 7672)")
		}
	case !d.Secure:
		r.advise(Warning, "there are TLSA records, but DNSSEC does not vouch for them, or the resolver does not say so: nobody will use them")
	case d.Usable == 0:
		r.advise(Warning, "no TLSA record can be used for this protocol: for SMTP the usages are 2 and 3 (RFC 7672, Section 3.1)")
	case d.Matched && p.unlessDANE() == Note && !r.Trust.Trusted:
		r.advise(Note, "the TLSA records vouch for the certificate all the same, to clients that look at them")
	case !d.Matched:
		r.advise(Bad, d.Mismatch+"; clients that use DANE cannot connect. Publish "+r.Certificates[0].TLSA)
	}
}

func (p *prober) adviseProtocol() {
	r := p.report
	var old []string
	for _, o := range r.Versions {
		if o.Accepted && o.Weak {
			old = append(old, o.Name)
		}
	}
	if len(old) > 0 {
		r.advise(Warning, "the server accepts "+strings.Join(old, " and ")+", which are obsolete (RFC 8996); switch them off unless very old clients need them")
	}
	if len(r.Versions) > 0 && !p.accepts(cryptotls.VersionTLS13) {
		r.advise(Warning, "the server has no TLS 1.3; a newer TLS library brings it")
	}
	var weak []string
	for _, o := range r.Suites {
		if o.Weak {
			weak = append(weak, strings.TrimPrefix(o.Name, "TLS_"))
		}
	}
	if len(weak) > 0 {
		r.advise(Warning, "the server accepts weak cipher suites; take them out: "+strings.Join(weak, ", "))
	}
}

func (p *prober) adviseRest() {
	r, h := p.report, p.report.Handshake
	if !h.PostQuantum {
		r.advise(Note, "the key exchange is not safe from those who record now and have a quantum computer later; X25519MLKEM768 is, and needs a newer TLS library")
	}
	if id := p.t.Protocol.ALPN(); id != "" && h.ALPN == "" {
		r.advise(Note, "the server does not negotiate the protocol \""+id+"\" with ALPN (RFC 7301), which would keep others from leading its clients elsewhere")
	}
	switch {
	case !r.Resumption.Ticket && !h.ClientCertificate.Required:
		r.advise(Note, "the server gave no session ticket: every connection takes a full handshake")
	case r.Resumption.Ticket && !r.Resumption.Resumed && r.Resumption.Error == "" && p.opts.now().Before(r.Certificates[0].NotAfter):
		r.advise(Note, "the server gave a session ticket and did not take it; do all of its hosts and processes share the keys of tickets?")
	}
	if c := h.ClientCertificate; c.Required {
		r.advise(Note, "the server wants a client certificate: give one with --client-cert FILE")
	}
}
