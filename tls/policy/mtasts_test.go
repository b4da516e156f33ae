package policy

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

// A web serves the policies of many domains.
type web struct {
	addr string

	mu       sync.Mutex
	policies map[string]string // by domain
}

// newWeb has a certificate for each host that it is asked for.
func newWeb(t *testing.T) *web {
	t.Helper()
	a := newAuthority(t)
	w := &web{policies: make(map[string]string)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		text, ok := w.policies[strings.TrimPrefix(r.Host, "mta-sts.")]
		w.mu.Unlock()
		if !ok || r.URL.Path != "/.well-known/mta-sts.txt" {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(rw, text)
	}))
	s.TLS = &cryptotls.Config{GetCertificate: func(h *cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) {
		return a.issue(t, nil, h.ServerName), nil
	}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	w.addr = s.Listener.Addr().String()
	return w
}

func (w *web) set(domain string, mode mtasts.Mode, mx ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policies[domain] = (&mtasts.Policy{Mode: mode, MaxAge: time.Hour, MX: mx}).String()
}

func (w *web) remove(domain string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.policies, domain)
}

func (w *web) client(t *testing.T, r dane.Resolver, cache *mtasts.Cache) *mtasts.Client {
	t.Helper()
	c, err := mtasts.New(&mtasts.Options{Resolver: r, Cache: cache, Roots: newAuthority(t).roots(),
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const record = "TXT \"v=STSv1; id=1;\""

// TestMTASTS has domains with policies, with a real DNS and a real web server.
func TestMTASTS(t *testing.T) {
	a, w := newAuthority(t), newWeb(t)
	sts := func(domain string, mode mtasts.Mode, hosts []string, records ...string) []string {
		w.set(domain, mode, hosts...)
		return append(mx(domain, records...), "_mta-sts."+domain+". "+record)
	}
	own := func(domain string) []string { return []string{"mx." + domain} }
	const policy = "dane mta-sts opportunistic"
	ok := func(n string) *cryptotls.Certificate { return a.issue(t, nil, "mx."+n+".example") }
	old := a.issue(t, expired, "elsewhere.example")
	both := ok("both")
	target := func(n string) Target { return Target{MX: n + ".example"} }
	scenes := []scene{
		{name: "enforce", policy: policy, cert: ok("enforce"), zone: sts("enforce.example", mtasts.Enforce, own("enforce.example")), target: target("enforce"), rule: RuleMTASTS, found: "mx.enforce.example"},
		{name: "enforce, not signed", policy: policy, cert: ok("x.unsigned"), zone: sts("x.unsigned.example", mtasts.Enforce, []string{"*.x.unsigned.example"}), target: target("x.unsigned"), rule: RuleMTASTS, found: "mx.x.unsigned.example"},
		{name: "enforce, another host", policy: policy, cert: ok("away"), zone: sts("away.example", mtasts.Enforce, []string{"mail.away.example", "*.mx.away.example"}), target: target("away"), reason: NotInPolicy},
		{name: "enforce, another name", policy: policy, cert: a.issue(t, nil, "name.example"), zone: sts("name.example", mtasts.Enforce, own("name.example")), target: target("name"), reason: NameMismatch},
		{name: "enforce, expired", policy: policy, cert: a.issue(t, expired, "mx.old.example"), zone: sts("old.example", mtasts.Enforce, own("old.example")), target: target("old"), reason: CertificateTime},
		{name: "enforce, issuer not sent", policy: policy, cert: short(ok("short")), zone: sts("short.example", mtasts.Enforce, own("short.example")), target: target("short"), reason: NotTrusted},
		{name: "enforce, no STARTTLS", policy: policy, zone: sts("stripped.example", mtasts.Enforce, own("stripped.example")), target: target("stripped"), reason: NoStartTLS},
		{name: "enforce, and the policy does not ask", policy: "dane opportunistic", cert: old, zone: sts("ignored.example", mtasts.Enforce, own("ignored.example")), target: target("ignored"), rule: RuleOpportunistic},
		{name: "testing, kept", policy: policy, cert: ok("kept"), zone: sts("kept.example", mtasts.Testing, own("kept.example")), target: target("kept"), rule: RuleOpportunistic},
		{name: "testing, another name", policy: policy, cert: old, zone: sts("test.example", mtasts.Testing, own("test.example")), target: target("test"), rule: RuleOpportunistic},
		{name: "testing, another host", policy: policy, cert: ok("testaway"), zone: sts("testaway.example", mtasts.Testing, own("x.example")), target: target("testaway"), rule: RuleOpportunistic},
		{name: "testing, no STARTTLS", policy: policy, zone: sts("testplain.example", mtasts.Testing, own("testplain.example")), target: target("testplain"), rule: RuleOpportunistic, plain: true},
		{name: "testing, base required", policy: "mta-sts", cert: old, zone: sts("testreq.example", mtasts.Testing, own("testreq.example")), target: target("testreq"), reason: CertificateTime},
		{name: "none", policy: policy, cert: old, zone: sts("none.example", mtasts.None, nil), target: target("none"), rule: RuleOpportunistic},
		{name: "DANE matches, MTA-STS would not", policy: policy, cert: old, zone: sts("both.example", mtasts.Enforce, own("nobody.example"), tlsa(3, 1, 1, old.Leaf)), target: target("both"), rule: RuleDANE, tlsa: "3 1 1"},
		{name: "DANE does not match, MTA-STS would", policy: policy, cert: both, zone: sts("dane.example", mtasts.Enforce, own("dane.example"), wrong), target: target("dane"), reason: TLSAMismatch},
		{name: "TLSA cannot be used, MTA-STS decides", policy: policy, cert: ok("unfit"), zone: sts("unfit.example", mtasts.Enforce, own("unfit.example"), "TLSA 9 9 9 00"), target: target("unfit"), rule: RuleMTASTS, found: "mx.unfit.example"},
		{name: "TLSA is bogus, MTA-STS would do", policy: policy, cert: old, zone: append([]string{"bogus-sts.example. MX 1 good.bogus.example.", "good.bogus.example. A 127.0.0.1", "good.bogus.example. AAAA ::1",
			"_@._tcp.good.bogus.example. " + wrong}, sts("bogus-sts.example", mtasts.Enforce, []string{"good.bogus.example"})[2:]...), target: target("bogus-sts"), reason: Bogus},
		{name: "the record is bogus", policy: "mta-sts opportunistic", cert: old, zone: []string{"forged.example. MX 1 mx.forged.example.", "mx.forged.example. A 127.0.0.1", "_mta-sts.forged.example. CNAME bad.bogus.example.", "bad.bogus.example. " + record},
			target: target("forged"), reason: Bogus},
	}
	cache := mtasts.NewMemoryCache(nil)
	checkScenes(t, scenes, func(o *Options) { o.MTASTS = w.client(t, o.Resolver, cache) })
}

// TestTesting has what mode "testing" tells.
func TestTesting(t *testing.T) {
	a, w := newAuthority(t), newWeb(t)
	z := &zone{}
	type domain struct {
		port uint16
		want Reason
	}
	domains := make(map[string]domain)
	for name, c := range map[string]struct {
		cert  *cryptotls.Certificate
		hosts []string
		want  Reason
	}{
		"kept":  {a.issue(t, nil, "mx.kept.example"), []string{"mx.kept.example"}, 0},
		"name":  {a.issue(t, nil, "else.example"), []string{"mx.name.example"}, NameMismatch},
		"old":   {a.issue(t, expired, "mx.old.example"), []string{"mx.old.example"}, CertificateTime},
		"away":  {a.issue(t, nil, "mx.away.example"), []string{"mail.away.example"}, NotInPolicy},
		"plain": {nil, []string{"mx.plain.example"}, NoStartTLS},
	} {
		port := uint16(0)
		if c.cert != nil {
			port = serveTLS(t, tls.SMTP, tls.StartTLS, c.cert)
		} else {
			port = servePlain(t)
		}
		w.set(name+".example", mtasts.Testing, c.hosts...)
		z.add(port, append(mx(name+".example"), "_mta-sts."+name+".example. "+record)...)
		domains[name] = domain{port, c.want}
	}
	r := z.start(t)
	d, err := New(&Options{Policy: Policy{MTASTS: true, Base: Opportunistic}, Resolver: r, Roots: a.roots(), MTASTS: w.client(t, r, mtasts.NewMemoryCache(nil))})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range domains {
		conn, dialErr := d.Dial(t.Context(), &Target{MX: name + ".example", Port: c.port})
		if dialErr != nil {
			t.Errorf("%s: %v", name, dialErr)
			continue
		}
		_ = conn.Close()
		t.Log(conn.Verdict)
		e, ok := errors.AsType[*Error](conn.Verdict.Testing)
		if ok != (c.want != 0) || ok && e.Reason != c.want || conn.Verdict.Rule != RuleOpportunistic || conn.Verdict.Authenticated {
			t.Errorf("%s: %v", name, conn.Verdict.Testing)
		}
	}
}

// TestRecordRemoved is the attack of RFC 8461, Section 10.2 on a domain that has
// been seen before: its record goes away, and its web server, and STARTTLS; and the
// program is started anew.
func TestRecordRemoved(t *testing.T) {
	a, w := newAuthority(t), newWeb(t)
	good := serveTLS(t, tls.SMTP, tls.StartTLS, a.issue(t, nil, "mx.victim.example"))
	forged := serveTLS(t, tls.SMTP, tls.StartTLS, a.issue(t, nil, "mx.evil.example"))
	stripped := servePlain(t)
	w.set("victim.example", mtasts.Enforce, "mx.victim.example")
	dir := t.TempDir()
	dial := func(lines []string, port uint16) (*Connection, error) {
		t.Helper()
		z := &zone{}
		z.add(port, lines...)
		r := z.start(t)
		cache, err := mtasts.OpenCache(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(&Options{Policy: Policy{DANE: IfPublished, MTASTS: true, Base: Opportunistic}, Resolver: r, Roots: a.roots(), MTASTS: w.client(t, r, cache)})
		if err != nil {
			t.Fatal(err)
		}
		return d.Dial(t.Context(), &Target{MX: "victim.example", Port: port})
	}
	honest := mx("victim.example")
	c, err := dial(append(honest, "_mta-sts.victim.example. "+record), good)
	if err != nil || c.Verdict.Rule != RuleMTASTS {
		t.Fatal(c, err)
	}
	_ = c.Close()
	w.remove("victim.example")
	for i, attack := range []struct {
		lines  []string
		port   uint16
		reason Reason
	}{
		{honest, stripped, NoStartTLS},
		{honest, forged, NameMismatch},
		{[]string{"victim.example. MX 1 mx.evil.example.", "mx.evil.example. A 127.0.0.1"}, forged, NotInPolicy},
		{append([]string{"_mta-sts.victim.example. TXT \"v=STSv1; id=2;\""}, honest...), stripped, NoStartTLS},
	} {
		c, err = dial(attack.lines, attack.port)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason != attack.reason || e.Rule != RuleMTASTS {
			t.Errorf("%d: %v, %v", i, c, err)
			continue
		}
		t.Log(err, fmt.Sprint(e.Why))
	}
	if c, err = dial(honest, good); err != nil || c.Verdict.Rule != RuleMTASTS {
		t.Fatal(c, err)
	}
	_ = c.Close()
}
