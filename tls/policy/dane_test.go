package policy

import (
	"bufio"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A scene is a domain with a server, and what is to come of it.
type scene struct {
	name   string
	policy string
	cert   *cryptotls.Certificate // nil for a server without STARTTLS
	zone   []string
	target Target // Port is added

	rule   Rule   // on success
	found  string // the name in the certificate
	tlsa   string // the record that vouches, its first three numbers
	reason Reason // on failure
	plain  bool   // on success
}

// checkScenes starts all servers and one DNS, and connects.
func checkScenes(t *testing.T, scenes []scene, change func(*Options)) {
	t.Helper()
	z := &zone{}
	set(t, z, scenes)
	r := z.start(t)
	for i := range scenes {
		s := &scenes[i]
		t.Run(s.name, func(t *testing.T) {
			c, err := s.dial(t, r, change)
			s.check(t, c, err)
		})
	}
}

// set starts the servers of scenes.
func set(t *testing.T, z *zone, scenes []scene) {
	t.Helper()
	for i := range scenes {
		s := &scenes[i]
		var port uint16
		switch {
		case s.cert == nil:
			port = servePlain(t)
		case s.target.SRV != "":
			port = serveTLS(t, s.target.Protocol, s.target.Mode, s.cert)
		case s.target.Host != "" && s.target.Mode == tls.Implicit:
			port = serveTLS(t, s.target.Protocol, tls.Implicit, s.cert)
		default:
			port = serveTLS(t, tls.SMTP, tls.StartTLS, s.cert)
		}
		z.add(port, s.zone...)
		if s.target.SRV == "" {
			s.target.Port = port
		}
	}
}

func (s *scene) dial(t *testing.T, r dane.Resolver, change func(*Options)) (*Connection, error) {
	t.Helper()
	p, err := Parse(s.policy)
	if err != nil {
		t.Fatal(err)
	}
	opts := &Options{Policy: p, Resolver: r, Roots: newAuthority(t).roots(), Timeout: 10 * time.Second}
	if change != nil {
		change(opts)
	}
	d, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return d.Dial(t.Context(), &s.target)
}

func (s *scene) check(t *testing.T, c *Connection, err error) {
	t.Helper()
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason != s.reason {
			t.Fatalf("failed with %v: %v", e, err)
		}
		t.Log(err, e.Why)
		return
	}
	t.Cleanup(func() { _ = c.Close() })
	v := c.Verdict
	t.Log(v)
	if s.reason != 0 {
		t.Fatalf("connected, expected %v", s.reason)
	}
	if v.Rule != s.rule || v.Name != s.found || v.Encrypted == s.plain || v.Encrypted != c.Encrypted() || v.Authenticated != s.rule.authenticates() {
		t.Errorf("%+v", v)
	}
	if (v.TLSA != nil) != (s.tlsa != "") || v.TLSA != nil && !strings.HasPrefix(v.TLSA.String(), s.tlsa+" ") {
		t.Errorf("the record is %v, expected %s", v.TLSA, s.tlsa)
	}
	_ = c.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	if s.plain {
		_, _ = c.Conn.Write([]byte("NOOP\r\n"))
	}
	line, err := bufio.NewReader(c.Conn).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "hi\r\n") {
		t.Errorf("said %q, %v", line, err)
	}
}

// mx are the records of a domain with one mail server.
func mx(domain string, records ...string) []string {
	out := []string{domain + ". MX 10 mx." + domain + ".", "mx." + domain + ". A 127.0.0.1"}
	for _, r := range records {
		out = append(out, "_@._tcp.mx."+domain+". "+r)
	}
	return out
}

const anything = "dane mta-sts opportunistic"

const mxNotSigned = "MX not signed, host signed"

// TestDANE is RFC 7672 with MX records, a signed DNS and real handshakes.
func TestDANE(t *testing.T) {
	checkScenes(t, daneScenes(t), func(o *Options) {
		// What MTA-STS says is another test's; here it must not be asked where DANE
		// decides, and knows nothing else.
		o.MTASTS = noPolicies(t, o.Resolver)
	})
}

