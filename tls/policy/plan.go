package policy

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

// A Plan says which servers a target has, and what each has to show.
type Plan struct {
	// Target is complete, with its port and names in A-labels.
	Target Target
	Policy Policy
	// Hosts are in the order in which they are tried.
	Hosts []*Host

	why    []string // of all hosts
	secure bool     // DNSSEC vouches for the names of the hosts
	names  []string // that each host may have, beside its own
	only   bool     // the names are all that a host may have without DANE
	sts    func() (*mtasts.Result, error)
}

func (p *Plan) because(format string, args ...any) {
	p.why = append(p.why, printable(fmt.Sprintf(format, args...)))
}

// Plan finds the servers of a target and the rule for each, and connects to nobody
// but the DNS and, for MTA-STS, the web. The error is an *Error or a
// *tls.ConfigError; what keeps a single server from being connected to is in its
// Host.
func (d *Dialer) Plan(ctx context.Context, t *Target) (*Plan, error) {
	p, err := d.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, h := range p.Hosts {
		d.decide(ctx, p, h)
	}
	return p, nil
}

// plan finds the servers.
func (d *Dialer) plan(ctx context.Context, t *Target) (*Plan, error) {
	target, err := t.prepared()
	if err != nil {
		return nil, err
	}
	p := &Plan{Target: *target, Policy: d.opts.Policy, secure: true}
	if d.opts.Resolver == nil && target.Host == "" {
		return nil, &tls.ConfigError{Field: "Resolver", Problem: "is needed for MX and SRV"}
	}
	switch {
	case target.MX != "":
		p.sts = sync.OnceValues(func() (*mtasts.Result, error) { return d.opts.MTASTS.Lookup(ctx, target.MX) })
		err = d.planMX(ctx, p)
	case target.SRV != "":
		err = d.planSRV(ctx, p)
	default:
		h := &Host{Name: target.Host, Port: target.Port, ServerName: target.Host}
		if target.ServerName != "" {
			h.ServerName = target.ServerName
			p.names, p.only = []string{target.ServerName}, true
		}
		p.Hosts = []*Host{h}
	}
	if err != nil {
		return nil, err
	}
	if len(p.Hosts) > maxHosts {
		p.Hosts = p.Hosts[:maxHosts]
	}
	return p, nil
}

