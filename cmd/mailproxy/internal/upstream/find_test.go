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

// answers is a Resolver that knows its answers.
type answers map[string]*dane.Answer[dane.SRV]

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

func finder(t testing.TB, r Resolver, protocol string, u config.Upstream, domains ...config.Domain) *Finder {
	t.Helper()
	f, err := NewFinder(&config.Config{Domains: domains}, &config.Listener{Protocol: protocol, Upstream: u}, r,
		func(string) (*x509.CertPool, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// text writes places in short: address, mode and names.
func text(places []Place) string {
	out := make([]string, len(places))
	for i, p := range places {
		out[i] = p.Address + " " + p.Mode.String() + " " + strings.Join(p.Names, ",")
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
			nil, "b.example.org:993 implicit example.org,_imaps.example.org; a.example.org:143 starttls example.org,_imap.example.org", nil},
		{"submission", config.SMTP, answers{"_submission._tcp.example.org": srv(true, record(0, 587, "a.example.org"))},
			nil, "a.example.org:587 starttls a.example.org,example.org,_submission.example.org", nil},
		{"submissions", config.SMTP, answers{"_submissions._tcp.example.org": srv(true, record(0, 465, "mail.provider.example"))},
			nil, "mail.provider.example:465 implicit mail.provider.example,example.org,_submissions.example.org", nil},
		{"priority", config.SMTP, answers{"_submissions._tcp.example.org": srv(false, record(20, 465, "b.example.org"), record(10, 465, "a.example.org"))},
			nil, "a.example.org:465 implicit example.org,_submissions.example.org; b.example.org:465 implicit example.org,_submissions.example.org", nil},
		{"another domain, and nobody vouches for it", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "imap.evil.example"))}, nil, "", ErrTarget},
		{"one that looks like it", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "evilexample.org"))}, nil, "", ErrTarget},
		{"another domain, by name", config.IMAP4, answers{"_imaps._tcp.example.org": srv(false, record(0, 993, "imap.provider.example"))}, []string{"IMAP.provider.example"},
			"imap.provider.example:993 implicit imap.provider.example,example.org,_imaps.example.org", nil},
		{"no service", config.IMAP4, answers{"_imaps._tcp.example.org": srv(true, record(0, 0, "."))}, nil, "", ErrNoService},
		{"nothing", config.IMAP4, answers{}, nil, "", ErrNoService},
		{"no answer", config.IMAP4, answers{"_imaps._tcp.example.org": nil}, nil, "", errDown},
		{"half an answer", config.IMAP4, answers{"_imaps._tcp.example.org": nil, "_imap._tcp.example.org": srv(false, record(0, 143, "a.example.org"))},
			nil, "a.example.org:143 starttls example.org,_imap.example.org", nil},
	} {
		f := finder(t, tc.answers, tc.protocol, config.Upstream{Find: config.FindSRV, Domain: "example.org", Targets: tc.targets})
		places, err := f.Find(t.Context(), nil, "")
		if got := text(places); got != tc.want || !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
			t.Errorf("%s: %s %v, want %s", tc.name, got, err, tc.want)
		}
	}
	many := make([]dane.SRV, 50)
	for i := range many {
		many[i] = record(0, 993, "a.example.org")
	}
	f := finder(t, answers{"_imaps._tcp.example.org": srv(false, many...)}, config.IMAP4, config.Upstream{Find: config.FindSRV, Domain: "example.org"})
	if places, err := f.Find(t.Context(), nil, ""); err != nil || len(places) != maxPlaces {
		t.Errorf("%d places: %v", len(places), err)
	}
}

// TestWeights gives each its share (RFC 2782).
func TestWeights(t *testing.T) {
	count := make(map[string]int)
	for range 2000 {
		got := order([]dane.SRV{{Priority: 1, Weight: 0, Target: "never"}, {Priority: 0, Weight: 30, Target: "a"}, {Priority: 0, Weight: 10, Target: "b"}, {Priority: 0, Weight: 0, Target: "c"}})
		if got[3].Target != "never" || len(got) != 4 {
			t.Fatalf("%v", got)
		}
		count[got[0].Target]++
	}
	if a, b, c := count["a"], count["b"], count["c"]; a < 1200 || b < 300 || b > 800 || c == 0 || c > 150 {
		t.Errorf("%v", count)
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
		if !errors.Is(findErr, want) || want == nil && (len(places) != 1 || places[0].Names[0] != "imap.provider.test") {
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
		"alice@x@two.example":     "mail.two.example:143 starttls two.example,_imap.two.example",
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
