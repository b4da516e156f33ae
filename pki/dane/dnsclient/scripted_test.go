package dnsclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// dialTo returns a dialer that connects to one address, whatever it is asked for.
func dialTo(server netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.String())
	}
}

// serve answers over UDP and TCP on one loopback address until the test ends.
func serve(t *testing.T, handler dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	var listener net.Listener
	var packets net.PacketConn
	var err error
	for range 100 {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", listener.Addr().String()); err == nil {
			break
		}
		_ = listener.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: listener, Handler: handler}, {PacketConn: packets, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// script is a server that answers as a function says; it counts and keeps what it
// was asked.
type script struct {
	addr    netip.AddrPort
	mu      sync.Mutex
	queries []seen
}

type seen struct {
	network string
	msg     *dns.Msg
}

// newScript starts a server. answer gets a reply that is ready to be filled, with
// the bits RA and AD set; nil from it means silence.
func newScript(t *testing.T, answer func(network string, query, reply *dns.Msg) *dns.Msg) *script {
	t.Helper()
	s := &script{}
	s.addr = serve(t, func(w dns.ResponseWriter, query *dns.Msg) {
		network := w.LocalAddr().Network()
		s.mu.Lock()
		s.queries = append(s.queries, seen{network, query})
		s.mu.Unlock()
		reply := new(dns.Msg).SetReply(query)
		reply.RecursionAvailable, reply.AuthenticatedData = true, true
		if reply = answer(network, query, reply); reply != nil {
			_ = w.WriteMsg(reply)
		}
	})
	return s
}

func (s *script) seen() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

func client(t *testing.T, servers ...netip.AddrPort) *dnsclient.Client {
	t.Helper()
	c, err := dnsclient.New(&dnsclient.Options{Servers: servers, Timeout: 150 * time.Millisecond, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func record(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// wantReason asks for TXT of name.example.
func wantReason(t *testing.T, c *dnsclient.Client, reason dane.Reason) *dane.LookupError {
	t.Helper()
	got, err := c.LookupTXT(t.Context(), "name.example")
	var fault *dane.LookupError
	if !errors.As(err, &fault) || fault.Reason != reason || fault.Name != "name.example" || fault.Type != "TXT" || got != nil {
		t.Errorf("%+v, %v; want the reason %v", got, err, reason)
		return &dane.LookupError{}
	}
	return fault
}

func TestQuery(t *testing.T) {
	s := newScript(t, func(_ string, _, reply *dns.Msg) *dns.Msg {
		reply.Answer = append(reply.Answer, record(t, `name.example. 60 IN TXT "yes"`),
			record(t, `other.example. 60 IN TXT "no"`), record(t, `name.example. 60 CH TXT "no"`), record(t, "name.example. 60 IN A 192.0.2.1"))
		return reply
	})
	c := client(t, s.addr)
	const rounds = 12
	for range rounds {
		got, err := c.LookupTXT(t.Context(), "Name.Example")
		if err != nil || !slices.Equal(got.Records, []string{"yes"}) || !got.Secure || got.Name != "name.example" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	names, ids := map[string]bool{}, map[uint16]bool{}
	for _, q := range s.seen() {
		m := q.msg
		opt := m.IsEdns0()
		if q.network != "udp" || !m.RecursionDesired || !m.AuthenticatedData || m.CheckingDisabled || opt == nil || !opt.Do() || opt.UDPSize() != 1232 {
			t.Errorf("over %s: %v", q.network, m)
		}
		names[m.Question[0].Name], ids[m.Id] = true, true
	}
	// All of them are the same once in 2^44.
	if len(s.seen()) != rounds || len(names) < 2 || len(ids) < 2 {
		t.Errorf("%d queries, with %d spellings and %d identifiers", len(s.seen()), len(names), len(ids))
	}
}

func TestAuthenticatedData(t *testing.T) {
	s := newScript(t, func(_ string, _, reply *dns.Msg) *dns.Msg {
		reply.AuthenticatedData = false
		reply.Answer = append(reply.Answer, record(t, `name.example. 60 IN TXT "yes"`))
		return reply
	})
	got, err := client(t, s.addr).LookupTXT(t.Context(), "name.example")
	if err != nil || got.Secure || len(got.Records) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func extended(reply *dns.Msg, codes ...uint16) *dns.Msg {
	reply.Rcode = dns.RcodeServerFailure
	reply.SetEdns0(1232, true)
	for _, code := range codes {
		reply.IsEdns0().Option = append(reply.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: strings.Repeat("x\n", 200)})
	}
	return reply
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name    string
		answer  func(query, reply *dns.Msg) *dns.Msg
		reason  dane.Reason
		queries int
		code    int // of a ResponseError
		extra   int
	}{
		{"servfail", func(_, r *dns.Msg) *dns.Msg { r.Rcode = dns.RcodeServerFailure; return r }, dane.ServFail, 2, dns.RcodeServerFailure, 0},
		{"bogus", func(q, r *dns.Msg) *dns.Msg {
			if !q.CheckingDisabled {
				r.Rcode = dns.RcodeServerFailure
			}
			return r
		}, dane.Bogus, 2, dns.RcodeServerFailure, 0},
		{"extended bogus", func(_, r *dns.Msg) *dns.Msg { return extended(r, 22, 9) }, dane.Bogus, 1, dns.RcodeServerFailure, 2},
		{"extended otherwise", func(_, r *dns.Msg) *dns.Msg { return extended(r, 22) }, dane.ServFail, 1, dns.RcodeServerFailure, 1},
		{"extended at length", func(_, r *dns.Msg) *dns.Msg { return extended(r, make([]uint16, 9)...) }, dane.ServFail, 2, dns.RcodeServerFailure, 8},
		{"refused", func(_, r *dns.Msg) *dns.Msg { r.Rcode = dns.RcodeRefused; return r }, dane.Refused, 1, dns.RcodeRefused, 0},
		{"no question", func(_, r *dns.Msg) *dns.Msg { r.Rcode, r.Question = dns.RcodeFormatError, nil; return r }, dane.OtherCode, 1, dns.RcodeFormatError, 0},
		{"no resolver", func(_, r *dns.Msg) *dns.Msg { r.RecursionAvailable = false; return r }, dane.Refused, 1, 0, 0},
		{"silence", func(_, _ *dns.Msg) *dns.Msg { return nil }, dane.Timeout, 1, 0, 0},
		{"other identifier", func(_, r *dns.Msg) *dns.Msg { r.Id++; return r }, dane.Malformed, 1, 0, 0},
		{"other name", func(_, r *dns.Msg) *dns.Msg { r.Question[0].Name = "forged.example."; return r }, dane.Malformed, 1, 0, 0},
		{"other type", func(_, r *dns.Msg) *dns.Msg { r.Question[0].Qtype = dns.TypeA; return r }, dane.Malformed, 1, 0, 0},
		{"other class", func(_, r *dns.Msg) *dns.Msg { r.Question[0].Qclass = dns.ClassCHAOS; return r }, dane.Malformed, 1, 0, 0},
		{"a query", func(_, r *dns.Msg) *dns.Msg { r.Response = false; return r }, dane.Malformed, 1, 0, 0},
		{"another opcode", func(_, r *dns.Msg) *dns.Msg { r.Opcode = dns.OpcodeNotify; return r }, dane.Malformed, 1, 0, 0},
		{"no name with records", func(_, r *dns.Msg) *dns.Msg {
			r.Rcode, r.Answer = dns.RcodeNameError, []dns.RR{record(t, "name.example. 60 IN TXT x")}
			return r
		}, dane.Malformed, 1, 0, 0},
		{"two aliases", func(_, r *dns.Msg) *dns.Msg {
			r.Answer = []dns.RR{record(t, "name.example. 60 IN CNAME a.example."), record(t, "name.example. 60 IN CNAME b.example.")}
			return r
		}, dane.Malformed, 1, 0, 0},
		{"truncated for ever", func(_, r *dns.Msg) *dns.Msg { r.Truncated = true; return r }, dane.Malformed, 2, 0, 0},
		{"own alias", func(_, r *dns.Msg) *dns.Msg {
			r.Answer = []dns.RR{record(t, "name.example. 60 IN CNAME name.example.")}
			return r
		}, dane.TooMany, 1, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, func(_ string, q, r *dns.Msg) *dns.Msg { return test.answer(q, r) })
			fault := wantReason(t, client(t, s.addr), test.reason)
			var response *dnsclient.ResponseError
			if errors.As(fault, &response) != (test.code != 0) {
				t.Fatalf("%v", fault)
			}
			if test.code != 0 && (response.Code != test.code || response.Server != s.addr || len(response.Extra) != test.extra) {
				t.Errorf("%+v", response)
			}
			if strings.ContainsAny(fault.Error(), "\n\r") || len(fault.Error()) > 8*1000 {
				t.Errorf("text of a server gets through: %q", fault.Error())
			}
			if n := len(s.seen()); n != test.queries {
				t.Errorf("%d queries, want %d", n, test.queries)
			}
		})
	}
}

// TestStrays sends packets that are no answers before the answer.
func TestStrays(t *testing.T) {
	addr := serve(t, func(w dns.ResponseWriter, query *dns.Msg) {
		forge := func(change func(*dns.Msg)) {
			m := new(dns.Msg).SetReply(query)
			m.RecursionAvailable = true
			m.Answer = []dns.RR{record(t, `name.example. 60 IN TXT "forged"`)}
			change(m)
			_ = w.WriteMsg(m)
		}
		forge(func(m *dns.Msg) { m.Id ^= 1 })
		forge(func(m *dns.Msg) { m.Question[0].Name = "x.example." })
		_, _ = w.Write([]byte("garbage"))
		_, _ = w.Write(nil)
		forge(func(m *dns.Msg) { m.Answer[0].(*dns.TXT).Txt = []string{"genuine"} })
	})
	got, err := client(t, addr).LookupTXT(t.Context(), "name.example")
	if err != nil || !slices.Equal(got.Records, []string{"genuine"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCase has a server that does not keep the case of letters.
func TestCase(t *testing.T) {
	s := newScript(t, func(network string, _, r *dns.Msg) *dns.Msg {
		r.Question[0].Name = "name.example."
		r.Answer = []dns.RR{record(t, "name.example. 60 IN TXT "+network)}
		return r
	})
	// The letters are mixed, but for once in 2^11.
	got, err := client(t, s.addr).LookupTXT(t.Context(), "name.example")
	if err != nil || len(got.Records) != 1 || got.Records[0] == "udp" && s.seen()[0].msg.Question[0].Name != "name.example." {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTruncated(t *testing.T) {
	s := newScript(t, func(network string, _, r *dns.Msg) *dns.Msg {
		r.Truncated = network == "udp"
		r.Answer = []dns.RR{record(t, "name.example. 60 IN TXT "+network)}
		return r
	})
	got, err := client(t, s.addr).LookupTXT(t.Context(), "name.example")
	if err != nil || !slices.Equal(got.Records, []string{"tcp"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUnfollowed has a resolver that leaves it to the client to follow aliases.
func TestUnfollowed(t *testing.T) {
	for _, test := range []struct {
		steps        int
		first, last  bool // the AD bits
		secure, many bool
	}{{3, true, true, true, false}, {3, false, true, false, false}, {3, true, false, false, false}, {10, true, true, true, false}, {11, true, true, false, true}} {
		s := newScript(t, func(_ string, q, r *dns.Msg) *dns.Msg {
			label, _, _ := strings.Cut(q.Question[0].Name, ".")
			step, _ := strconv.Atoi(label)
			name := fmt.Sprintf("%d.example.", step)
			switch step {
			case test.steps:
				r.Answer, r.AuthenticatedData = []dns.RR{record(t, name+" 60 IN TXT end")}, test.last
			case 0:
				r.AuthenticatedData = test.first
				fallthrough
			default:
				r.Answer = []dns.RR{record(t, fmt.Sprintf("%s 60 IN CNAME %d.example.", name, step+1))}
			}
			return r
		})
		got, err := client(t, s.addr).LookupTXT(t.Context(), "0.example")
		var fault *dane.LookupError
		if test.many {
			if !errors.As(err, &fault) || fault.Reason != dane.TooMany || !errors.Is(err, dnsclient.ErrAliases) {
				t.Errorf("%+v: %+v, %v", test, got, err)
			}
			continue
		}
		if err != nil || len(got.Records) != 1 || got.Secure != test.secure || got.Name != fmt.Sprintf("%d.example", test.steps) {
			t.Errorf("%+v: %+v, %v", test, got, err)
		}
	}
}

func TestServers(t *testing.T) {
	good := newScript(t, func(_ string, _, r *dns.Msg) *dns.Msg {
		r.Answer = []dns.RR{record(t, "name.example. 60 IN TXT good")}
		return r
	})
	bogus := newScript(t, func(_ string, _, r *dns.Msg) *dns.Msg { return extended(r, 6) })
	silent := newScript(t, func(_ string, _, _ *dns.Msg) *dns.Msg { return nil })
	down := newScript(t, nil).addr
	down = netip.AddrPortFrom(netip.MustParseAddr("127.255.255.254"), down.Port())

	wantReason(t, client(t, down), dane.Network)
	wantReason(t, client(t, silent.addr), dane.Timeout)
	for _, first := range []netip.AddrPort{down, silent.addr} {
		got, err := client(t, first, good.addr).LookupTXT(t.Context(), "name.example")
		if err != nil || len(got.Records) != 1 {
			t.Errorf("the second server: %+v, %v", got, err)
		}
	}
	before := len(good.seen())
	wantReason(t, client(t, bogus.addr, good.addr), dane.Bogus)
	// A server that is not trusted is not asked beside one that is.
	c, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), silent.addr},
		Timeout: 50 * time.Millisecond, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != silent.addr.String() {
				address = good.addr.String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, c, dane.Timeout)
	if len(good.seen()) != before {
		t.Error("another server was asked after the failure of validation")
	}
	if n := len(silent.seen()); n < 4 { // twice above, and two attempts
		t.Errorf("%d queries", n)
	}
}

func TestContext(t *testing.T) {
	silent := newScript(t, func(_ string, _, _ *dns.Msg) *dns.Msg { return nil })
	c, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{silent.addr}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		reason dane.Reason
		cause  error
		make   func() (context.Context, context.CancelFunc)
	}{
		{dane.Canceled, context.Canceled, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, cancel)
			return ctx, cancel
		}},
		{dane.Timeout, context.DeadlineExceeded, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 30*time.Millisecond)
		}},
	} {
		ctx, cancel := test.make()
		start := time.Now()
		_, err = c.LookupTXT(ctx, "name.example")
		cancel()
		var fault *dane.LookupError
		if !errors.As(err, &fault) || fault.Reason != test.reason || time.Since(start) > 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if !errors.Is(ctx.Err(), test.cause) {
			t.Errorf("the context ended with %v", ctx.Err())
		}
	}
}