// planMX finds the hosts that take mail for a domain.
func (d *Dialer) planMX(ctx context.Context, p *Plan) error {
	domain := p.Target.MX
	answer, err := d.opts.Resolver.LookupMX(ctx, domain)
	if err != nil {
		// RFC 7672, Section 2.1.1: mail has to wait. Bogus is never "there is none".
		return &Error{Reason: lookupReason(err), Server: domain, Err: err}
	}
	p.secure, p.names = answer.Secure, []string{domain}
	if answer.Secure && answer.Name != domain {
		p.names = append(p.names, answer.Name)
	}
	switch {
	case p.secure:
		p.because("DNSSEC vouches for the MX records of %s", domain)
	case p.Policy.DANE != Ignore:
		p.because("DNSSEC does not vouch for the MX records of %s, so DANE does not decide", domain)
	}
	records := answer.Records
	switch {
	case answer.NXDomain:
		return &Error{Reason: NoSuchHost, Server: domain, Err: &NoServiceError{domain, "does not exist"}}
	case len(records) == 0:
		// RFC 5321, Section 5.1; RFC 7672, Section 2.2.1.
		p.because("%s has none, so the host of that name is meant", domain)
		records = []dane.MX{{Host: domain}}
	case slices.ContainsFunc(records, func(m dane.MX) bool { return m.Host == "." }):
		if len(records) == 1 { // RFC 7505, Section 3
			return &Error{Reason: NoSuchHost, Server: domain, Err: &NoServiceError{domain, "takes no mail"}}
		}
		records = slices.DeleteFunc(slices.Clone(records), func(m dane.MX) bool { return m.Host == "." })
	default:
		records = slices.Clone(records)
	}
	// RFC 5321, Section 5.1: hosts of one preference in random order.
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	slices.SortStableFunc(records, func(a, b dane.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	for _, m := range records {
		p.Hosts = append(p.Hosts, &Host{Name: m.Host, Port: p.Target.Port, ServerName: m.Host})
	}
	return nil
}

// planSRV finds the hosts of a service (RFC 2782).
func (d *Dialer) planSRV(ctx context.Context, p *Plan) error {
	domain, service := p.Target.SRV, p.Target.service().name
	name := "_" + service + "._tcp." + domain
	answer, err := d.opts.Resolver.LookupSRV(ctx, name)
	if err != nil {
		return &Error{Reason: lookupReason(err), Server: domain, Err: err}
	}
	if len(answer.Records) == 0 || len(answer.Records) == 1 && answer.Records[0].Target == "." {
		return &Error{Reason: NoSuchHost, Server: domain, Err: &NoServiceError{domain, "has no service " + name}}
	}
	// RFC 6186, Section 6, and RFC 9525, Section 6.1: the names that were asked for,
	// and not those that came of it; but where DNSSEC vouches for these (RFC 7673,
	// Section 4; RFC 7817, Section 3).
	p.secure, p.names, p.only = answer.Secure, []string{domain, "_" + service + "." + domain}, !answer.Secure
	if p.secure {
		p.because("DNSSEC vouches for the SRV records at %s", name)
	} else {
		p.because("DNSSEC does not vouch for the SRV records at %s, so DANE does not apply, and names in them do not count", name)
	}
	for _, s := range bySRV(answer.Records) {
		p.Hosts = append(p.Hosts, &Host{Name: s.Target, Port: s.Port, ServerName: s.Target})
	}
	return nil
}

// bySRV sorts records by priority, and those of one priority at random by their
// weights (RFC 2782).
func bySRV(records []dane.SRV) []dane.SRV {
	left := slices.DeleteFunc(slices.Clone(records), func(s dane.SRV) bool { return s.Target == "." })
	// Those without weight come first, so that they have a small chance.
	slices.SortStableFunc(left, func(a, b dane.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Weight, b.Weight))
	})
	var out []dane.SRV
	for len(left) > 0 {
		total, n := 0, 0
		for n < len(left) && left[n].Priority == left[0].Priority {
			total += int(left[n].Weight)
			n++
		}
		at, pick := rand.IntN(total+1), 0
		for sum := int(left[0].Weight); sum < at && pick < n-1; sum += int(left[pick].Weight) {
			pick++
		}
		out = append(out, left[pick])
		left = slices.Delete(left, pick, pick+1)
	}
	return out
}

// decide finds the rule for a host.
func (d *Dialer) decide(ctx context.Context, p *Plan, h *Host) {
	h.Why = append(slices.Clone(p.why), h.Why...)
	h.roots, h.pins = d.opts.Roots, p.Policy.Pins
	own := []string{h.Name}
	if p.only {
		own = nil
	}
	h.Names = slices.Compact(slices.Concat(own, p.names))
	_, addrErr := netip.ParseAddr(h.ServerName)
	if addrErr == nil {
		h.ServerName = "" // RFC 6066, Section 3
	}
	if p.Target.Mode == tls.InsecurePlaintext {
		h.Rule = RulePlaintext
		h.because("the configuration asks for plaintext")
		return
	}
	base := ""
	if p.Policy.DANE != Ignore || p.Target.Host == "" {
		var err error
		if base, err = d.dane(ctx, p, h); err != nil {
			h.failLookup(err)
			return
		}
	}
	found := base != ""
	usable := found && len(dane.Usable(h.TLSA, h.usages...)) > 0
	switch {
	case usable && !p.secure && p.Policy.DANE != Only:
		// RFC 7672, Section 2.2.1: nobody vouches for the host to be one of the domain,
		// but who answers for the host has to be the host.
		h.also = slices.Concat([]string{base}, p.names)
		h.ServerName = base
		h.because("DNSSEC vouches for %s at %s: one has to match besides", records(len(h.TLSA)), h.TLSAName)
		d.decideElse(p, h, true)
	case usable && p.secure:
		// RFC 7672, Sections 3.2.3 and 8.1: the name of the records comes first, and is
		// what the server is asked for.
		h.Rule, h.ServerName = RuleDANE, base
		h.Names = slices.Concat([]string{base}, slices.DeleteFunc(h.Names, func(s string) bool { return s == base }))
		h.because("DNSSEC vouches for %s at %s, so DANE decides", records(len(h.TLSA)), h.TLSAName)
	case p.Policy.DANE == Only:
		h.Rule = RuleDANE
		problem := "the policy is dane-only, and there are no TLSA records that can be used"
		if !p.secure {
			problem = "the policy is dane-only, and DNSSEC does not vouch for what led to the server"
		}
		h.fail(NoTLSA, &PolicyError{problem})
	default:
		if found {
			h.because("DNSSEC vouches for %s at %s, of which none can be used here, so TLS is required, and DANE does not decide", records(len(h.TLSA)), h.TLSAName)
		}
		d.decideElse(p, h, found)
	}
}

