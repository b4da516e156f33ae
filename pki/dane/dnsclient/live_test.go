package dnsclient_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// big does not fit into a UDP packet.
var big = strings.Repeat("5a", 3000)

var hash = strings.Repeat("ab", 32)

func signedRecords() string {
	return fmt.Sprintf(`_25._tcp.mx.example. 300 IN TLSA 3 1 1 %[1]s
_25._tcp.mx.example. 300 IN TLSA 2 0 1 %[1]s
_25._tcp.mx.example. 300 IN TLSA 3 9 9 00
big.example. 300 IN SMIMEA 3 0 0 %[2]s
one.example. 300 IN SMIMEA 3 1 1 %[1]s
alias.example. 100 IN CNAME one.example.
*.wild.example. 300 IN SMIMEA 3 1 1 %[1]s
out.example. 300 IN CNAME plain.unsigned.example.
dangling.example. 300 IN CNAME nowhere.example.
empty.example. 300 IN CNAME mx.example.
to-bogus.example. 300 IN CNAME broken.bogus.example.
loop.example. 300 IN CNAME loop2.example.
loop2.example. 300 IN CNAME loop.example.
mail.example. 300 IN MX 10 MX.example.
mail.example. 300 IN MX 20 mx2.example.
null.example. 300 IN MX 0 .
mx.example. 300 IN A 192.0.2.1
mx.example. 300 IN AAAA 2001:db8::1
_imaps._tcp.example. 300 IN SRV 1 2 993 mx.example.
_mta-sts.example. 300 IN TXT "v=STSv1; " "id=\"2\\;\195\164\""
tree.example. 300 IN DNAME other.example.
x.other.example. 300 IN TXT dname
`, hash, big)
}