func daneScenes(t *testing.T) []scene {
	t.Helper()
	a := newAuthority(t)
	good := func(n string) *cryptotls.Certificate { return a.issue(t, nil, "mx."+n+".example") }
	old := a.issue(t, expired, "elsewhere.example")
	domain := func(n string) Target { return Target{MX: n + ".example"} }
	key := func(c *cryptotls.Certificate) string { return tlsa(3, 1, 1, c.Leaf) }
	c := make(map[string]*cryptotls.Certificate)
	for _, n := range []string{"key", "roll", "agile", "unfit", "unfit-required", "none", "only", "unsigned", "first", "second", "host", "alias", "toward", "secure"} {
		c[n] = good(n)
	}
	noRootSent := short(good("whole"))
	noKeySent := short(good("bare"))
	return []scene{
		{name: "3 1 1, expired and for another name", policy: anything, cert: old, zone: mx("ee.example", key(old)), target: domain("ee"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "3 0 2", policy: "dane-only", cert: c["key"], zone: mx("key.example", tlsa(3, 0, 2, c["key"].Leaf)), target: domain("key"), rule: RuleDANE, tlsa: "3 0 2"},
		{name: "2 0 1", policy: anything, cert: good("ta"), zone: mx("ta.example", tlsa(2, 0, 1, a.ca.Cert)), target: domain("ta"), rule: RuleDANE, found: "mx.ta.example", tlsa: "2 0 1"},
		{name: "2 0 0, issuer not sent", policy: anything, cert: noRootSent, zone: mx("whole.example", tlsa(2, 0, 0, a.ca.Cert)), target: domain("whole"), rule: RuleDANE, found: "mx.whole.example", tlsa: "2 0 0"},
		{name: "2 1 0, issuer not sent", policy: anything, cert: noKeySent, zone: mx("bare.example", tlsa(2, 1, 0, a.ca.Cert)), target: domain("bare"), rule: RuleDANE, found: "mx.bare.example", tlsa: "2 1 0"},
		{name: "2 1 1, for the domain", policy: anything, cert: a.issue(t, nil, "nexthop.example"), zone: mx("nexthop.example", tlsa(2, 1, 1, a.ca.Cert)), target: domain("nexthop"), rule: RuleDANE, found: "nexthop.example", tlsa: "2 1 1"},
		{name: "2 1 1, for another name", policy: anything, cert: a.issue(t, nil, "mx.other.example"), zone: mx("name.example", tlsa(2, 1, 1, a.ca.Cert)), target: domain("name"), reason: NameMismatch},
		{name: "2 1 1, expired", policy: anything, cert: a.issue(t, expired, "mx.old.example"), zone: mx("old.example", tlsa(2, 1, 1, a.ca.Cert)), target: domain("old"), reason: CertificateTime},
		{name: "2 1 1 of the server's own key", policy: anything, cert: c["host"], zone: mx("selfta.example", tlsa(2, 1, 1, c["host"].Leaf)), target: domain("selfta"), reason: TLSAMismatch},
		{name: "3 1 1 of another key", policy: anything, cert: good("bad"), zone: mx("bad.example", wrong), target: domain("bad"), reason: TLSAMismatch},
		{name: "3 1 1 of another key, and of this one", policy: anything, cert: c["roll"], zone: mx("roll.example", wrong, key(c["roll"])), target: domain("roll"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "3 1 2 of another key goes before 3 1 1", policy: anything, cert: c["agile"], zone: mx("agile.example", tlsa(3, 1, 2, a.ca.Cert), key(c["agile"])), target: domain("agile"), reason: TLSAMismatch},
		{name: "1 1 1 cannot be used with MX", policy: anything, cert: old, zone: mx("unfit.example", tlsa(1, 1, 1, c["unfit"].Leaf)), target: domain("unfit"), rule: RuleEncrypted},
		{name: "unknown numbers cannot be used", policy: anything, cert: old, zone: mx("unknown.example", "TLSA 9 1 1 00", "TLSA 3 9 1 00", "TLSA 3 1 9 00", "TLSA 3 1 1 00"), target: domain("unknown"), rule: RuleEncrypted},
		{name: "cannot be used, valid by PKIX", policy: "dane required", cert: c["unfit-required"], zone: mx("unfit-required.example", "TLSA 9 1 1 00"), target: domain("unfit-required"), rule: RulePKIX, found: "mx.unfit-required.example"},
		{name: "cannot be used, not valid by PKIX", policy: "dane required", cert: old, zone: mx("unfit-old.example", "TLSA 9 1 1 00"), target: domain("unfit-old"), reason: CertificateTime},
		{name: "cannot be used, no STARTTLS", policy: anything, zone: mx("unfit-plain.example", "TLSA 9 1 1 00"), target: domain("unfit-plain"), reason: NoStartTLS},
		{name: "no STARTTLS", policy: anything, zone: mx("plain.example", wrong), target: domain("plain"), reason: NoStartTLS},
		{name: "no records, no STARTTLS, required", policy: "dane", zone: mx("plain-required.example"), target: domain("plain-required"), reason: NoStartTLS},
		{name: "no records, no STARTTLS, opportunistic", policy: anything, zone: mx("plain-any.example"), target: domain("plain-any"), rule: RuleOpportunistic, plain: true},
		{name: "no records, opportunistic", policy: anything, cert: old, zone: mx("any.example"), target: domain("any"), rule: RuleOpportunistic},
		{name: "no records, required", policy: "dane", cert: c["none"], zone: mx("none.example"), target: domain("none"), rule: RulePKIX, found: "mx.none.example"},
		{name: "no records, dane-only", policy: "dane-only", cert: c["only"], zone: mx("only.example"), target: domain("only"), reason: NoTLSA},
		{name: "not signed, opportunistic", policy: anything, cert: c["unsigned"], zone: mx("a.unsigned.example", wrong), target: Target{MX: "a.unsigned.example"}, rule: RuleOpportunistic},
		{name: "not signed, required, for the host", policy: "dane", cert: a.issue(t, nil, "mx.b.unsigned.example"), zone: mx("b.unsigned.example", wrong), target: Target{MX: "b.unsigned.example"}, reason: NameMismatch},
		{name: "not signed, required, for the domain", policy: "dane", cert: a.issue(t, nil, "c.unsigned.example"), zone: mx("c.unsigned.example", wrong), target: Target{MX: "c.unsigned.example"}, rule: RulePKIX, found: "c.unsigned.example"},
		{name: "not signed, dane-only", policy: "dane-only", cert: c["unsigned"], zone: mx("d.unsigned.example", key(c["unsigned"])), target: Target{MX: "d.unsigned.example"}, reason: NoTLSA},
		{name: mxNotSigned, policy: anything, cert: old, zone: []string{"e.unsigned.example. MX 1 mx.key.example.", "_@._tcp.mx.key.example. " + wrong}, target: Target{MX: "e.unsigned.example"}, reason: TLSAMismatch},
		{name: mxNotSigned + ", matches", policy: anything, cert: old, zone: []string{"g.unsigned.example. MX 1 mx.key.example.", "_@._tcp.mx.key.example. " + key(old)}, target: Target{MX: "g.unsigned.example"}, rule: RuleEncrypted, tlsa: "3 1 1"},
		{name: mxNotSigned + ", matches, required", policy: "dane", cert: a.issue(t, nil, "h.unsigned.example"), zone: []string{"h.unsigned.example. MX 1 mx.key.example.", "_@._tcp.mx.key.example. " + tlsa(2, 1, 1, a.ca.Cert)}, target: Target{MX: "h.unsigned.example"}, rule: RulePKIX, found: "h.unsigned.example", tlsa: "2 1 1"},
		{name: mxNotSigned + ", no STARTTLS", policy: anything, zone: []string{"i.unsigned.example. MX 1 mx.key.example.", "_@._tcp.mx.key.example. " + wrong}, target: Target{MX: "i.unsigned.example"}, reason: NoStartTLS},
		{name: mxNotSigned + ", dane-only", policy: "dane-only", cert: old, zone: []string{"j.unsigned.example. MX 1 mx.key.example.", "_@._tcp.mx.key.example. " + key(old)}, target: Target{MX: "j.unsigned.example"}, reason: NoTLSA},
		{name: mxNotSigned + ", forged", policy: anything, cert: old, zone: []string{"k.unsigned.example. MX 1 good.bogus.example.", "_@._tcp.good.bogus.example. " + wrong}, target: Target{MX: "k.unsigned.example"}, reason: Bogus},
		{name: "bogus TLSA", policy: anything, cert: old, zone: []string{"bogus-tlsa.example. MX 1 good.bogus.example.", "good.bogus.example. A 127.0.0.1",
			"good.bogus.example. AAAA ::1", "_@._tcp.good.bogus.example. " + key(old)}, target: domain("bogus-tlsa"), reason: Bogus},
		{name: "bogus MX", policy: anything, cert: old, zone: []string{"bad.bogus.example. MX 1 mx.key.example."}, target: Target{MX: "bad.bogus.example"}, reason: Bogus},
		{name: "bogus address", policy: anything, cert: old, zone: []string{"bogus-a.example. MX 1 bad2.bogus.example.", "bad2.bogus.example. A 127.0.0.1"}, target: domain("bogus-a"), reason: Bogus},
		{name: "the first server fails, the second one does not", policy: anything, cert: c["second"], zone: []string{"two.example. MX 1 good.bogus.example.", "_@._tcp.good.bogus.example. " + wrong,
			"two.example. MX 2 mx2.two.example.", "mx2.two.example. A 127.0.0.1", "_@._tcp.mx2.two.example. " + key(c["second"])}, target: domain("two"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "no MX", policy: anything, cert: c["first"], zone: []string{"nomx.example. A 127.0.0.1", "_@._tcp.nomx.example. " + key(c["first"])}, target: domain("nomx"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "takes no mail", policy: anything, cert: old, zone: []string{"nullmx.example. MX 0 ."}, target: domain("nullmx"), reason: NoSuchHost},
		{name: "no such domain", policy: anything, cert: old, target: domain("nowhere"), reason: NoSuchHost},
		{name: "no address", policy: anything, cert: old, zone: []string{"noaddr.example. MX 1 mx.noaddr.example."}, target: domain("noaddr"), reason: NoSuchHost},
		{name: "records where the alias leads to", policy: anything, cert: a.issue(t, nil, "real.toward.example"), zone: []string{"toward.example. MX 1 mx.toward.example.", "mx.toward.example. CNAME real.toward.example.",
			"real.toward.example. A 127.0.0.1", "_@._tcp.real.toward.example. " + tlsa(2, 1, 1, a.ca.Cert), "_@._tcp.mx.toward.example. " + wrong}, target: domain("toward"), rule: RuleDANE, found: "real.toward.example", tlsa: "2 1 1"},
		{name: "records at the alias", policy: anything, cert: c["alias"], zone: []string{"alias.example. MX 1 mx.alias.example.", "mx.alias.example. CNAME real.alias.example.",
			"real.alias.example. A 127.0.0.1", "_@._tcp.mx.alias.example. " + tlsa(2, 1, 1, a.ca.Cert)}, target: domain("alias"), rule: RuleDANE, found: "mx.alias.example", tlsa: "2 1 1"},
		{name: "alias for what is not signed", policy: anything, cert: c["secure"], zone: []string{"secure.example. MX 1 mx.secure.example.", "mx.secure.example. CNAME f.unsigned.example.",
			"f.unsigned.example. A 127.0.0.1", "_@._tcp.mx.secure.example. " + key(c["secure"])}, target: domain("secure"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "host with records", policy: "dane", cert: c["host"], zone: []string{"imap.example. A 127.0.0.1", "_@._tcp.imap.example. " + tlsa(1, 1, 1, c["host"].Leaf)},
			target: Target{Protocol: tls.IMAP, Host: "imap.example", ServerName: "mx.host.example"}, rule: RuleDANE, found: "mx.host.example", tlsa: "1 1 1"},
		{name: "host with wrong records", policy: "dane", cert: c["host"], zone: []string{"imap2.example. A 127.0.0.1", "_@._tcp.imap2.example. " + wrong},
			target: Target{Protocol: tls.IMAP, Host: "imap2.example", ServerName: "mx.host.example"}, reason: TLSAMismatch},
		{name: "host with records of an authority that is not in the path", policy: "dane", cert: c["host"], zone: []string{"imap3.example. A 127.0.0.1", "_@._tcp.imap3.example. " + tlsa(0, 1, 1, old.Leaf)},
			target: Target{Protocol: tls.IMAP, Host: "imap3.example", ServerName: "mx.host.example"}, reason: TLSAMismatch},
		{name: "host without records", policy: "dane", cert: c["host"], zone: []string{"imap4.example. A 127.0.0.1"},
			target: Target{Protocol: tls.IMAP, Host: "imap4.example", ServerName: "mx.host.example"}, rule: RulePKIX, found: "mx.host.example"},
		{name: "host by address", policy: "dane", cert: a.issue(t, nil, "", "127.0.0.1"), target: Target{Protocol: tls.IMAP, Host: "127.0.0.1"}, rule: RulePKIX, found: "127.0.0.1"},
		{name: "host that the DNS does not know", policy: "dane", cert: a.issue(t, nil, "localhost"), target: Target{Protocol: tls.IMAP, Host: "localhost"}, rule: RulePKIX, found: "localhost"},
	}
}

// srvName puts an SRVName (RFC 4985) beside a name into a certificate.
func srvName(name, service string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames = nil
		c.ExtraExtensions = append(c.ExtraExtensions, subjectAltName(name, service))
	}
}

// TestSRV is RFC 7673, and RFC 6186 without DNSSEC.
func TestSRV(t *testing.T) {
	a := newAuthority(t)
	target := func(domain string) Target { return Target{Protocol: tls.IMAP, SRV: domain} }
	records := func(domain, host string, records ...string) []string {
		out := []string{"_imaps._tcp." + domain + ". SRV 0 1 @ " + host + ".", host + ". A 127.0.0.1"}
		for _, r := range records {
			out = append(out, "_@._tcp."+host+". "+r)
		}
		return out
	}
	one := a.issue(t, nil, "imap.one.example")
	checkScenes(t, []scene{
		{name: "1 1 1", policy: "dane", cert: one, zone: records("one.example", "imap.one.example", tlsa(1, 1, 1, one.Leaf)), target: target("one.example"), rule: RuleDANE, found: "imap.one.example", tlsa: "1 1 1"},
		{name: "0 1 1", policy: "dane", cert: a.issue(t, nil, "two.example"), zone: records("two.example", "imap.two.example", tlsa(0, 1, 1, a.root.Cert)), target: target("two.example"), rule: RuleDANE, found: "two.example", tlsa: "0 1 1"},
		{name: "1 1 1, expired", policy: "dane", cert: a.issue(t, expired, "imap.three.example"), zone: records("three.example", "imap.three.example", tlsa(1, 1, 1, a.issue(t, nil, "imap.three.example").Leaf)), target: target("three.example"), reason: CertificateTime},
		{name: "signed, no TLSA records", policy: "dane", cert: a.issue(t, nil, "imap.four.example"), zone: records("four.example", "imap.four.example"), target: target("four.example"), rule: RulePKIX, found: "imap.four.example"},
		{name: "not signed, for the host", policy: "dane", cert: a.issue(t, nil, "imap.a.unsigned.example"), zone: records("a.unsigned.example", "imap.a.unsigned.example", wrong), target: target("a.unsigned.example"), reason: NameMismatch},
		{name: "not signed, for the domain", policy: "dane", cert: a.issue(t, nil, "b.unsigned.example"), zone: records("b.unsigned.example", "imap.b.unsigned.example", wrong), target: target("b.unsigned.example"), rule: RulePKIX, found: "b.unsigned.example"},
		{name: "not signed, for the service", policy: "dane", cert: a.issue(t, srvName("other.example", "_imaps.c.unsigned.example"), "srv"), zone: records("c.unsigned.example", "imap.c.unsigned.example"), target: target("c.unsigned.example"), rule: RulePKIX, found: "_imaps.c.unsigned.example"},
		{name: "not signed, for another service", policy: "dane", cert: a.issue(t, srvName("other.example", "_pop3s.d.unsigned.example"), "srv2"), zone: records("d.unsigned.example", "imap.d.unsigned.example"), target: target("d.unsigned.example"), reason: NameMismatch},
		{name: "bogus", policy: "dane", cert: one, zone: records("bad.bogus.example", "imap.bogus.example"), target: target("bad.bogus.example"), reason: Bogus},
		{name: "no service", policy: "dane", cert: one, zone: []string{"_imaps._tcp.six.example. SRV 0 0 0 ."}, target: target("six.example"), reason: NoSuchHost},
		{name: "no records", policy: "dane", cert: one, target: target("seven.example"), reason: NoSuchHost},
		{name: "POP3", policy: "dane", cert: one, zone: []string{"_pop3s._tcp.nine.example. SRV 0 1 @ imap.one.example.", "_@._tcp.imap.one.example. " + tlsa(2, 1, 1, a.ca.Cert)},
			target: Target{Protocol: tls.POP3, SRV: "nine.example"}, rule: RuleDANE, found: "imap.one.example", tlsa: "2 1 1"},
		{name: "XMPP", policy: "dane", cert: a.issue(t, srvName("im.example", "_xmpps-client.e.unsigned.example"), "xmpp"), zone: []string{"_xmpps-client._tcp.e.unsigned.example. SRV 0 1 @ xmpp.e.unsigned.example.", "xmpp.e.unsigned.example. A 127.0.0.1"},
			target: Target{Protocol: tls.XMPP, SRV: "e.unsigned.example"}, rule: RulePKIX, found: "_xmpps-client.e.unsigned.example"},
		{name: "the first server fails, the second one does not", policy: "dane-only", cert: one, zone: []string{"_imaps._tcp.ten.example. SRV 0 1 1 imap.four.example.", "_imaps._tcp.ten.example. SRV 1 1 @ imap.one.example.", "_@._tcp.imap.one.example. " + tlsa(3, 1, 1, one.Leaf)},
			target: target("ten.example"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "STARTTLS", policy: "dane-only", cert: one, zone: []string{"_submission._tcp.eight.example. SRV 0 1 @ imap.one.example.", "_@._tcp.imap.one.example. " + tlsa(3, 1, 1, one.Leaf)},
			target: Target{Protocol: tls.SMTP, Mode: tls.StartTLS, SRV: "eight.example"}, rule: RuleDANE, tlsa: "3 1 1"},
	}, nil)
}
