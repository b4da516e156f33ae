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

// services are the names of SRV records and the ports, by protocol, first for
// Implicit and then for StartTLS (RFC 8314, RFC 6186, RFC 5804, RFC 6120, RFC 2782
// and IANA's registry).
var services = map[tls.Protocol][2]struct {
	name string
	port uint16
}{
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
	fail := func(field, format string, args ...any) (*Target, error) {
		return nil, &tls.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	set := 0
	for _, s := range []string{out.Host, out.MX, out.SRV} {
		if s != "" {
			set++
		}
	}
	service, known := services[out.Protocol]
	at := 0
	if out.Mode != tls.Implicit {
		at = 1
	}
	switch {
	case set != 1:
		return fail("Target", "exactly one of Host, MX and SRV is needed")
	case !known:
		return fail("Protocol", "is not set")
	case out.MX != "" && out.Protocol != tls.SMTP:
		return fail("Protocol", "MX is for SMTP alone")
	case out.Mode == tls.OpportunisticStartTLS:
		return fail("Mode", "whether STARTTLS may be left out is for the policy to say")
	case out.Mode == tls.InsecurePlaintext && out.Host == "":
		return fail("Mode", "plaintext is for a host alone")
	case out.Mode < tls.Implicit || out.Mode > tls.InsecurePlaintext:
		return fail("Mode", "there is no %v", out.Mode)
	case out.Host == "" && out.ServerName != "":
		return fail("ServerName", "is for a host alone")
	case out.SRV != "" && (out.Port != 0 || service[at].name == ""):
		return fail("SRV", "there are no such records for %v, %v, or a port is given", out.Protocol, out.Mode)
	}
	if out.Port == 0 && out.SRV == "" {
		out.Port = service[at].port
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
			return fail(field.name, "%q is not a domain name", *field.value)
		}
		*field.value = clean
	}
	return &out, nil
}

// serviceName is the name of the SRV records' service.
func (t *Target) serviceName() string {
	if t.Mode == tls.Implicit {
		return services[t.Protocol][0].name
	}
	return services[t.Protocol][1].name
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