func start(t *testing.T, opts *dnstest.Options) (*dnsclient.Client, *dnstest.World) {
	t.Helper()
	opts.Signed = signedRecords()
	opts.Unsigned = "plain.unsigned.example. 300 IN SMIMEA 3 1 1 " + hash + "\n" +
		"back.unsigned.example. 300 IN CNAME one.example.\n"
	opts.Bogus = "good.bogus.example. 300 IN SMIMEA 3 1 1 " + hash + "\n" +
		"broken.bogus.example. 300 IN SMIMEA 3 1 1 " + hash + "\n" +
		"expired.bogus.example. 300 IN SMIMEA 3 1 1 " + hash + "\n" +
		"early.bogus.example. 300 IN SMIMEA 3 1 1 " + hash + "\n" +
		"stripped.bogus.example. 300 IN SMIMEA 3 1 1 " + hash + "\n"
	opts.Damage = damage
	w := dnstest.Start(t, opts)
	c, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

func damage(set []dns.RR, sig *dns.RRSIG, sign func(*dns.RRSIG) error) (*dns.RRSIG, error) {
	now := time.Now()
	label, _, _ := strings.Cut(set[0].Header().Name, ".")
	switch label {
	case "broken":
		sig.Signature = "AAAA" + sig.Signature[4:]
	case "stripped":
		return nil, nil
	case "expired":
		// Unbound allows for a skew of a tenth of the time of validity, a day at most.
		sig.Inception, sig.Expiration = uint32(now.AddDate(0, 0, -20).Unix()), uint32(now.AddDate(0, 0, -10).Unix())
		return sig, sign(sig)
	case "early":
		sig.Inception, sig.Expiration = uint32(now.AddDate(0, 0, 10).Unix()), uint32(now.AddDate(0, 0, 20).Unix())
		return sig, sign(sig)
	}
	return sig, nil
}

// lookup is the outcome of a lookup that is wanted.
type lookup struct {
	asked    string
	records  int
	secure   bool
	nxdomain bool
	name     string // the canonical name, if it is not the one that was asked for
	reason   dane.Reason
}

func (l *lookup) check(t *testing.T, c *dnsclient.Client) {
	t.Helper()
	got, err := c.LookupSMIMEA(t.Context(), l.asked)
	var fault *dane.LookupError
	if l.reason != 0 {
		if !errors.As(err, &fault) || fault.Reason != l.reason || fault.Type != "SMIMEA" || fault.Name != l.asked {
			t.Errorf("%s: %v, want the reason %v", l.asked, err, l.reason)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", l.asked, err)
		return
	}
	name := l.name
	if name == "" {
		name = l.asked
	}
	if len(got.Records) != l.records || got.Secure != l.secure || got.NXDomain != l.nxdomain || got.Name != name {
		t.Errorf("%s: %+v, want %+v", l.asked, got, l)
	}
	if got.Alias(l.asked) != (name != l.asked) {
		t.Errorf("%s: wrong Alias", l.asked)
	}
}

func liveLookups() []lookup {
	return []lookup{
		{asked: "one.example", records: 1, secure: true},
		{asked: "big.example", records: 1, secure: true},
		{asked: "mx.example", secure: true},
		{asked: "nowhere.example", secure: true, nxdomain: true},
		{asked: "alias.example", records: 1, secure: true, name: "one.example"},
		{asked: "a.b.wild.example", records: 1, secure: true},
		{asked: "wild.example", secure: true},
		{asked: "plain.unsigned.example", records: 1},
		{asked: "ns.unsigned.example"},
		{asked: "nowhere.unsigned.example", nxdomain: true},
		// The weakest link counts, wherever it is.
		{asked: "out.example", records: 1, name: "plain.unsigned.example"},
		{asked: "back.unsigned.example", records: 1, name: "one.example"},
		{asked: "dangling.example", secure: true, nxdomain: true, name: "nowhere.example"},
		{asked: "empty.example", secure: true, name: "mx.example"},
		{asked: "good.bogus.example", records: 1, secure: true},
		{asked: "broken.bogus.example", reason: dane.Bogus},
		{asked: "expired.bogus.example", reason: dane.Bogus},
		{asked: "early.bogus.example", reason: dane.Bogus},
		{asked: "stripped.bogus.example", reason: dane.Bogus},
		{asked: "nowhere.bogus.example", reason: dane.Bogus}, // its denial is not signed
		{asked: "to-bogus.example", reason: dane.Bogus},
		{asked: "no name.example", reason: dane.BadName},
		{asked: "bücher.example", reason: dane.BadName},
	}
}

func TestLive(t *testing.T) {
	for _, opts := range []*dnstest.Options{{}, {NoExtendedErrors: true, NSEC3: true}} {
		t.Run(fmt.Sprintf("NSEC3=%v", opts.NSEC3), func(t *testing.T) {
			c, w := start(t, opts)
			for _, l := range liveLookups() {
				l.check(t, c)
			}
			t.Run("Loop", func(t *testing.T) { checkLoop(t, c) })
			t.Run("Types", func(t *testing.T) { checkTypes(t, c) })
			t.Run("Untrusted", func(t *testing.T) { checkUntrusted(t, w) })
			t.Run("Concurrent", func(t *testing.T) { checkConcurrent(t, c) })
		})
	}
}

// checkLoop: resolvers differ in what they answer to a loop, but it must be an
// error, and soon.
func checkLoop(t *testing.T, c *dnsclient.Client) {
	got, err := c.LookupSMIMEA(t.Context(), "loop.example")
	var fault *dane.LookupError
	if !errors.As(err, &fault) || fault.Reason == dane.Bogus || got != nil {
		t.Errorf("a loop of aliases: %+v, %v", got, err)
	}
}

func checkTypes(t *testing.T, c *dnsclient.Client) {
	ctx := t.Context()
	octets, _ := hex.DecodeString(hash)
	equal(t, c.LookupTLSA, "_25._tcp.mx.example", []dane.Record{{Usage: dane.DANETA, MatchingType: dane.SHA256, Data: octets},
		{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: octets}, {Usage: 3, Selector: 9, MatchingType: 9, Data: []byte{0}}})
	equal(t, c.LookupMX, "mail.example", []dane.MX{{Preference: 10, Host: "mx.example"}, {Preference: 20, Host: "mx2.example"}})
	equal(t, c.LookupMX, "null.example", []dane.MX{{Host: "."}})
	equal(t, c.LookupA, "mx.example", []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	equal(t, c.LookupAAAA, "MX.Example.", []netip.Addr{netip.MustParseAddr("2001:db8::1")})
	equal(t, c.LookupSRV, "_imaps._tcp.example", []dane.SRV{{Priority: 1, Weight: 2, Port: 993, Target: "mx.example"}})
	equal(t, c.LookupTXT, "_mta-sts.example", []string{"v=STSv1; id=\"2\\;ä\""})
	equal(t, c.LookupTXT, "x.tree.example", []string{"dname"})
	equal(t, c.LookupCNAME, "out.example", []string{"plain.unsigned.example"})
	equal(t, c.LookupCNAME, "one.example", []string{})

	alias, err := c.LookupSMIMEA(ctx, "alias.example")
	if err != nil || alias.TTL <= 90*time.Second || alias.TTL > 100*time.Second {
		t.Errorf("the least TTL of a chain: %+v, %v", alias, err)
	}
	none, err := c.LookupSMIMEA(ctx, "nowhere.example")
	if err != nil || none.TTL <= 50*time.Second || none.TTL > 60*time.Second {
		t.Errorf("the TTL of a denial: %+v, %v", none, err)
	}
}

// equal compares secure answers, whose records are in no order.
func equal[T any](t *testing.T, ask func(context.Context, string) (*dane.Answer[T], error), name string, want []T) {
	t.Helper()
	got, err := ask(t.Context(), name)
	if err != nil || !got.Secure {
		t.Errorf("%s: %+v, %v", name, got, err)
		return
	}
	text := func(records []T) []string {
		out := make([]string, 0, len(records))
		for _, r := range records {
			out = append(out, fmt.Sprintf("%#v", r))
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(text(got.Records), text(want)) {
		t.Errorf("%s: %v, want %v", name, got.Records, want)
	}
}

// checkUntrusted asks the same resolver under an address that is not loopback.
func checkUntrusted(t *testing.T, w *dnstest.World) {
	far := netip.MustParseAddrPort("192.0.2.53:53")
	opts := &dnsclient.Options{Servers: []netip.AddrPort{far}, Dial: dialTo(w.Resolver)}
	c, err := dnsclient.New(opts)
	if err != nil || c.Validating() {
		t.Fatalf("a distant server is trusted: %v", err)
	}
	(&lookup{asked: "one.example", records: 1}).check(t, c)
	(&lookup{asked: "mx.example"}).check(t, c)
	(&lookup{asked: "broken.bogus.example", reason: dane.Bogus}).check(t, c)
	opts.DangerouslyTrust = []netip.AddrPort{far}
	c, err = dnsclient.New(opts)
	if err != nil || !c.Validating() {
		t.Fatalf("a server that is named is not trusted: %v", err)
	}
	(&lookup{asked: "one.example", records: 1, secure: true}).check(t, c)
}

func checkConcurrent(t *testing.T, c *dnsclient.Client) {
	lookups := liveLookups()
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for j := range lookups {
				lookups[(i*5+j)%len(lookups)].check(t, c)
			}
		})
	}
	wait.Wait()
}
