package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
	"github.com/postseal/postseal/tls"
)

// answers is a resolver that knows its answers about services, and no others.
type answers map[string]*dane.Answer[dane.SRV]

func (answers) LookupTLSA(context.Context, string) (*dane.Answer[dane.Record], error) {
	return &dane.Answer[dane.Record]{}, nil
}
func (answers) LookupSMIMEA(context.Context, string) (*dane.Answer[dane.Record], error) {
	return &dane.Answer[dane.Record]{}, nil
}
func (answers) LookupMX(context.Context, string) (*dane.Answer[dane.MX], error) {
	return &dane.Answer[dane.MX]{}, nil
}
func (answers) LookupA(context.Context, string) (*dane.Answer[netip.Addr], error) {
	return &dane.Answer[netip.Addr]{Records: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, nil
}
func (answers) LookupAAAA(context.Context, string) (*dane.Answer[netip.Addr], error) {
	return &dane.Answer[netip.Addr]{}, nil
}
func (answers) LookupTXT(context.Context, string) (*dane.Answer[string], error) {
	return &dane.Answer[string]{}, nil
}
func (answers) LookupCNAME(context.Context, string) (*dane.Answer[string], error) {
	return &dane.Answer[string]{}, nil
}

var errDown = errors.New("the resolver is down")

func (a answers) LookupSRV(_ context.Context, name string) (*dane.Answer[dane.SRV], error) {
	if answer, ok := a[name]; ok {
		if answer == nil {
			return nil, errDown
		}
		return answer, nil
	}
	return &dane.Answer[dane.SRV]{NXDomain: true}, nil
}

func srv(secure bool, records ...dane.SRV) *dane.Answer[dane.SRV] {
	return &dane.Answer[dane.SRV]{Records: records, Secure: secure}
}

func finder(t testing.TB, r dane.Resolver, protocol string, u config.Upstream, domains ...config.Domain) *Finder {
	t.Helper()
	f, err := NewFinder(&config.Config{Domains: domains}, &config.Listener{Protocol: protocol, Upstream: u}, r,
		func(string) (*x509.CertPool, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// text writes places in short.
func text(places []Place) string {
	out := make([]string, len(places))
	for i, p := range places {
		if out[i] = p.String() + " " + p.Mode.String(); p.ServerName != "" {
			out[i] += " " + p.ServerName
		}
		if p.SRV != "" {
			out[i] = p.Mode.String() + " of " + p.SRV
		}
	}
	return strings.Join(out, "; ")
}

// TestSRV chooses servers, and whose certificates they may have, by SRV records.
func TestSRV(t *testing.T) {
	record := func(priority, port uint16, target string) dane.SRV {
		return dane.SRV{Priority: priority, Port: port, Target: target}
	}
	for _, tc := range []struct {
		name     string
		protocol string
		answers  answers
		targets  []string
		want     string
		err      error
	}{
		{"implicit TLS first", config.IMAP4, answers{"_imap._tcp.example.org": srv(false, record(0, 143, "a.example.org")), "_imaps._tcp.example.org": srv(false, record(5, 993, "b.example.org"))},
			nil, "implicit of example.org; starttls of example.org", nil},
		{"submission", config.SMTP, answers{"_submission._tcp.example.org": srv(true, record(0, 587, "a.example.org"))}, nil, "starttls of example.org", nil},
		{"submissions", config.SMTP, answers{"_submissions._tcp.example.org": srv(true, record(0, 465, "mail.provider.example"))}, nil, "implicit of example.org", nil},
		{"another domain, and nobody vouches for it", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "imap.evil.example"))}, nil, "", ErrTarget},
		{"one of two", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "a.example.org"), record(0, 993, "imap.evil.example"))}, nil, "", ErrTarget},
		{"one that looks like it", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "evilexample.org"))}, nil, "", ErrTarget},
		{"another domain, by name", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(7, 1993, "b.provider.example"), record(0, 993, "imap.provider.example"), record(0, 993, "x.example"))},
			[]string{"IMAP.provider.example", "b.provider.example"}, "imap.provider.example:993 implicit; b.provider.example:1993 implicit", nil},
		{"no service", config.IMAP4, answers{"_imaps._tcp.example.org": srv(true, record(0, 0, "."))}, nil, "", ErrNoService},
		{"nothing", config.IMAP4, answers{}, nil, "", ErrNoService},
		{"no answer", config.IMAP4, answers{"_imaps._tcp.example.org": nil}, nil, "", errDown},
		{"half an answer", config.IMAP4, answers{"_imaps._tcp.example.org": nil, "_imap._tcp.example.org": srv(false, record(0, 143, "a.example.org"))}, nil, "starttls of example.org", nil},
	} {
		f := finder(t, tc.answers, tc.protocol, config.Upstream{Find: config.FindSRV, Domain: "example.org", Targets: tc.targets})
		places, err := f.Find(t.Context(), nil, "")
		if got := text(places); got != tc.want || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
			t.Errorf("%s: %s %v, want %s", tc.name, got, err, tc.want)
		}
	}
}

