package tlstool

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/policy"
)

// A zone is what a resolver knows.
type zone struct {
	dane.Resolver
	records  []dane.Record // of mx.example
	secure   bool          // of all answers
	err      error         // of TLSA
	mx       []dane.MX     // of example
	policyID string        // of example's MTA-STS policy
}

func answer[T any](z *zone, name string, records ...T) (*dane.Answer[T], error) {
	return &dane.Answer[T]{Records: records, Secure: z.secure, Name: name}, nil
}

func (z *zone) LookupTLSA(_ context.Context, name string) (*dane.Answer[dane.Record], error) {
	if z.err != nil {
		return nil, z.err
	}
	if !strings.HasSuffix(name, "._tcp.mx.example") {
		return answer[dane.Record](z, name)
	}
	return answer(z, name, z.records...)
}

func (z *zone) LookupA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return answer(z, name, netip.MustParseAddr("127.0.0.1"))
}

func (z *zone) LookupAAAA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return answer[netip.Addr](z, name)
}

func (z *zone) LookupCNAME(_ context.Context, name string) (*dane.Answer[string], error) {
	return answer[string](z, name)
}

func (z *zone) LookupMX(_ context.Context, name string) (*dane.Answer[dane.MX], error) {
	if name != "example.org" {
		return answer[dane.MX](z, name)
	}
	return answer(z, name, z.mx...)
}

func (z *zone) LookupTXT(_ context.Context, name string) (*dane.Answer[string], error) {
	if name != "_mta-sts.example.org" || z.policyID == "" {
		return answer[string](z, name)
	}
	return answer(z, name, "v=STSv1; id="+z.policyID+";")
}

