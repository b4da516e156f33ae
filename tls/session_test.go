package tls

import (
	"bytes"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
)

// pair brings both ends of a connection to TLS.
func pair(t *testing.T, server *Server, cfg *ClientConfig) (client, accepted *Session) {
	t.Helper()
	c, s := tcpPair(t)
	type result struct {
		session *Session
		err     error
	}
	done := make(chan result, 1)
	go func() {
		session, err := server.Handshake(t.Context(), s)
		if err == nil {
			_, err = io.WriteString(session.Conn, "x") // after which the ticket has come
		}
		done <- result{session, err}
	}()
	client, err := Client(t.Context(), c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(client.Conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return client, r.session
}

func newServer(t *testing.T, cfg *ServerConfig) *Server {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestChannelBinding has both sides find the same data, and different data on
// every connection; resumed ones included.
func TestChannelBinding(t *testing.T) {
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		cfg := startTLS(t, IMAP)
		cfg.TLS.MaxVersion = version
		cfg.TLS.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
		serverCfg := guests[2].config(t)
		cfg.Figures, serverCfg.Figures = new(Figures), new(Figures)
		server := newServer(t, serverCfg)
		seen := make(map[string]bool)
		for i := range 3 {
			c, s := pair(t, server, cfg)
			if c.State().DidResume != (i > 0) {
				t.Errorf("%x, %d: resumed %v", version, i, c.State().DidResume)
			}
			a, err := c.ChannelBinding(TLSExporter)
			b, err2 := s.ChannelBinding(TLSExporter)
			if err != nil || err2 != nil || !bytes.Equal(a, b) || len(a) != 32 || seen[string(a)] {
				t.Errorf("exporter: %x, %v; %x, %v", a, err, b, err2)
			}
			seen[string(a)] = true
			a, err = c.ChannelBinding(TLSServerEndPoint)
			b, err2 = s.ChannelBinding(TLSServerEndPoint)
			if err != nil || err2 != nil || !bytes.Equal(a, b) || len(a) != 32 {
				t.Errorf("end point: %x, %v; %x, %v", a, err, b, err2)
			}
			_, err = c.ChannelBinding(TLSUnique)
			if !errors.Is(err, ErrNoBindingType) {
				t.Errorf("got %v", err)
			}
			_, _ = c.Close(), s.Close()
		}
		for _, f := range []*Figures{cfg.Figures, serverCfg.Figures} {
			if f.Full() != 1 || f.Resumed() != 2 || f.Failed() != 0 {
				t.Errorf("%x: %d full, %d resumed, %d failed", version, f.Full(), f.Resumed(), f.Failed())
			}
		}
	}
}

// TestChannelBindingServer has a server with several certificates, which does not
// take the client's certificate for its own.
func TestChannelBindingServer(t *testing.T) {
	w := world(t)
	cfg := guests[2].config(t)
	cfg.TLS.Certificates = nil
	cfg.TLS.GetCertificate = func(*cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) { return &w.server, nil }
	cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = cryptotls.RequireAndVerifyClientCert, w.roots
	server := newServer(t, cfg)
	client := startTLS(t, IMAP)
	client.TLS.Certificates = []cryptotls.Certificate{w.client}
	client.TLS.ClientSessionCache = cryptotls.NewLRUClientSessionCache(4)
	want, err := ServerEndPoint(w.server.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		c, s := pair(t, server, client)
		got, bindErr := s.ChannelBinding(TLSServerEndPoint)
		if i == 0 && !bytes.Equal(got, want) || i == 1 && !errors.Is(bindErr, ErrUnbindable) {
			t.Errorf("%d: %x, %v", i, got, bindErr)
		}
		if len(s.State().PeerCertificates) != 1 || s.State().DidResume != (i == 1) {
			t.Errorf("%d: %+v", i, s.State())
		}
		_, _ = c.Close(), s.Close()
	}
}

// TestServerEndPoint goes through the kinds of signatures.
func TestServerEndPoint(t *testing.T) {
	for _, c := range []struct {
		alg  x509.SignatureAlgorithm
		size int
	}{
		{x509.SHA1WithRSA, 32}, {x509.MD5WithRSA, 32}, {x509.SHA256WithRSA, 32}, {x509.ECDSAWithSHA384, 48}, {x509.SHA512WithRSAPSS, 64},
		{x509.PureEd25519, 0}, {x509.UnknownSignatureAlgorithm, 0},
	} {
		got, err := ServerEndPoint(&x509.Certificate{SignatureAlgorithm: c.alg, Raw: []byte("x")})
		if len(got) != c.size || (c.size == 0) != errors.Is(err, ErrUnbindable) {
			t.Errorf("%v: %x, %v", c.alg, got, err)
		}
	}
	ca, err := testpki.NewCAWithKey("Ed25519", testpki.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = ServerEndPoint(ca.Cert); !errors.Is(err, ErrUnbindable) {
		t.Errorf("got %v", err)
	}
	var none cryptotls.ConnectionState
	for _, kind := range []BindingType{TLSExporter, TLSServerEndPoint} {
		if _, err = ChannelBinding(&none, kind); !errors.Is(err, ErrNoTLS) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestExporterOld refuses to bind to TLS 1.1.
func TestExporterOld(t *testing.T) {
	server := &ServerConfig{Protocol: POP3, TLS: world(t).serverTLS()}
	Old.Apply(server.TLS)
	client := &ClientConfig{Protocol: POP3, TLS: world(t).clientTLS()}
	Old.Apply(client.TLS)
	client.TLS.MaxVersion = cryptotls.VersionTLS11
	c, s := pair(t, newServer(t, server), client)
	defer func() { _, _ = c.Close(), s.Close() }()
	if _, err := c.ChannelBinding(TLSExporter); !errors.Is(err, ErrUnbindable) {
		t.Errorf("got %v", err)
	}
	d := Describe(new(c.State()))
	if d.Version != "TLS 1.1" || len(d.Warnings) < 2 {
		t.Errorf("%+v", d)
	}
}

// TestProfiles crosses the profiles of both sides.
func TestProfiles(t *testing.T) {
	for _, a := range Profiles() {
		for _, b := range Profiles() {
			server := &ServerConfig{Protocol: POP3, TLS: world(t).serverTLS()}
			a.Apply(server.TLS)
			client := &ClientConfig{Protocol: POP3, TLS: world(t).clientTLS()}
			b.Apply(client.TLS)
			c, s := pair(t, newServer(t, server), client)
			if st := c.State(); st.Version != cryptotls.VersionTLS13 || st.CurveID != cryptotls.X25519MLKEM768 {
				t.Errorf("%s and %s: %x, %v", a, b, st.Version, st.CurveID)
			}
			_, _ = c.Close(), s.Close()
		}
		if p, err := ParseProfile(string(a)); p != a || err != nil {
			t.Errorf("%v, %v", p, err)
		}
	}
	for p, floor := range map[Profile]uint16{Modern: cryptotls.VersionTLS13, Intermediate: cryptotls.VersionTLS12, Old: cryptotls.VersionTLS10, "": cryptotls.VersionTLS12} {
		if got := p.Config().MinVersion; got != floor {
			t.Errorf("%s: %x", p, got)
		}
	}
	if _, err := ParseProfile("ancient"); err == nil {
		t.Error("a profile that is none")
	}
	c := Intermediate.Config()
	c.CipherSuites[0], c.CurvePreferences[0] = 0, 0
	if d := Intermediate.Config(); d.CipherSuites[0] == 0 || d.CurvePreferences[0] == 0 {
		t.Error("configurations share their lists")
	}
	insecure := make(map[uint16]bool)
	for _, s := range cryptotls.InsecureCipherSuites() {
		insecure[s.ID] = true
	}
	for _, id := range Intermediate.Config().CipherSuites {
		if insecure[id] {
			t.Errorf("%s", cryptotls.CipherSuiteName(id))
		}
	}
}

// TestClientCertificates has a server ask for and require them. In TLS 1.3 the
// refusal comes with the first Read.
func TestClientCertificates(t *testing.T) {
	w := world(t)
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		for _, c := range []struct {
			auth  cryptotls.ClientAuthType
			have  bool
			fails bool
		}{
			{cryptotls.VerifyClientCertIfGiven, false, false}, {cryptotls.VerifyClientCertIfGiven, true, false},
			{cryptotls.RequireAndVerifyClientCert, true, false}, {cryptotls.RequireAndVerifyClientCert, false, true},
		} {
			server := &ServerConfig{Protocol: IMAP, TLS: w.serverTLS(), Timeout: 5 * time.Second}
			server.TLS.ClientAuth, server.TLS.ClientCAs, server.TLS.MaxVersion = c.auth, w.roots, version
			client := &ClientConfig{Protocol: IMAP, TLS: w.clientTLS()}
			if c.have {
				client.TLS.Certificates = []cryptotls.Certificate{w.client}
			}
			if !c.fails {
				a, b := pair(t, newServer(t, server), client)
				if got := len(b.State().PeerCertificates) > 0; got != c.have {
					t.Errorf("%+v: %v", c, got)
				}
				_, _ = a.Close(), b.Close()
				continue
			}
			a, b := tcpPair(t)
			done := make(chan error, 1)
			go func() {
				_, err := newServer(t, server).Handshake(t.Context(), b)
				done <- err
			}()
			s, err := Client(t.Context(), a, client)
			if err == nil {
				_, err = s.Conn.Read(make([]byte, 1))
			}
			if err == nil || !strings.Contains(Advice(err), "demand") {
				t.Errorf("%+v: %v: %q", c, err, Advice(err))
			}
			var handshake *HandshakeError
			if err = <-done; !errors.As(err, &handshake) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}

// TestNames parses what it prints.
func TestNames(t *testing.T) {
	for p := SMTP; p.valid(); p++ {
		text, err := json.Marshal(struct{ P Protocol }{p})
		var back struct{ P Protocol }
		if err != nil || json.Unmarshal(text, &back) != nil || back.P != p {
			t.Errorf("%s: %v", text, err)
		}
	}
	for m := Implicit; m.valid(); m++ {
		text, err := json.Marshal(struct{ M Mode }{m})
		var back struct{ M Mode }
		if err != nil || json.Unmarshal(text, &back) != nil || back.M != m {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, p := range map[string]Protocol{"SIEVE": ManageSieve, "submission": SMTP, "xmpp-client": XMPP, "Imap": IMAP} {
		if got, err := ParseProtocol(name); got != p || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	var config *ConfigError
	_, err := ParseProtocol("http")
	_, err2 := ParseMode("maybe")
	if !errors.As(err, &config) || !errors.As(err2, &config) {
		t.Errorf("%v, %v", err, err2)
	}
	for got, want := range map[string]string{
		Protocol(0).String(): "Protocol(0)", Mode(-1).String(): "Mode(-1)", Next(0).String(): "Next(0)", NextHello.String(): "hello",
		Protocol(0).ALPN(): "",
	} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// TestPrintable keeps what a peer says from doing anything to a terminal.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb\r\n": "a?[2Jb", "\xff\x00": "??", "ü\u0085": "ü?", "\r\n": "",
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := printable(bytes.Repeat([]byte{0xff}, 5000)); len(got) > quote {
		t.Errorf("%d octets", len(got))
	}
}
