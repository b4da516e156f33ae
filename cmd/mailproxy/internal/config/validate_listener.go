package config

import (
	"fmt"
	"net"
	"strings"

	"github.com/postseal/postseal/tls"
	tlspolicy "github.com/postseal/postseal/tls/policy"
)

func (v *validator) listener(at string, l *Listener, addresses map[string]bool) {
	v.oneOf(at+"protocol", l.Protocol, SMTP, IMAP4)
	if v.need(at+"address", l.Address, "the address to listen at") {
		v.address(at+"address", l.Address)
		if addresses[l.Address] && !strings.HasSuffix(l.Address, ":0") {
			v.fail(at+"address", "another listener has the address %s", l.Address)
		}
		addresses[l.Address] = true
	}
	v.mode(at, l.Mode)
	v.certificate(at, l)
	if l.Login == "" {
		l.Login = LoginRequired
	}
	if v.oneOf(at+"login", l.Login, LoginRequired, LoginOptional) && l.Login == LoginOptional && l.Protocol == IMAP4 {
		v.fail(at+"login", "IMAP is nothing without a login")
	}
	v.transparent(at, l)
	v.upstream(at, l)
}

// certificate wants one of the three ways to have one.
func (v *validator) certificate(at string, l *Listener) {
	files := l.Certificate != "" || l.Key != ""
	if l.Staple && !files {
		v.fail(at+"staple", "this is for a certificate that an authority has issued")
	}
	switch {
	case l.Mode == tls.InsecurePlaintext:
		if files || l.SelfMade != "" || l.Authority != "" {
			v.fail(at+"mode", "%s has no use for a certificate", l.Mode)
		}
	case files && l.SelfMade != "":
		v.fail(at+"self_made", "certificate and key are there, too; one of both is enough")
	case l.Authority != "" && (files || l.SelfMade != ""):
		v.fail(at+"authority", "there is a certificate, too; one of both is enough")
	case files:
		v.need(at+"certificate", l.Certificate, "the file of the certificate")
		v.need(at+"key", l.Key, "the file of the certificate's key")
	case l.Authority == "":
		v.need(at+"certificate", l.SelfMade, "the file of a certificate, with key, or self_made, or authority,")
	}
}

// transparent wants connections that somebody leads here to have places that they
// may go to: else this is a relay for everybody.
func (v *validator) transparent(at string, l *Listener) {
	if l.Transparent == "" {
		for key, there := range map[string]bool{"destinations": len(l.Destinations) > 0, "ports": len(l.Ports) > 0} {
			if there {
				v.fail(at+key, "this is for listeners with the key transparent")
			}
		}
		return
	}
	v.oneOf(at+"transparent", l.Transparent, Redirect, TProxy)
	if len(l.Destinations) == 0 {
		v.fail(at+"destinations", "the addresses are needed that connections may go to, such as [\"192.0.2.0/24\"]")
	}
	if len(l.ProxyFrom) > 0 {
		v.fail(at+"proxy_from", "connections with the PROXY protocol come from another proxy, and were not going elsewhere")
	}
	if len(l.Ports) == 0 {
		l.Ports = []uint16{uint16(standardPort(l.Protocol, l.Mode))}
	}
	if l.Upstream.Find == "" {
		l.Upstream.Find = FindDestination
	}
}

// mode wants the mode to be said, so that nobody gets one by accident.
func (v *validator) mode(at string, m tls.Mode) {
	if v.lines[at+"mode"] == 0 && strings.HasPrefix(at, "listener") && !strings.Contains(at, "upstream") {
		v.fail(at+"mode", "one is needed here: %s, %s or %s", tls.Implicit, tls.StartTLS, tls.InsecurePlaintext)
	}
	if m == tls.OpportunisticStartTLS {
		v.fail(at+"mode", "%s would let anybody on the way read along; its values are: %s, %s, %s", m, tls.Implicit, tls.StartTLS, tls.InsecurePlaintext)
	}
}