func record(t *testing.T, text string) dane.Record {
	t.Helper()
	r, err := dane.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestProbeDANE holds records against certificates.
func TestProbeDANE(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	self := newAuthority(t).issue(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	})
	target := serveTLS(t, tls.SMTP, true, &cryptotls.Config{Certificates: []cryptotls.Certificate{*cert}})
	selfTarget := serveTLS(t, tls.SMTP, true, &cryptotls.Config{Certificates: []cryptotls.Certificate{*self}})
	first, err := Probe(t.Context(), target, &Options{Roots: ca.pool(), Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	selfReport, err := Probe(t.Context(), selfTarget, &Options{Roots: ca.pool(), Quick: true})
	if !errors.As(err, new(*UntrustedError)) {
		t.Fatal(err)
	}
	leaf, anchor := record(t, first.Certificates[0].TLSA), record(t, first.Certificates[1].TLSA)
	wrong := record(t, "3 1 1 "+strings.Repeat("00", 32))
	pkix, odd := leaf, leaf
	pkix.Usage, odd.Usage = dane.PKIXEE, 9
	for _, c := range []struct {
		name      string
		target    *Target
		zone      zone
		matched   bool
		usable    int
		untrusted bool
		rule      policy.Rule
		bad       int
		warning   int
	}{
		{"the key", target, zone{records: []dane.Record{wrong, leaf}, secure: true}, true, 2, false, policy.RuleDANE, 0, 0},
		{"the authority", target, zone{records: []dane.Record{anchor}, secure: true}, true, 1, false, policy.RuleDANE, 0, 0},
		{"another key", target, zone{records: []dane.Record{wrong}, secure: true}, false, 1, true, policy.RuleDANE, 1, 0},
		{"not signed", target, zone{records: []dane.Record{leaf}}, true, 1, false, policy.RulePKIX, 0, 1},
		{"with a path", target, zone{records: []dane.Record{pkix}, secure: true}, false, 0, false, policy.RuleDANE, 0, 1},
		{"of no use", target, zone{records: []dane.Record{odd}, secure: true}, false, 0, false, policy.RulePKIX, 0, 1},
		{"no records", target, zone{secure: true}, false, 0, false, policy.RulePKIX, 0, 0},
		{"no answer", target, zone{err: &dane.LookupError{Reason: dane.Timeout}, secure: true}, false, 0, false, 0, 0, 1},
		{"forged", target, zone{err: &dane.LookupError{Reason: dane.Bogus}, secure: true}, false, 0, true, 0, 1, 0},
		{"the key of who is not trusted", selfTarget, zone{records: []dane.Record{record(t, selfReport.Certificates[0].TLSA)}, secure: true}, true, 1, false, policy.RuleDANE, 0, 0},
		{"the authority of who has expired", selfTarget, zone{records: []dane.Record{record(t, selfReport.Certificates[1].TLSA)}, secure: true}, false, 1, true, policy.RuleDANE, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, probeErr := Probe(t.Context(), c.target, &Options{Roots: ca.pool(), Quick: true, Resolver: &c.zone})
			if untrusted := errors.As(probeErr, new(*UntrustedError)); r == nil || untrusted != c.untrusted || untrusted != (probeErr != nil) {
				t.Fatal(probeErr)
			}
			d := r.DANE
			if d.Matched != c.matched || d.Usable != c.usable || d.Secure != (c.zone.secure && c.zone.err == nil) || d.Matched != (d.Record != "") {
				t.Errorf("%+v", d)
			}
			if c.rule != 0 && r.Client.Rule != c.rule.String() || r.Client.Connects == (c.untrusted || c.zone.err != nil) {
				t.Errorf("%+v", r.Client)
			}
			if got := severities(r); got[Bad] != c.bad || got[Warning] != c.warning {
				t.Errorf("%v", r.Advice)
			}
		})
	}
}

// TestProbeMail looks at a server as one that takes mail of a domain.
func TestProbeMail(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"mx.example.org"} })
	target := serveTLS(t, tls.SMTP, true, &cryptotls.Config{Certificates: []cryptotls.Certificate{*cert}})
	target.ServerName = "mx.example.org"
	text := ""
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	}))
	web.TLS = &cryptotls.Config{Certificates: []cryptotls.Certificate{*ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"mta-sts.example.org"} })}}
	web.StartTLS()
	defer web.Close()
	here := []dane.MX{{Preference: 10, Host: "mx.example.org"}, {Preference: 5, Host: "other.example.org"}}
	const head, age = "version: STSv1\nmode: ", "\nmax_age: 604800\n"
	for _, c := range []struct {
		name    string
		domain  string // that is given
		zone    zone
		text    string
		listed  bool   // in the MX records
		mode    string // of MTA-STS
		rule    string // "" if nobody connects
		bad     int
		warning int
		note    int // about MTA-STS or less
	}{
		{"nothing", "", zone{}, "", false, "", "pkix", 0, 0, 0},
		{"of no domain", "elsewhere.org", zone{mx: here}, "", false, "", "pkix", 0, 1, 1},
		{"found by its name", "", zone{mx: here}, "", true, "", "opportunistic", 0, 0, 1},
		{"another one's", "example.org", zone{mx: here[1:]}, "", false, "", "pkix", 0, 1, 1},
		{"enforced", "", zone{mx: here, policyID: "1"}, head + "enforce\nmx: *.example.org" + age, true, "enforce", "mta-sts", 0, 0, 0},
		{"testing", "", zone{mx: here, policyID: "1"}, head + "testing\nmx: *.example.org" + age, true, "testing", "opportunistic", 0, 0, 1},
		{"none", "", zone{mx: here, policyID: "1"}, head + "none" + age, true, "none", "opportunistic", 0, 0, 1},
		{"for a minute", "", zone{mx: here, policyID: "1"}, head + "enforce\nmx: mx.example.org\nmax_age: 60\n", true, "enforce", "mta-sts", 0, 0, 1},
		{"not in the policy", "", zone{mx: here, policyID: "1"}, head + "enforce\nmx: mail.example.org" + age, true, "enforce", "", 1, 0, 0},
		{"not in the policy, testing", "", zone{mx: here, policyID: "1"}, head + "testing\nmx: mail.example.org" + age, true, "testing", "opportunistic", 0, 1, 0},
		{"no policy at the web", "", zone{mx: here, policyID: "1"}, "", true, "", "opportunistic", 0, 1, 0},
		{"no policy", "", zone{mx: here, policyID: "1"}, "<html>", true, "", "opportunistic", 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			text = c.text
			r, err := Probe(t.Context(), target, &Options{Roots: ca.pool(), Quick: true, Resolver: &c.zone, Domain: c.domain,
				DialWeb: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", web.Listener.Addr().String())
				}})
			if r == nil || (err != nil) != (c.rule == "") {
				t.Fatal(err)
			}
			if (r.Mail != nil && r.Mail.Listed) != c.listed || (r.Mail != nil) != (r.MTASTS != nil) || c.domain != "" && r.Mail.Domain != c.domain {
				t.Errorf("%+v", r.Mail)
			}
			if r.MTASTS != nil && r.MTASTS.Mode != c.mode {
				t.Errorf("%+v", r.MTASTS)
			}
			if r.Client.Connects && r.Client.Rule != c.rule || r.Client.Connects != (c.rule != "") {
				t.Errorf("%+v", r.Client)
			}
			got := severities(r)
			if got[Bad] != c.bad || got[Warning] != c.warning || got[Note] != c.note {
				t.Errorf("%v", r.Advice)
			}
			var out bytes.Buffer
			if err = r.WriteText(&out); err != nil {
				t.Fatal(err)
			}
			if c.mode != "" && !strings.Contains(out.String(), "MTA-STS          "+c.mode+" for ") {
				t.Errorf("%s", out.String())
			}
			t.Log(out.String())
		})
	}
}