// dane finds the addresses of a host, and its TLSA records if the policy wants
// them; then base is the name under which they are, and else empty.
func (d *Dialer) dane(ctx context.Context, p *Plan, h *Host) (base string, err error) {
	if _, err = netip.ParseAddr(h.Name); err == nil {
		h.because("DANE does not apply to IP addresses")
		return "", nil
	}
	// RFC 7672, Section 3.1.3: SMTP takes no PKIX usages; RFC 7673, Section 4 takes all.
	h.usages = []dane.Usage{dane.DANETA, dane.DANEEE}
	if p.Target.MX == "" {
		h.usages = append(h.usages, dane.PKIXTA, dane.PKIXEE)
	}
	expanded, own, err := h.resolve(ctx, d.opts.Resolver)
	if err != nil {
		return "", err
	}
	if len(h.Addresses) == 0 {
		if p.Target.Host == "" {
			return "", &NoServiceError{h.Name, "has no address"}
		}
		h.because("the DNS has no address for %s, so the system is asked", h.Name)
		return "", nil
	}
	if p.Policy.DANE == Ignore || !p.secure && p.Target.MX == "" {
		return "", nil
	}
	return h.findTLSA(ctx, d.opts.Resolver, expanded, own)
}

// decideElse finds the rule where DANE does not decide. published says that there are
// TLSA records all the same.
func (d *Dialer) decideElse(p *Plan, h *Host, published bool) {
	if p.sts != nil && p.Policy.MTASTS {
		if done := d.decideSTS(p, h); done {
			return
		}
	}
	if p.Target.MX != "" {
		// A domain's MX records are as good as what vouches for them, so that names
		// which only they tell count if DNSSEC does; the domain's own always does.
		if !p.secure {
			h.Names = []string{p.Target.MX}
		}
	}
	switch {
	case p.Policy.Base == Opportunistic && published:
		// RFC 7672, Section 2.2: mandatory, although not authenticated.
		h.Rule = RuleEncrypted
	case p.Policy.Base == Opportunistic:
		h.Rule = RuleOpportunistic
		h.because("the policy takes what there is")
	case p.Policy.Base == Pinned:
		h.Rule, h.Names = RulePinned, nil
		h.because("the policy has pins, and nothing else counts")
	case len(p.Policy.Pins) > 0:
		h.Rule = RulePinned
		h.because("the policy asks for a pin and for a certificate for %s", alternatives(h.Names))
	default:
		h.Rule = RulePKIX
		h.because("the policy asks for a certificate for %s", alternatives(h.Names))
	}
}

// decideSTS looks at the MTA-STS policy of the domain. It reports whether that has
// decided.
func (d *Dialer) decideSTS(p *Plan, h *Host) bool {
	result, err := p.sts()
	if err != nil {
		h.Rule = RuleMTASTS
		h.failLookup(err)
		return true
	}
	h.because("%v", result)
	if result.Policy == nil || result.Policy.Mode == mtasts.None {
		return false
	}
	if !result.Policy.Matches(h.Name) {
		h.outside = fmt.Sprintf("the MTA-STS policy of %s does not name %s, but %s", result.Domain, h.Name, strings.Join(result.Policy.MX, ", "))
	}
	if result.Policy.Mode == mtasts.Testing {
		h.testing = true
		return false
	}
	// RFC 8461, Section 4.1: the host in the MX record is the name.
	h.Rule, h.Names = RuleMTASTS, []string{h.Name}
	if h.outside != "" {
		h.fail(NotInPolicy, &PolicyError{h.outside})
	}
	return true
}
