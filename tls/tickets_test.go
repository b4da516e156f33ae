package tls

import (
	"bytes"
	cryptotls "crypto/tls"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// ticketServer returns a configuration with tickets from secrets of one octet
// each, again and again.
func ticketServer(t *testing.T, opts *TicketOptions, secrets string) (*cryptotls.Config, *Tickets) {
	t.Helper()
	tickets, err := NewTickets(secretsOf(secrets), opts)
	if err != nil {
		t.Fatal(err)
	}
	cfg := world(t).serverTLS()
	tickets.Apply(cfg)
	return cfg, tickets
}

func secretsOf(letters string) [][]byte {
	var out [][]byte
	for _, letter := range []byte(letters) {
		out = append(out, bytes.Repeat([]byte{letter}, minSecret))
	}
	return out
}

// opens reports whether one server opens what another has made.
func opens(t *testing.T, maker, opener *cryptotls.Config) bool {
	t.Helper()
	ticket, err := maker.WrapSession(cryptotls.ConnectionState{}, aSession(t))
	if err != nil {
		t.Fatal(err)
	}
	session, err := opener.UnwrapSession(ticket, cryptotls.ConnectionState{})
	if err != nil {
		t.Fatal(err)
	}
	return session != nil
}

// aSession returns the state of a session that was made.
func aSession(t *testing.T) *cryptotls.SessionState {
	t.Helper()
	if theSession == nil {
		cfg := world(t).serverTLS()
		cfg.MaxVersion = cryptotls.VersionTLS12
		cfg.WrapSession = func(state cryptotls.ConnectionState, session *cryptotls.SessionState) ([]byte, error) {
			theSession = session
			return cfg.EncryptTicket(state, session)
		}
		client := world(t).clientTLS()
		client.ClientSessionCache = cryptotls.NewLRUClientSessionCache(1)
		c, s := pair(t, newServer(t, &ServerConfig{Protocol: IMAP, TLS: cfg}), &ClientConfig{Protocol: IMAP, TLS: client})
		_, _ = c.Close(), s.Close()
	}
	return theSession
}

var theSession *cryptotls.SessionState

// TestTicketsRotate follows the keys of two servers over time.
func TestTicketsRotate(t *testing.T) {
	aSession(t)
	synctest.Test(t, func(t *testing.T) {
		a, _ := ticketServer(t, nil, "s")
		b, bTickets := ticketServer(t, nil, "s")
		labelled, _ := ticketServer(t, &TicketOptions{Label: "another"}, "s")
		other, _ := ticketServer(t, nil, "o")
		if !opens(t, a, b) || opens(t, a, labelled) || opens(t, a, other) {
			t.Error("who opens whose tickets is wrong")
		}
		ticket, err := a.WrapSession(cryptotls.ConnectionState{}, aSession(t))
		if err != nil {
			t.Fatal(err)
		}
		old := bTickets.keys
		valid := func() bool {
			session, unwrapErr := b.UnwrapSession(ticket, cryptotls.ConnectionState{})
			if unwrapErr != nil {
				t.Fatal(unwrapErr)
			}
			return session != nil
		}
		time.Sleep(DefaultTicketLifetime)
		if !valid() || bTickets.keys == old {
			t.Error("a ticket ended before its time, or its key is still the current one")
		}
		time.Sleep(DefaultTicketPeriod)
		if valid() {
			t.Error("a ticket outlives its time by a period")
		}
		// A clock that is ahead makes tickets that others open.
		ahead, err := NewTickets(secretsOf("s"), nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ahead.derive(ahead.secrets[0], time.Now().Unix()/ahead.period+1)
		if err != nil {
			t.Fatal(err)
		}
		early := world(t).serverTLS()
		early.SetSessionTicketKeys([][32]byte{key})
		early.WrapSession = early.EncryptTicket
		if !opens(t, early, b) {
			t.Error("a ticket of the next period is refused")
		}
		// Secrets change one server after the other.
		if err = bTickets.SetSecrets(secretsOf("ns")); err != nil {
			t.Fatal(err)
		}
		if !opens(t, a, b) || opens(t, b, a) {
			t.Error("after a new secret, who opens whose tickets is wrong")
		}
	})
}

// TestTicketsResume has sessions go from one server to the other and back, with
// certificates of the client and the binding to the server's.
func TestTicketsResume(t *testing.T) {
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		var servers []*Server
		for range 2 {
			cfg, _ := ticketServer(t, nil, "s")
			cfg.MaxVersion = version
			cfg.ClientAuth, cfg.ClientCAs = cryptotls.RequireAndVerifyClientCert, world(t).roots
			servers = append(servers, newServer(t, &ServerConfig{Protocol: IMAP, TLS: cfg}))
		}
		client := &ClientConfig{Protocol: IMAP, TLS: world(t).clientTLS()}
		client.TLS.ClientSessionCache = cryptotls.NewLRUClientSessionCache(2)
		client.TLS.Certificates = []cryptotls.Certificate{world(t).client}
		for i := range 4 {
			c, s := pair(t, servers[i%2], client)
			if s.State().DidResume != (i > 0) || len(s.State().PeerCertificates) != 1 {
				t.Errorf("%x, %d: resumed %v", version, i, s.State().DidResume)
			}
			if _, err := s.ChannelBinding(TLSServerEndPoint); err != nil {
				t.Errorf("%x, %d: %v", version, i, err)
			}
			_, _ = c.Close(), s.Close()
		}
	}
}

// TestTicketsErrors finds the caller's mistakes.
func TestTicketsErrors(t *testing.T) {
	good := secretsOf("s")
	for name, c := range map[string]struct {
		secrets [][]byte
		opts    TicketOptions
	}{
		"none": {}, "short": {secrets: [][]byte{make([]byte, minSecret-1)}}, "many": {secrets: secretsOf("123456789")},
		"short period": {good, TicketOptions{Period: time.Second}}, "long life": {good, TicketOptions{Lifetime: 8 * 24 * time.Hour}},
		"negative": {good, TicketOptions{Lifetime: -1}}, "many keys": {good, TicketOptions{Period: time.Minute}},
	} {
		var config *ConfigError
		if _, err := NewTickets(c.secrets, &c.opts); !errors.As(err, &config) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkHandshake compares full and resumed handshakes, both sides in this
// process, on loopback.
func BenchmarkHandshake(b *testing.B) {
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		for _, how := range []string{"full", "resumed", "resumed, shared keys"} {
			b.Run(cryptotls.VersionName(version)+"/"+how, func(b *testing.B) { benchmarkHandshake(b, version, how) })
		}
	}
}

func benchmarkHandshake(b *testing.B, version uint16, how string) {
	server, client := world(b).serverTLS(), world(b).clientTLS()
	server.MaxVersion = version
	if how != "full" {
		client.ClientSessionCache = cryptotls.NewLRUClientSessionCache(1)
	}
	if how == "resumed, shared keys" {
		tickets, err := NewTickets(secretsOf("s"), nil)
		if err != nil {
			b.Fatal(err)
		}
		tickets.Apply(server)
	}
	shake := func() bool {
		c, s := tcpPair(b)
		done := make(chan error, 1)
		go func() {
			t := cryptotls.Server(s, server)
			_, err := t.Write([]byte("x"))
			done <- err
		}()
		t := cryptotls.Client(c, client)
		_, err := t.Read(make([]byte, 1))
		if serverErr := <-done; err != nil || serverErr != nil {
			b.Fatal(err, serverErr)
		}
		_, _ = c.Close(), s.Close()
		return t.ConnectionState().DidResume
	}
	shake()
	for b.Loop() {
		if shake() != (how != "full") {
			b.Fatal("the wrong kind of handshake")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
}
