package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A Target is whom to connect to. Exactly one of Host, MX and SRV is set.
type Target struct {
	// Protocol is required; for MX it is SMTP when zero.
	Protocol tls.Protocol
	// Mode is Implicit, StartTLS or InsecurePlaintext; for MX it is StartTLS, whatever
	// it says here. That StartTLS may be left out is said by the policy
	// [Opportunistic] alone. InsecurePlaintext, for Host alone, has no policy.
	Mode tls.Mode

	// Host is a server: a domain name or an IP address.
	Host string
	// MX is a domain of mail addresses, whose mail is taken by the servers in its MX
	// records, or else by the host of that name (RFC 5321, Section 5.1).
	MX string
	// SRV is a domain, whose servers are in the SRV records for the protocol and
	// the mode (RFC 6186 and its like), such as "_imaps._tcp.example.org".
	SRV string

	// Port is for Host and MX; where it is zero, it is that of the protocol and the
	// mode, and for MX 25.
	Port uint16
	// ServerName is for Host: the certificate has to be for this name in its place.
	ServerName string
}

// A service has the name that it has in SRV records, if there are any, and a port.
type service struct {
	name string
	port uint16
}

// services are the names of SRV records and the ports, by protocol, first for
// Implicit and then for StartTLS (RFC 8314, RFC 6186, RFC 5804, RFC 6120, RFC 2782
// and IANA's registry).
var services = map[tls.Protocol][2]service{
	tls.SMTP:        {{"submissions", 465}, {"submission", 587}},
	tls.LMTP:        {{"", 24}, {"", 24}},
	tls.IMAP:        {{"imaps", 993}, {"imap", 143}},
	tls.POP3:        {{"pop3s", 995}, {"pop3", 110}},
	tls.ManageSieve: {{"", 4190}, {"sieve", 4190}},
	tls.LDAP:        {{"", 636}, {"ldap", 389}},
	tls.XMPP:        {{"xmpps-client", 5223}, {"xmpp-client", 5222}},
}

// prepared returns a copy with all defaults, its names in A-labels.
func (t *Target) prepared() (*Target, error) {
	if t == nil {
		return nil, &tls.ConfigError{Field: "Target", Problem: "is nil"}
	}
	out := *t
	if out.MX != "" {
		out.Mode = tls.StartTLS
		if out.Protocol == 0 {
			out.Protocol = tls.SMTP
		}
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	if out.Port == 0 && out.SRV == "" {
		out.Port = out.service().port
		if out.MX != "" {
			out.Port = 25
		}
	}
	for _, field := range []struct {
		name  string
		value *string
	}{{"Host", &out.Host}, {"MX", &out.MX}, {"SRV", &out.SRV}, {"ServerName", &out.ServerName}} {
		if *field.value == "" {
			continue
		}
		clean, err := cleanHost(*field.value, field.name == "Host" || field.name == "ServerName")
		if err != nil {
			return nil, &tls.ConfigError{Field: field.name, Problem: fmt.Sprintf("%q is not a domain name", *field.value)}
		}
		*field.value = clean
	}
	return &out, nil
}

// check finds mistakes that have nothing to do with how names are written.
func (t *Target) check() error {
	set := 0
	for _, s := range []string{t.Host, t.MX, t.SRV} {
		if s != "" {
			set++
		}
	}
	var field, problem string
	switch {
	case set != 1:
		field, problem = "Target", "exactly one of Host, MX and SRV is needed"
	case t.service().port == 0:
		field, problem = "Protocol", "is not set"
	case t.MX != "" && t.Protocol != tls.SMTP:
		field, problem = "Protocol", "MX is for SMTP alone"
	case t.Mode == tls.OpportunisticStartTLS:
		field, problem = "Mode", "whether STARTTLS may be left out is for the policy to say"
	case t.Mode == tls.InsecurePlaintext && t.Host == "":
		field, problem = "Mode", "plaintext is for a host alone"
	case t.Mode < tls.Implicit || t.Mode > tls.InsecurePlaintext:
		field, problem = "Mode", fmt.Sprintf("there is no %v", t.Mode)
	case t.Host == "" && t.ServerName != "":
		field, problem = "ServerName", "is for a host alone"
	case t.SRV != "" && t.Port != 0:
		field, problem = "Port", "is in the SRV records"
	case t.SRV != "" && t.service().name == "":
		field, problem = "SRV", fmt.Sprintf("there are no such records for %v, %v", t.Protocol, t.Mode)
	default:
		return nil
	}
	return &tls.ConfigError{Field: field, Problem: problem}
}

// service is that of the protocol and the mode; its port is 0 if there is none.
func (t *Target) service() service {
	if t.Mode == tls.Implicit {
		return services[t.Protocol][0]
	}
	return services[t.Protocol][1]
}

// cleanHost returns a name in A-labels, in lower case and without a dot at the
// end; or an IP address, if it may be one.
func cleanHost(name string, address bool) (string, error) {
	if address {
		if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
			return a.Unmap().String(), nil
		}
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", err
		}
		name = ascii
	}
	return dane.CleanName(name)
}
