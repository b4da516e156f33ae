package smtpproxy

import (
	"context"
	cryptotls "crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/smime"
	"github.com/postseal/postseal/tls"
)

// dialer returns the Connect of a proxy.
func dialer(h *mailtest.Host, addr string, mode tls.Mode) func(context.Context) (net.Conn, bool, error) {
	return func(ctx context.Context) (net.Conn, bool, error) {
		s, err := tls.Dial(ctx, "tcp", addr, &tls.ClientConfig{Protocol: tls.SMTP, Mode: mode, TLS: h.Client, LocalName: "proxy.test"})
		if err != nil {
			return nil, false, err
		}
		return s.Conn, s.Next != tls.NextGreeting, nil
	}
}

// A program sends a message from alice@example.org, with a login or without.
type program struct {
	name, debian string
	// args are those for a server at localhost; the message is in a file, and on
	// the standard input.
	args func(port string, mode tls.Mode, ca, file, login string, to []string) []string
}

var programs = []program{
	{"curl", "curl", func(port string, mode tls.Mode, ca, file, login string, to []string) []string {
		args := []string{"--silent", "--show-error", "--cacert", ca, "--mail-from", "alice@example.org", "--upload-file", file, "--max-time", "30"}
		for _, address := range to {
			args = append(args, "--mail-rcpt", address)
		}
		if login != "" {
			args = append(args, "--user", login+":secret")
		}
		if mode == tls.StartTLS {
			return append(args, "--ssl-reqd", "smtp://localhost:"+port+"/client.test")
		}
		return append(args, "smtps://localhost:"+port+"/client.test")
	}},
	{"swaks", "swaks", func(port string, mode tls.Mode, ca, file, login string, to []string) []string {
		args := []string{"--server", "localhost", "--port", port, "--helo", "client.test", "--from", "alice@example.org", "--to", strings.Join(to, ","), "--data", "@" + file,
			"--tls-verify", "--tls-ca-path", ca, "--timeout", "30"}
		if login != "" {
			args = append(args, "--auth", "LOGIN", "--auth-user", login, "--auth-password", "secret")
		}
		if mode == tls.StartTLS {
			return append(args, "--tls")
		}
		return append(args, "--tls-on-connect")
	}},
	{"msmtp", "msmtp", func(port string, mode tls.Mode, ca, _, login string, to []string) []string {
		starttls := map[bool]string{true: "on", false: "off"}[mode == tls.StartTLS]
		args := []string{"--host=localhost", "--port=" + port, "--tls=on", "--tls-starttls=" + starttls, "--tls-trust-file=" + ca, "--from=alice@example.org", "--timeout=30",
			"--domain=client.test"}
		if login != "" {
			args = append(args, "--auth=plain", "--user="+login, "--passwordeval=echo secret")
		}
		return append(append(args, "--"), to...)
	}},
}

func (p program) run(t testing.TB, addr string, mode tls.Mode, ca, login string, to ...string) error {
	t.Helper()
	path := peers.NeedProgram(t, p.debian, p.name)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "message.eml")
	if err = os.WriteFile(file, []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, p.args(port, mode, ca, file, login, to)...)
	cmd.Stdin = strings.NewReader(note)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C")
	if out, runErr := cmd.CombinedOutput(); runErr != nil {
		return fmt.Errorf("%w: %s", runErr, out)
	}
	return nil
}

// serveMode is serve with STARTTLS or TLS from the start.
func serveMode(t testing.TB, p *Proxy, h *mailtest.Host, mode tls.Mode) string {
	t.Helper()
	if mode == tls.StartTLS {
		p.TLS = h.Server
		return serve(t, p, "")
	}
	return serveOn(t, p, cryptotls.NewListener(mailtest.Listen(t), h.Server))
}

// TestClients has curl, swaks and msmtp in front of the proxy and a Postfix behind
// it, each with STARTTLS and with TLS from the start.
func TestClients(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	h := mailtest.NewHost(t)
	sink := mailtest.NewServer(t, nil)
	postfix := peers.StartPostfixTo(t, h.Cert, h.Key, sink.Addr, "")
	sent := 0
	for _, behind := range []tls.Mode{tls.StartTLS, tls.Implicit} {
		addr := map[tls.Mode]string{tls.StartTLS: postfix.Addr, tls.Implicit: postfix.SMTPS}[behind]
		for _, before := range []tls.Mode{tls.StartTLS, tls.Implicit} {
			p := proxyOf(t, w, mailtest.Everything(t))
			p.Connect = dialer(h, addr, behind)
			at := serveMode(t, p, h, before)
			for _, program := range programs {
				name := fmt.Sprintf("%s, %v, Postfix, %v", program.name, before, behind)
				if err := program.run(t, at, before, h.CA, "", "bob@example.org", "dave@elsewhere.test"); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, postfix.Log())
				}
				sent += 2
				for end := time.Now().Add(20 * time.Second); len(sink.Got()) < sent && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				}
				got := sink.Got()
				if len(got) != sent {
					t.Fatalf("%s: %d messages, want %d\n%s", name, len(got), sent, postfix.Log())
				}
				for _, m := range got[sent-2:] {
					want, who := smime.StatusEncryptedSignedVerified, "bob@example.org"
					if slices.Equal(m.To, []string{"dave@elsewhere.test"}) {
						want, who = smime.StatusSignedVerified, "dave@elsewhere.test"
					}
					opened, err := w.Open(t, m.Data, who)
					if err != nil || opened.Status != want {
						t.Errorf("%s: %s: %v\n%s", name, who, err, m.Data)
					}
				}
			}
		}
	}
	// What the policy refuses is told by their exit codes, and nothing is sent.
	p := proxyOf(t, w, mailtest.Rules(t, requireAll()))
	p.Connect = dialer(h, postfix.Addr, tls.StartTLS)
	at := serveMode(t, p, h, tls.Implicit)
	for _, program := range programs {
		if err := program.run(t, at, tls.Implicit, h.CA, "", "dave@elsewhere.test"); err == nil || !strings.Contains(err.Error(), "550") {
			t.Errorf("%s: %v", program.name, err)
		}
	}
	if got := sink.Got(); len(got) != sent {
		t.Errorf("%d messages, want %d", len(got), sent)
	}
}

// TestClientLogins has the programs log in by PLAIN and LOGIN at the upstream.
func TestClientLogins(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	h := mailtest.NewHost(t)
	up := mailtest.NewServer(t, func(s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = h.Server, false })
	p := proxyOf(t, w, mailtest.Everything(t))
	p.Connect, p.RequireLogin = dialer(h, up.Addr, tls.StartTLS), true
	p.Keys = func(account string) Keys {
		if account == "alice" {
			return w
		}
		return nil
	}
	at := serveMode(t, p, h, tls.StartTLS)
	for _, program := range programs {
		i := len(up.Logins())
		if err := program.run(t, at, tls.StartTLS, h.CA, "alice", "bob@example.org"); err != nil {
			t.Errorf("%s: %v", program.name, err)
			continue
		}
		if logins := up.Logins(); len(logins) != i+1 || logins[i] != "alice" {
			t.Errorf("%s: %v", program.name, logins)
		}
		if m, err := w.Open(t, up.Got()[i].Data, "bob@example.org"); err != nil || m.Status != smime.StatusEncryptedSignedVerified {
			t.Errorf("%s: %v", program.name, err)
		}
		if err := program.run(t, at, tls.StartTLS, h.CA, "", "bob@example.org"); err == nil {
			t.Errorf("%s without a login: it went through", program.name)
		}
	}
}
