package policy

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls/mtasts"
)

// A said is what the DNS says of one thing.
type said int

const (
	vouched  said = iota // DNSSEC vouches for it
	unsigned             // it does not
	forged               // the signatures are wrong
	silent               // there is no answer
)

// answers are what the resolver of one case says.
type answers struct {
	dane.Resolver
	mx, addr, tlsa, txt said
	records             []dane.Record
	sts                 bool // there is a record of MTA-STS
}

func tell[T any](s said, name string, records ...T) (*dane.Answer[T], error) {
	switch s {
	case forged:
		return nil, &dane.LookupError{Name: name, Reason: dane.Bogus}
	case silent:
		return nil, &dane.LookupError{Name: name, Reason: dane.Timeout}
	}
	return &dane.Answer[T]{Records: records, Secure: s == vouched, Name: name}, nil
}

func (d *answers) LookupMX(_ context.Context, name string) (*dane.Answer[dane.MX], error) {
	return tell(d.mx, name, dane.MX{Host: "mx.example"})
}

func (d *answers) LookupA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return tell(d.addr, name, netip.MustParseAddr("127.0.0.1"))
}

func (d *answers) LookupAAAA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return tell[netip.Addr](d.addr, name)
}

func (d *answers) LookupTLSA(_ context.Context, name string) (*dane.Answer[dane.Record], error) {
	return tell(d.tlsa, name, d.records...)
}

func (d *answers) LookupTXT(_ context.Context, name string) (*dane.Answer[string], error) {
	if !d.sts {
		return tell[string](d.txt, name)
	}
	return tell(d.txt, name, "v=STSv1; id=1;")
}

// A downgrade is one case, and what is to hold whatever happens.
type downgrade struct {
	answers
	policy  Policy
	tlsaIs  string // of the records
	stsIs   string // of the MTA-STS policy
	serverA string // its certificate
}

func (c *downgrade) String() string {
	return fmt.Sprintf("policy %q, MX %d, addresses %d, TLSA %d %s, TXT %d %s, certificate %s", c.policy, c.mx, c.addr, c.tlsa, c.tlsaIs, c.txt, c.stsIs, c.serverA)
}