// TestSRVLive asks a validating resolver.
func TestSRVLive(t *testing.T) {
	w := dnstest.Start(t, &dnstest.Options{
		Signed:   "_imaps._tcp.example. 60 IN SRV 0 1 993 imap.provider.test.\n",
		Unsigned: "_imaps._tcp.unsigned.example. 60 IN SRV 0 1 993 imap.provider.test.\n",
	})
	client, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]error{"example": nil, "unsigned.example": ErrTarget} {
		places, findErr := finder(t, client, config.IMAP4, config.Upstream{Find: config.FindSRV, Domain: domain}).Find(t.Context(), nil, "")
		if !errors.Is(findErr, want) || want == nil && text(places) != "implicit of example" {
			t.Errorf("%s: %s %v", domain, text(places), findErr)
		}
	}
}

// TestByLogin finds servers by the domain of the login name, if it is configured.
func TestByLogin(t *testing.T) {
	domains := []config.Domain{
		{Name: "one.example", IMAP: &config.Place{Host: "192.0.2.1", Port: 993, Name: "imap.one.example"}},
		{Name: "two.example", SMTP: &config.Place{Host: "x", Port: 1, Name: "x"}},
	}
	r := answers{"_imap._tcp.two.example": srv(false, dane.SRV{Port: 143, Target: "mail.two.example"})}
	f := finder(t, r, config.IMAP4, config.Upstream{Find: config.FindLogin}, domains...)
	for account, want := range map[string]string{
		"alice@one.example":       "192.0.2.1:993 implicit imap.one.example",
		"Alice@ONE.example":       "192.0.2.1:993 implicit imap.one.example",
		"alice@x@two.example":     "starttls of two.example",
		"alice@three.example":     "",
		"alice@sub.one.example":   "",
		"alice":                   "",
		"":                        "",
		"one.example":             "",
		"alice@":                  "",
		"alice@one.example\x00.x": "",
	} {
		places, err := f.Find(t.Context(), nil, account)
		if text(places) != want || (want == "") != errors.As(err, new(*DomainError)) {
			t.Errorf("%q: %s %v", account, text(places), err)
		}
	}
}

// TestDestination goes where the client was going, and expects the name that it
// asked for.
func TestDestination(t *testing.T) {
	f := finder(t, nil, config.IMAP4, config.Upstream{Find: config.FindDestination, Place: config.Place{Mode: tls.StartTLS}})
	if _, err := f.Find(t.Context(), &Client{}, ""); !errors.As(err, new(*DestinationError)) {
		t.Errorf("%v", err)
	}
	c := &Client{Destination: netip.MustParseAddrPort("192.0.2.1:143")}
	for _, name := range []string{"", "imap.example.org"} {
		c.SetName(name)
		places, err := f.Find(t.Context(), c, "")
		want := "192.0.2.1:143 starttls 192.0.2.1"
		if name != "" {
			want = "192.0.2.1:143 starttls " + name
		}
		if err != nil || text(places) != want {
			t.Errorf("%s %v", text(places), err)
		}
	}
}

// TestAllowed lets connections go to the places that are configured, and nowhere
// else.
func TestAllowed(t *testing.T) {
	var network config.Network
	if err := network.UnmarshalText([]byte("192.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	l := &config.Listener{Destinations: []config.Network{network}, Ports: []uint16{993}}
	own := netip.MustParseAddrPort("192.0.2.9:993")
	for to, want := range map[string]bool{"192.0.2.1:993": true, "192.0.2.1:143": false, "192.0.3.1:993": false, "127.0.0.1:993": false, "192.0.2.9:993": false, "[2001:db8::1]:993": false} {
		err := Allowed(l, netip.MustParseAddrPort(to), own)
		if (err == nil) != want || err != nil && !errors.As(err, new(*DestinationError)) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if err := Allowed(l, netip.AddrPort{}, own); err == nil {
		t.Error("nowhere is allowed")
	}
	if !slices.Equal(l.Ports, []uint16{993}) {
		t.Error("changed")
	}
}
