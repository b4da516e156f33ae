package policy

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/mtasts"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Policy{
		"required": {}, "Dane": {DANE: IfPublished}, "dane-only": {DANE: Only}, "mta-sts required": {MTASTS: true}, "pinned": {Base: Pinned},
		"dane  mta-sts\topportunistic": {DANE: IfPublished, MTASTS: true, Base: Opportunistic}, "opportunistic": {Base: Opportunistic},
	} {
		p, err := Parse(text)
		if err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
		if again, againErr := Parse(p.String()); againErr != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q became %q: %v", text, p, againErr)
		}
	}
	for _, text := range []string{"", " ", "dane-only required", "required dane", "opportunistic mta-sts", "dane dane", "tls", "dane,required"} {
		if _, err := Parse(text); !errors.As(err, new(*tls.ConfigError)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPin(t *testing.T) {
	a := newAuthority(t)
	one, two := a.issue(t, nil, "one.example").Leaf, a.issue(t, nil, "two.example").Leaf
	for _, p := range []Pin{PinKey(one), PinCertificate(one)} {
		again, err := ParsePin(p.String())
		if err != nil || again != p || !p.Matches(one) || p.Matches(two) {
			t.Errorf("%v: %v, %v", p, again, err)
		}
		kind, digits, _ := strings.Cut(p.String(), ":")
		var colons []string
		for i := 0; i < len(digits); i += 2 {
			colons = append(colons, strings.ToUpper(digits[i:i+2]))
		}
		if again, err = ParsePin(kind + ":" + strings.Join(colons, ":")); err != nil || again != p {
			t.Errorf("%v: %v, %v", p, again, err)
		}
		if again, err = ParsePin(kind + ":" + base64.StdEncoding.EncodeToString(p.sum[:])); err != nil || again != p {
			t.Errorf("%v: %v, %v", p, again, err)
		}
	}
	for _, text := range []string{"", "key-sha256:", "sha256:" + strings.Repeat("00", 32), "key-sha256:00", "cert-sha256:" + strings.Repeat("0g", 32)} {
		if _, err := ParsePin(text); !errors.As(err, new(*tls.ConfigError)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// dial connects to a server of ours on loopback by a policy without DNS.
func dial(t *testing.T, p Policy, target *Target) (*Connection, error) {
	t.Helper()
	d, err := New(&Options{Policy: p, Roots: newAuthority(t).roots(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), target)
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// TestBase has what needs no DNS: names, pins, and nothing.
func TestBase(t *testing.T) {
	a := newAuthority(t)
	good := a.issue(t, nil, "localhost", "127.0.0.1", "mail.example.org", "*.wild.example.org", "xn--bcher-kva.example")
	self := a.issue(t, func(c *x509.Certificate) { expired(c); c.DNSNames = nil }, "pinned")
	port, selfPort, plain := serveTLS(t, tls.IMAP, tls.Implicit, good), serveTLS(t, tls.IMAP, tls.Implicit, self), servePlain(t)
	ca := PinKey(a.ca.Cert)
	for _, c := range []struct {
		name   string
		policy Policy
		target Target
		rule   Rule
		found  string
		reason Reason
	}{
		{"host", Policy{}, Target{Host: "localhost", Port: port}, RulePKIX, "localhost", 0},
		{"address", Policy{}, Target{Host: "127.0.0.1", Port: port}, RulePKIX, "127.0.0.1", 0},
		{"another address", Policy{}, Target{Host: "127.0.0.1", ServerName: "127.0.0.2", Port: port}, 0, "", NameMismatch},
		{"another name", Policy{}, Target{Host: "127.0.0.1", ServerName: "mail.example.org.", Port: port}, RulePKIX, "mail.example.org", 0},
		{"wildcard", Policy{}, Target{Host: "127.0.0.1", ServerName: "a.wild.example.org", Port: port}, RulePKIX, "a.wild.example.org", 0},
		{"wildcard for two labels", Policy{}, Target{Host: "127.0.0.1", ServerName: "a.b.wild.example.org", Port: port}, 0, "", NameMismatch},
		{"U-label", Policy{}, Target{Host: "127.0.0.1", ServerName: "Bücher.example", Port: port}, RulePKIX, "xn--bcher-kva.example", 0},
		{"common name", Policy{}, Target{Host: "127.0.0.1", ServerName: "pinned", Port: selfPort}, 0, "", CertificateTime},
		{"key", Policy{Base: Pinned, Pins: []Pin{ca, PinKey(self.Leaf)}}, Target{Host: "localhost", Port: selfPort}, RulePinned, "", 0},
		{"certificate", Policy{Base: Pinned, Pins: []Pin{PinCertificate(self.Leaf)}}, Target{Host: "127.0.0.1", Port: selfPort}, RulePinned, "", 0},
		{"the authority's key is not the server's", Policy{Base: Pinned, Pins: []Pin{ca}}, Target{Host: "localhost", Port: port}, 0, "", PinMismatch},
		{"authority in the path", Policy{Pins: []Pin{ca}}, Target{Host: "localhost", Port: port}, RulePinned, "localhost", 0},
		{"authority not in the path", Policy{Pins: []Pin{PinKey(self.Leaf)}}, Target{Host: "localhost", Port: port}, 0, "", PinMismatch},
		{"pinned, but not valid", Policy{Pins: []Pin{PinKey(self.Leaf)}}, Target{Host: "localhost", Port: selfPort}, 0, "", CertificateTime},
		{"whatever there is", Policy{Base: Opportunistic}, Target{Host: "localhost", Port: selfPort}, RuleOpportunistic, "", 0},
		{"plaintext", Policy{}, Target{Protocol: tls.SMTP, Mode: tls.InsecurePlaintext, Host: "localhost", Port: plain}, RulePlaintext, "", 0},
		{"no STARTTLS", Policy{}, Target{Protocol: tls.SMTP, Mode: tls.StartTLS, Host: "localhost", Port: plain}, 0, "", NoStartTLS},
		{"another protocol", Policy{}, Target{Mode: tls.StartTLS, Host: "localhost", Port: plain}, 0, "", Dialogue},
		{"no TLS", Policy{}, Target{Host: "localhost", Port: plain}, 0, "", Handshake},
		{"another service", Policy{Base: Opportunistic}, Target{Protocol: tls.POP3, Host: "localhost", Port: port}, 0, "", Handshake},
		{"nobody", Policy{}, Target{Host: "127.0.0.1", Port: 1}, 0, "", NotReached},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.target.Protocol == 0 {
				c.target.Protocol = tls.IMAP
			}
			conn, err := dial(t, c.policy, &c.target)
			if c.reason != 0 {
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Reason != c.reason || !e.Temporary() {
					t.Errorf("%v, %v", conn, err)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v := conn.Verdict
			if v.Rule != c.rule || v.Name != c.found || v.Authenticated != c.rule.authenticates() || v.Encrypted != (c.rule != RulePlaintext) || (v.Pin != nil) != (c.rule == RulePinned) {
				t.Errorf("%+v", v)
			}
			if about := conn.Describe(); v.Encrypted && (about.Verified != v.Authenticated || !about.PostQuantum || len(about.Peer) == 0) {
				t.Errorf("%+v", about)
			}
			if s := conn.State(); v.Encrypted && (s.Version != cryptotls.VersionTLS13 || s.CurveID != cryptotls.X25519MLKEM768) {
				t.Errorf("%x, %v", s.Version, s.CurveID)
			}
			t.Log(v)
		})
	}
}

// TestResumed has a resumed session judged like others: by the certificate that it
// began with, and not by that it was good once.
func TestResumed(t *testing.T) {
	a := newAuthority(t)
	cert := a.issue(t, nil, "localhost")
	port := serveTLS(t, tls.IMAP, tls.Implicit, cert)
	now := time.Now()
	figures := new(tls.Figures)
	d, err := New(&Options{Roots: a.roots(), Time: func() time.Time { return now }, Figures: figures})
	if err != nil {
		t.Fatal(err)
	}
	connect := func() (*Connection, error) {
		c, dialErr := d.Dial(t.Context(), &Target{Protocol: tls.IMAP, Host: "localhost", Port: port})
		if dialErr == nil {
			t.Cleanup(func() { _ = c.Close() })
			_, _ = io.ReadFull(c.Conn, make([]byte, 8)) // takes in the ticket, too
		}
		return c, dialErr
	}
	for i := range 2 {
		c, dialErr := connect()
		if dialErr != nil {
			t.Fatal(dialErr)
		}
		if c.State().DidResume != (i == 1) || !c.Verdict.Authenticated || c.Verdict.Name != "localhost" {
			t.Errorf("%d: %v, %v", i, c.State().DidResume, c.Verdict)
		}
	}
	d.opts.Roots = x509.NewCertPool() // as if it were another policy
	_, err = connect()
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != NotTrusted {
		t.Errorf("got %v", err)
	}
	d.opts.Roots, now = a.roots(), now.AddDate(2, 0, 0)
	_, err = connect()
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != CertificateTime {
		t.Errorf("got %v", err)
	}
	if figures.Full() != 1 || figures.Resumed() != 1 || figures.Failed() != 2 {
		t.Errorf("%d full, %d resumed, %d failed", figures.Full(), figures.Resumed(), figures.Failed())
	}
}

// TestConfigErrors finds mistakes of callers before anything is asked or sent.
func TestConfigErrors(t *testing.T) {
	pin := PinKey(newAuthority(t).ca.Cert)
	type lookup struct{ dane.Resolver }
	for _, o := range []Options{
		{Policy: Policy{DANE: 9}}, {Policy: Policy{Base: -1}}, {Policy: Policy{Base: Pinned}}, {Policy: Policy{DANE: IfPublished}},
		{Policy: Policy{MTASTS: true}}, {Policy: Policy{DANE: Only, MTASTS: true}, Resolver: lookup{}, MTASTS: &mtasts.Client{}},
		{Policy: Policy{DANE: Only, Base: Opportunistic}, Resolver: lookup{}}, {Policy: Policy{Base: Opportunistic, Pins: []Pin{pin}}},
		{Policy: Policy{DANE: IfPublished, Pins: []Pin{pin}}, Resolver: lookup{}}, {Profile: "strict"},
	} {
		if d, err := New(&o); d != nil || !errors.As(err, new(*tls.ConfigError)) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	d, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []*Target{
		nil, {}, {Protocol: tls.IMAP}, {Host: "a.example"}, {Protocol: 99, Host: "a.example"}, {Protocol: tls.IMAP, Host: "a.example", MX: "a.example"},
		{Protocol: tls.IMAP, MX: "a.example"}, {MX: "a.example"}, {Protocol: tls.IMAP, SRV: "a.example"}, {Protocol: tls.IMAP, SRV: "a.example", Port: 1},
		{Protocol: tls.LMTP, SRV: "a.example"}, {Protocol: tls.IMAP, Mode: tls.OpportunisticStartTLS, Host: "a.example"},
		{Protocol: tls.IMAP, Mode: tls.InsecurePlaintext, SRV: "a.example"}, {Protocol: tls.IMAP, Mode: 9, Host: "a.example"},
		{MX: "a.example", ServerName: "b.example"}, {Protocol: tls.IMAP, Host: "a..example"}, {MX: "127.0.0.1 "}, {Protocol: tls.IMAP, Host: "a\u2028b.example"},
	} {
		if c, dialErr := d.Dial(t.Context(), target); c != nil || !errors.As(dialErr, new(*tls.ConfigError)) {
			t.Errorf("%+v: %v", target, dialErr)
		}
	}
}

// TestCancelled ends the context in the middle of it.
func TestCancelled(t *testing.T) {
	port := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	d, err := New(&Options{Roots: newAuthority(t).roots(), Timeout: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	target := &Target{Protocol: tls.SMTP, Mode: tls.StartTLS, Host: "localhost", Port: port}
	_, err = d.Dial(t.Context(), target)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Dial(ctx, target)
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != NotReached || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestVerdictJSON has nothing that a terminal would obey.
func TestVerdictJSON(t *testing.T) {
	a := newAuthority(t)
	evil := a.issue(t, nil, "evil\x1b[31m")
	h := &Host{Name: "a.example", Port: 25, Rule: RulePKIX, Names: []string{"a.example"}, roots: a.roots()}
	chain := []*x509.Certificate{evil.Leaf, a.ca.Cert}
	_, err := h.Judge(&cryptotls.ConnectionState{PeerCertificates: chain}, time.Now())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != NameMismatch || strings.Contains(err.Error()+strings.Join(e.Why, ""), "\x1b") {
		t.Errorf("%q", err)
	}
	h.Rule, h.pins, h.Names = RulePinned, []Pin{PinKey(evil.Leaf)}, nil
	v, err := h.Judge(&cryptotls.ConnectionState{PeerCertificates: chain}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v.TLSA = &dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte{1}}
	v.Testing = e
	text, err := json.Marshal(v)
	if err != nil || bytes.ContainsAny(text, "\x1b") || bytes.Contains(text, []byte(`\u001b`)) {
		t.Errorf("%s, %v", text, err)
	}
	for _, part := range []string{`"rule":"pinned"`, `"tlsa":"3 1 1 01"`, `"pin":"key-sha256:`, `"path":["CN=evil?[31m`, `"authenticated":true`, `"testing":`} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if _, err = h.Judge(&cryptotls.ConnectionState{}, time.Now()); !errors.Is(err, errNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
}

// TestBySRV has the priorities kept, and the weights by and large.
func TestBySRV(t *testing.T) {
	records := []dane.SRV{{Priority: 2, Target: "c"}, {Priority: 1, Weight: 90, Target: "a"}, {Priority: 1, Weight: 10, Target: "b"}, {Priority: 1, Weight: 0, Target: "z"}, {Target: "."}}
	first := make(map[string]int)
	for range 2000 {
		out := bySRV(records)
		if len(out) != 4 || out[3].Target != "c" {
			t.Fatalf("%+v", out)
		}
		first[out[0].Target]++
	}
	if first["a"] < 1600 || first["b"] < 80 || first["z"] == 0 || first["z"] > 100 {
		t.Errorf("%v", first)
	}
}

// manyAddresses has a host with addresses of both families.
type manyAddresses struct{ dane.Resolver }

func (manyAddresses) LookupAAAA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	out := &dane.Answer[netip.Addr]{Name: name}
	for i := range 30 {
		out.Records = append(out.Records, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
	}
	return out, nil
}

func (manyAddresses) LookupA(_ context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return &dane.Answer[netip.Addr]{Name: name, Records: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}, nil
}

func (manyAddresses) LookupMX(_ context.Context, name string) (*dane.Answer[dane.MX], error) {
	out := &dane.Answer[dane.MX]{Name: name}
	for i := range 30 {
		out.Records = append(out.Records, dane.MX{Preference: uint16(30 - i), Host: "mx" + strconv.Itoa(30-i) + ".example"})
	}
	return out, nil
}

// TestAttempts tries both families, not too much of either, and not for too long.
func TestAttempts(t *testing.T) {
	var tried []string
	d, err := New(&Options{Policy: Policy{Base: Opportunistic}, Resolver: manyAddresses{}, Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		tried = append(tried, address)
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > connectPatience && len(tried)%maxAddresses != 0 {
			t.Errorf("%s may take until %v", address, deadline)
		}
		return nil, errors.New("no route")
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), &Target{MX: "example.org"})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != NotReached || len(e.Others) != maxAttempts-1 || e.Server != "mx1.example:25" {
		t.Errorf("got %v", err)
	}
	if len(tried) != maxAttempts || tried[0] != "[2001:db8::]:25" || tried[1] != "192.0.2.1:25" || tried[3] != "192.0.2.2:25" || tried[4] != "[2001:db8::2]:25" {
		t.Errorf("tried %v", tried)
	}
}

// TestClientCertificate shows one to a server that demands it.
func TestClientCertificate(t *testing.T) {
	a := newAuthority(t)
	mine := a.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "client")
	s, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP, TLS: &cryptotls.Config{
		Certificates: []cryptotls.Certificate{*a.issue(t, nil, "localhost")}, ClientAuth: cryptotls.RequireAndVerifyClientCert, ClientCAs: a.roots(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	port := listen(t, func(c net.Conn) {
		if session, handshakeErr := s.Handshake(t.Context(), c); handshakeErr == nil {
			_, _ = io.WriteString(session.Conn, "hello "+session.State().PeerCertificates[0].Subject.CommonName)
			_ = session.Close()
		}
	})
	for _, certs := range [][]cryptotls.Certificate{{*mine}, nil} {
		d, newErr := New(&Options{Roots: a.roots(), Certificates: certs})
		if newErr != nil {
			t.Fatal(newErr)
		}
		c, dialErr := d.Dial(t.Context(), &Target{Protocol: tls.IMAP, Host: "localhost", Port: port})
		if dialErr != nil {
			t.Fatal(dialErr) // in TLS 1.3, the server's refusal comes with the first Read
		}
		_ = c.Conn.SetDeadline(time.Now().Add(10 * time.Second))
		said, readErr := io.ReadAll(c.Conn)
		if good := certs != nil; string(said) != "hello client" && good || (readErr == nil) != good || !good && tls.Advice(readErr) == "" {
			t.Errorf("%d certificates: %q, %v", len(certs), said, readErr)
		}
		_ = c.Close()
	}
}