// TestNeverDowngrade goes through everything that the DNS, the web and the server
// can say or leave out, by every policy, and has rules that must hold in each case.
func TestNeverDowngrade(t *testing.T) {
	a, w := newAuthority(t), newWeb(t)
	good, bad := a.issue(t, nil, "mx.example"), a.issue(t, expired, "other.example")
	chains := map[string][]*x509.Certificate{"good": {good.Leaf, a.ca.Cert}, "bad": {bad.Leaf, a.ca.Cert}}
	parse := func(text string) dane.Record {
		r, err := dane.ParseText(strings.TrimPrefix(text, "TLSA "))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	records := map[string][]dane.Record{"none": nil, "of no use": {parse("1 1 1 00")}, "of another": {parse(wrong)},
		"of the good": {parse(tlsa(3, 1, 1, good.Leaf))}, "of the bad": {parse(tlsa(3, 1, 1, bad.Leaf))}}
	// Each policy of MTA-STS has a domain, and is known from before or not.
	clients := make(map[string]*mtasts.Client)
	domains := map[string]string{"none": "none.example", "enforce": "enforce.example", "not named": "away.example", "testing": "testing.example"}
	w.set("enforce.example", mtasts.Enforce, "mx.example")
	w.set("away.example", mtasts.Enforce, "mail.example")
	w.set("testing.example", mtasts.Testing, "mail.example")
	resolver := &answers{}
	known := w.client(t, resolver, mtasts.NewMemoryCache(nil))
	for kind, domain := range domains {
		resolver.sts = kind != "none"
		if r, err := known.Lookup(t.Context(), domain); err != nil || (r.Policy == nil) != (kind == "none") {
			t.Fatal(r, err)
		}
		clients[kind] = known
	}
	clients["not known yet"] = noPolicies(t, resolver)
	domains["not known yet"] = "enforce.example"
	rules := make(map[Rule]int)
	n, refused := 0, 0
	for _, text := range []string{"required", "dane required", "mta-sts required", "dane mta-sts required", "opportunistic", "dane opportunistic", "mta-sts opportunistic", "dane mta-sts opportunistic", "dane-only"} {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for kind, client := range clients {
			d, newErr := New(&Options{Policy: p, Resolver: resolver, MTASTS: client, Roots: a.roots()})
			if newErr != nil {
				t.Fatal(newErr)
			}
			for i := range 4 * 4 * 4 * 4 {
				for tlsaIs, list := range records {
					*resolver = answers{mx: said(i % 4), addr: said(i / 4 % 4), tlsa: said(i / 16 % 4), txt: said(i / 64), records: list, sts: kind != "none"}
					plan, planErr := d.Plan(t.Context(), &Target{MX: domains[kind]})
					for server, chain := range chains {
						c := &downgrade{*resolver, p, tlsaIs, kind, server}
						n++
						if planErr != nil {
							refused++
							continue
						}
						if rule := c.hold(t, plan.Hosts[0], chain); rule != 0 {
							rules[rule]++
						} else {
							refused++
						}
						if t.Failed() {
							return
						}
					}
				}
			}
		}
	}
	t.Logf("%d cases, %d refused, by rule %v", n, refused, rules)
	for rule := RulePKIX; rule <= RuleOpportunistic; rule++ {
		if rules[rule] == 0 && rule != RulePinned {
			t.Errorf("no case with %v", rule)
		}
	}
}

// hold checks a case; it returns the rule by which there is a connection, or 0.
func (c *downgrade) hold(t *testing.T, h *Host, chain []*x509.Certificate) Rule {
	t.Helper()
	var v *Verdict
	err := h.Err
	if err == nil {
		v, err = h.Judge(&cryptotls.ConnectionState{PeerCertificates: chain}, time.Now())
	}
	connected := err == nil
	// What there is no doubt about.
	secure := c.addr == vouched && c.policy.DANE != Ignore
	published := secure && c.tlsa == vouched && c.tlsaIs != "none"
	counts := published && c.tlsaIs != "of no use"
	decides := counts && c.mx == vouched
	enforced := c.policy.MTASTS && (c.stsIs == "enforce" || c.stsIs == "not named")
	plaintext := connected && v.Rule == RuleOpportunistic // then STARTTLS may be left out
	for problem, broken := range map[string]bool{
		"a forged or missing answer was passed over":     connected && (c.mx >= forged || c.addr >= forged || secure && c.tlsa >= forged),
		"TLSA records did not decide":                    connected && decides && v.Rule != RuleDANE,
		"another record than the server's was taken":     connected && counts && (c.tlsaIs != "of the "+c.serverA || v.TLSA == nil),
		"DANE decided without DNSSEC":                    connected && v.Rule == RuleDANE && !decides,
		"plaintext where there are TLSA records":         plaintext && published,
		"plaintext where MTA-STS is enforced":            plaintext && enforced,
		"plaintext where it was not asked for":           plaintext && c.policy.Base != Opportunistic,
		"somebody where only authentication was allowed": connected && c.policy.Base == Required && !v.Authenticated,
		"dane-only without DANE":                         connected && c.policy.DANE == Only && v.Rule != RuleDANE,
		"MTA-STS did not count":                          connected && enforced && !decides && (v.Rule != RuleMTASTS || c.serverA == "bad" || c.stsIs == "not named"),
		"a forged record of MTA-STS was passed over":     connected && c.policy.MTASTS && c.stsIs == "not known yet" && c.txt >= forged && !decides,
		"authenticated by nobody":                        connected && v.Authenticated && v.Rule != RuleDANE && c.serverA == "bad",
		"a good server was refused by DANE":              !connected && decides && c.tlsaIs == "of the "+c.serverA,
		"no reason is given":                             connected && (len(v.Why) == 0 || v.Rule == 0),
	} {
		if broken {
			t.Errorf("%s: %v: %v, %v", problem, c, v, err)
		}
	}
	if !connected {
		return 0
	}
	return v.Rule
}
