package main

import (
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

const tlsProbeLong = `
Looks at a server's TLS: the handshake, the certificate with its path, dates and
names, what the DNS says of it (DANE), resumption, client certificates, a stapled
OCSP response, and, by trying one after the other, versions, ciphers and key
exchanges. Then it says what should be done. That takes some 40 connections;
--quick makes two.

A server that mail is delivered to (SMTP with STARTTLS) is looked at as a sender
does it: by the MX records and the MTA-STS policy of the domain that --domain names,
or whose MX records name the server.

DNSSEC counts if the resolver is on this computer.

Exit codes: 0 if the server is one to trust; 5 if its certificate is not trusted or
is for another name, or DANE or MTA-STS forbid to connect; 1 if there was no TLS to
look at.
`

type tlsProbe struct {
	targetFlags
	asJSON, quick, noDNS bool
	resolver, domain     string
}

func newTLSProbe(a *app) *cobra.Command {
	f := &tlsProbe{}
	cmd := a.newCommand("probe [--starttls PROTOCOL] [--json] HOST:PORT", "Look at a server's TLS", tlsProbeLong, 1,
		func(args []string) error { return a.tlsProbe(f, args) })
	f.register(a, cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.asJSON, "json", false, "print the report as a JSON object")
	flags.BoolVar(&f.quick, "quick", false, "do not try versions, ciphers and key exchanges")
	flags.BoolVar(&f.noDNS, "no-dns", false, "do not ask the DNS: leave DANE and MTA-STS out")
	flags.StringVar(&f.domain, "domain", "", "the server takes mail for `DOMAIN`: look at its MX records and MTA-STS policy (default: found by the server's name)")
	flags.StringVar(&f.resolver, "resolver", "", "ask the DNS resolver at `ADDRESS`, such as 127.0.0.1 or 127.0.0.1:53 (default: those of the system)")
	return cmd
}

func (a *app) tlsProbe(f *tlsProbe, args []string) error {
	t, err := f.target(args)
	if err != nil {
		return err
	}
	if f.domain != "" {
		if _, err = dane.CleanName(f.domain); err != nil {
			return usagef("--domain: %s is not a domain name", quote(f.domain))
		}
		if f.noDNS {
			return usagef("--no-dns and --domain exclude each other")
		}
	}
	opts := &tlstool.Options{Quick: f.quick, Domain: f.domain}
	if opts.Resolver, err = f.dns(); err != nil {
		return err
	}
	if opts.Roots, err = a.roots(f.trust); err != nil {
		return err
	}
	if opts.Certificate, err = a.clientCertificate(&f.identity); err != nil {
		return err
	}
	report, err := tlstool.Probe(a.context(), t, opts)
	if report == nil {
		return err
	}
	var printErr error
	if f.asJSON {
		printErr = writeJSON(a.stdout, report)
	} else {
		printErr = report.WriteText(a.stdout)
	}
	if printErr != nil {
		return printErr
	}
	return err
}

// dns returns the resolver, nil for none.
func (f *tlsProbe) dns() (dane.Resolver, error) {
	switch {
	case f.noDNS && f.resolver != "":
		return nil, usagef("--no-dns and --resolver exclude each other")
	case f.noDNS:
		return nil, nil
	}
	opts := &dnsclient.Options{}
	if f.resolver != "" {
		server, err := netip.ParseAddrPort(f.resolver)
		if err != nil {
			server, err = netip.ParseAddrPort(net.JoinHostPort(f.resolver, "53"))
		}
		if err != nil {
			return nil, usagef("--resolver: %s is not an IP address, nor one with a port", quote(f.resolver))
		}
		opts.Servers = []netip.AddrPort{server}
	} else {
		var err error
		if opts.Servers, err = dnsclient.SystemServers(dnsclient.ResolvConf); err != nil {
			return nil, err
		}
	}
	return dnsclient.New(opts)
}
