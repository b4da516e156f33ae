package config

import (
	"net/netip"

	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// Resolver returns a client of the DNS, as [dns] says.
func (c *Config) Resolver() (*dnsclient.Client, error) {
	opts := &dnsclient.Options{Servers: []netip.AddrPort{c.DNS.Resolver}}
	if !c.DNS.Resolver.IsValid() {
		var err error
		if opts.Servers, err = dnsclient.SystemServers(dnsclient.ResolvConf); err != nil {
			return nil, err
		}
	}
	return dnsclient.New(opts)
}
