package tls

import (
	"bufio"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/peers"
)

// TestGnuTLSALPN has a server for one protocol alone.
func TestGnuTLSALPN(t *testing.T) {
	f := serverFiles(t)
	strict := peers.StartGnuTLSServ(t, f.Cert, f.Key, "--alpn", "imap", "--alpn-fatal")
	s, err := Dial(t.Context(), "tcp", strict.Addr, &ClientConfig{Protocol: IMAP, TLS: world(t).clientTLS(), ALPN: ALPNRequire})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err = Dial(t.Context(), "tcp", strict.Addr, &ClientConfig{Protocol: POP3, TLS: world(t).clientTLS()}); err == nil {
		t.Error("POP3 went to a server for IMAP")
	}
}

// TestSServerReused has "openssl s_server" say itself that a session is resumed, and
// whose certificate it has seen.
func TestSServerReused(t *testing.T) {
	f := serverFiles(t)
	for _, version := range []uint16{cryptotls.VersionTLS12, cryptotls.VersionTLS13} {
		t.Run(cryptotls.VersionName(version), func(t *testing.T) {
			p := peers.StartSServer(t, f.Cert, f.Key, "-alpn", "imap", "-Verify", "1", "-CAfile", f.CA, "-verify_return_error")
			d := &dialled{proto: IMAP, addr: p.Addr}
			tls := d.config(t, version)
			tls.Certificates = []cryptotls.Certificate{world(t).client}
			for i := range 2 {
				s, err := d.dial(t, tls)
				if err != nil {
					t.Fatal(err)
				}
				// It sends what it is told to; reading that takes in the tickets, too.
				_, _ = io.WriteString(p.Stdin, "hello\n")
				if err = hearUntil(bufio.NewReader(s.Conn), "hello\n", ""); err != nil {
					t.Fatal(err)
				}
				if st := s.State(); st.DidResume != (i == 1) || st.NegotiatedProtocol != "imap" {
					t.Errorf("%d: resumed %v, %q", i, st.DidResume, st.NegotiatedProtocol)
				}
				if reused := strings.Contains(p.Log(), "Reused session-id"); i == 0 && reused {
					t.Error("openssl says that the first session is resumed")
				}
				_ = s.Close()
			}
			p.WaitLog(t, "Reused session-id")
			p.WaitLog(t, "Alice")
		})
	}
}

// TestClientProfiles has each profile meet servers that can do one thing alone.
func TestClientProfiles(t *testing.T) {
	f := serverFiles(t)
	const weak = "ALL:@SECLEVEL=0"
	for _, s := range []struct {
		name string
		args []string
		good []Profile // "" is a configuration without one
	}{
		{"TLS 1.3", []string{"-tls1_3"}, []Profile{"", Modern, Intermediate, Old}},
		{"TLS 1.2", []string{"-tls1_2"}, []Profile{"", Intermediate, Old}},
		{"CBC", []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"}, []Profile{"", Old}}, // crypto/tls has it by default
		{"CBC and SHA-256", []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"}, []Profile{Old}},
		{"TLS 1.1", []string{"-tls1_1", "-cipher", weak}, []Profile{Old}},
		{"TLS 1.0", []string{"-tls1", "-cipher", weak}, []Profile{Old}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := peers.StartSServer(t, f.Cert, f.Key, append([]string{"-rev"}, s.args...)...)
			for _, profile := range append([]Profile{""}, Profiles()...) {
				tls := world(t).clientTLS()
				if profile != "" {
					profile.Apply(tls)
				}
				d := &dialled{proto: IMAP, addr: p.Addr, say: "olleh\n", hear: "hello"}
				c, err := d.dial(t, tls)
				if err == nil {
					err = d.speak(c)
					_ = c.Close()
				}
				var handshake *HandshakeError
				if good := slices.Contains(s.good, profile); good != (err == nil) || !good && !errors.As(err, &handshake) {
					t.Errorf("profile %q: %v", profile, err)
				}
			}
		})
	}
}
