package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// services are the names of a protocol's services, and the mode that each stands
// for. RFC 8314, Section 5.1: implicit TLS comes first.
var services = map[tls.Protocol][]struct {
	name string
	mode tls.Mode
}{
	tls.SMTP: {{"_submissions", tls.Implicit}, {"_submission", tls.StartTLS}},
	tls.IMAP: {{"_imaps", tls.Implicit}, {"_imap", tls.StartTLS}},
}

// bySRV finds the services that a domain has by its SRV records (RFC 6186, Section
// 3). Which of their hosts are tried in which order, and which names count, is for
// package policy; but hosts in targets are known by their own names, as the user
// would have confirmed them.
func (f *Finder) bySRV(ctx context.Context, domain string, targets []string, p *config.Protection) ([]Place, error) {
	var places []Place
	var errs []error
	for _, service := range services[f.protocol] {
		answer, err := f.resolver.LookupSRV(ctx, service.name+"._tcp."+domain)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		confirmed, within := sortOut(answer, domain, targets)
		for _, r := range confirmed {
			places = append(places, Place{policy.Target{Protocol: f.protocol, Mode: service.mode, Host: r.Target, Port: r.Port}, p})
		}
		switch {
		case len(confirmed) > 0:
		case within:
			places = append(places, Place{policy.Target{Protocol: f.protocol, Mode: service.mode, SRV: domain}, p})
		case slices.ContainsFunc(answer.Records, isHost):
			errs = append(errs, ErrTarget)
		}
	}
	switch {
	case len(places) > 0:
		return places, nil
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	}
	return nil, ErrNoService
}

// isHost reports whether a record names one. RFC 6186, Section 3.4: a target of
// "." says that there is no such service.
func isHost(r dane.SRV) bool { return r.Target != "." && r.Port != 0 }

// sortOut finds the records that were confirmed by targets, and reports whether all
// others may be used. RFC 6186, Section 6: for hosts outside of the domain, which
// DNSSEC does not vouch for, the user would be asked; nobody is asked here.
func sortOut(answer *dane.Answer[dane.SRV], domain string, targets []string) (confirmed []dane.SRV, usable bool) {
	usable = true
	n := 0
	for _, r := range answer.Records {
		if !isHost(r) {
			continue
		}
		n++
		if slices.ContainsFunc(targets, func(t string) bool { return strings.EqualFold(t, r.Target) }) {
			confirmed = append(confirmed, r)
		} else if !answer.Secure && !within(r.Target, domain) {
			usable = false
		}
	}
	slices.SortStableFunc(confirmed, func(a, b dane.SRV) int { return int(a.Priority) - int(b.Priority) })
	return confirmed, usable && n > 0
}

// within reports whether a host is a domain or below it.
func within(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(domain)
	return host == domain || strings.HasSuffix(host, "."+domain)
}