func (v *validator) upstream(at string, l *Listener) {
	u := &l.Upstream
	at += "upstream."
	if u.Find == "" {
		u.Find = FindHost
		if u.Domain != "" && u.Host == "" {
			u.Find = FindSRV
		}
	}
	if !v.oneOf(at+"find", u.Find, FindHost, FindSRV, FindLogin, FindDestination) {
		return
	}
	v.clientAddress(at, l)
	if u.Find == FindHost {
		v.place(at, &u.Place, l.Protocol)
	} else if u.Host != "" || u.Port != 0 || u.Name != "" {
		v.fail(at+"find", "with %q there is no use for host, port and name", u.Find)
	}
	if u.Find == FindSRV {
		if v.need(at+"domain", u.Domain, "the domain whose SRV records are looked up") && !isHost(u.Domain) {
			v.fail(at+"domain", "%q is not a domain", u.Domain)
		}
	} else if u.Domain != "" || len(u.Targets) > 0 {
		v.fail(at+"find", "domain and targets are for %q", FindSRV)
	}
	if u.Find == FindLogin && len(v.c.Domains) == 0 {
		v.fail(at+"find", "there is no [[domain]]: who logs in could go nowhere")
	}
	if u.Find == FindDestination {
		switch {
		case l.Transparent == "":
			v.fail(at+"find", "this is for listeners with the key transparent")
		case v.lines[at+"mode"] == 0:
			u.Mode = l.Mode // the client meant the same port
		}
	}
	v.mode(at, u.Mode)
	if u.Find != FindHost { // place has looked at it
		v.protection(at, &u.Protection, u.Mode)
	}
}

// clientAddress wants what the protocol has.
func (v *validator) clientAddress(at string, l *Listener) {
	u := &l.Upstream
	if u.ClientAddress == "" {
		u.ClientAddress = TellNothing
	}
	known := []string{TellNothing, TellProxyV1, TellProxyV2, TellXCLIENT}
	if l.Protocol == IMAP4 {
		known[3] = TellID
	}
	v.oneOf(at+"client_address", u.ClientAddress, known...)
}

// place wants a host, and fills in what follows from it.
func (v *validator) place(at string, p *Place, protocol string) {
	if v.need(at+"host", p.Host, "the name of the mail server") && !isHost(p.Host) && net.ParseIP(p.Host) == nil {
		v.fail(at+"host", "%q is not the name of a host", p.Host)
	}
	v.mode(at, p.Mode)
	if p.Port == 0 {
		p.Port = standardPort(protocol, p.Mode)
	}
	if p.Port < 1 || p.Port > 65535 {
		v.fail(at+"port", "a port between 1 and 65535 was expected")
	}
	if p.Name == "" {
		p.Name = p.Host
	}
	v.protection(at, &p.Protection, p.Mode)
}

// protection wants one that protects.
func (v *validator) protection(at string, p *Protection, m tls.Mode) {
	switch {
	case m == tls.InsecurePlaintext:
		for key, there := range map[string]bool{"ca": p.CA != "", "policy": v.lines[at+"policy"] != 0, "pins": len(p.Pins) > 0} {
			if there {
				v.fail(at+key, "there is no use for it with %s", m)
			}
		}
	case p.Policy.MTASTS:
		v.fail(at+"policy", "MTA-STS is about the servers that take a domain's mail from others; this one is of whoever logs in")
	case p.Policy.Base == tlspolicy.Opportunistic:
		v.fail(at+"policy", "it would let anybody on the way read along")
	case p.Policy.Base == tlspolicy.Pinned && len(p.Pins) == 0:
		v.fail(at+"pins", "the policy is %q: which certificates or keys?", p.Policy)
	}
	if len(p.Pins) > 0 {
		p.Policy.Pins = p.Pins
	} else {
		p.Pins = nil
	}
}

// domains are those of login names.
func (v *validator) domains() {
	seen := make(map[string]bool)
	for i := range v.c.Domains {
		d := &v.c.Domains[i]
		at := fmt.Sprintf("domain[%d].", i)
		d.Name = strings.ToLower(d.Name)
		if v.need(at+"name", d.Name, "the name of the domain") && !isHost(d.Name) {
			v.fail(at+"name", "%q is not a domain", d.Name)
		}
		if seen[d.Name] {
			v.fail(at+"name", "another domain has the name %q", d.Name)
		}
		seen[d.Name] = true
		v.protection(at, &d.Protection, tls.Implicit)
		if d.SMTP != nil {
			v.place(at+"smtp.", d.SMTP, SMTP)
		}
		if d.IMAP != nil {
			v.place(at+"imap.", d.IMAP, IMAP4)
		}
	}
}

// standardPort returns that of RFC 8314 and RFC 6409.
func standardPort(protocol string, m tls.Mode) int {
	switch {
	case protocol == IMAP4 && m == tls.Implicit:
		return 993
	case protocol == IMAP4:
		return 143
	case m == tls.Implicit:
		return 465
	}
	return 587
}
