package imapproxy

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/peers"
)

// serveTLS starts a proxy with implicit TLS.
func serveTLS(t testing.TB, p *Proxy, config *cryptotls.Config) string {
	t.Helper()
	return serveWith(t, p, "", func(conn net.Conn) (net.Conn, error) {
		over := cryptotls.Server(conn, config)
		return over, over.HandshakeContext(t.Context())
	})
}

// loginTLS logs in to a proxy with implicit TLS.
func loginTLS(t testing.TB, p place, mailbox string) *client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(readFile(t, p.ca)) {
		t.Fatal("no certificate")
	}
	conn, err := cryptotls.Dial("tcp", p.implicit, &cryptotls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	c := clientOn(t, conn)
	c.ok("LOGIN alice secret")
	if mailbox != "" {
		c.ok("SELECT " + mailbox)
	}
	return c
}

// TestCurl reads messages with curl, by both forms of TLS.
func TestCurl(t *testing.T) {
	w := newWorld(t)
	p, dovecot := w.protected(t, facts.NewMemory(), "")
	store(t, dovecot.IMAP, "INBOX", []string{w.encrypt(t, w.sign(t, noteMessage, false), w.alice), noteMessage})
	want := bodies(t, loginTLS(t, p, "INBOX"))
	for _, url := range []string{"imap://" + p.startTLS, "imaps://" + p.implicit} {
		var got []string
		for i := range want {
			out := run(t, "curl", "curl", "-sS", "--ssl-reqd", "--cacert", p.ca, "-u", "alice:secret", fmt.Sprintf("%s/INBOX;MAILINDEX=%d", url, i+1))
			got = append(got, unix(out))
		}
		if got = sorted(got); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s:\n%q\n%q", url, got, want)
		}
		if out := run(t, "curl", "curl", "-sS", "--ssl-reqd", "--cacert", p.ca, "-u", "alice:secret", url+"/INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(X-POSTSEAL-STATUS)"); !strings.Contains(out, "encrypted+signed/verified") {
			t.Errorf("%s: %q", url, out)
		}
		if out := run(t, "curl", "curl", "-sS", "--ssl-reqd", "--cacert", p.ca, "-u", "alice:secret", "-X", "FETCH 1:2 (RFC822.SIZE BODYSTRUCTURE)", url+"/INBOX"); strings.Count(out, "RFC822.SIZE") != 2 || strings.Contains(out, "PKCS7") {
			t.Errorf("%s: %q", url, out)
		}
	}
}

// TestFetchmail gets all messages with fetchmail, by both forms of TLS. It says so
// when a message has not the size that it was told.
func TestFetchmail(t *testing.T) {
	w := newWorld(t)
	p, dovecot := w.protected(t, facts.NewMemory(), "")
	messages := w.mixed(t, 16)
	store(t, dovecot.IMAP, "INBOX", messages)
	for name, options := range map[string]string{p.startTLS: "sslproto TLS1.2+", p.implicit: "ssl"} {
		_, port := split(t, name)
		box := filepath.Join(t.TempDir(), "box")
		config := write(t, fmt.Sprintf("poll localhost service %s protocol IMAP username alice password secret %s sslcertck sslcertfile %s keep fetchall mda \"cat >> %s\"\n", port, options, p.ca, box))
		out := run(t, "fetchmail", "fetchmail", "-v", "--nosyslog", "--nodetach", "-f", config, "--pidfile", filepath.Join(t.TempDir(), "pid"))
		if n := strings.Count(out, "fetchmail: reading message"); n < len(messages) && strings.Count(out, "reading message alice@") < len(messages) {
			t.Errorf("%d messages were read:\n%s", n, out)
		}
		if strings.Contains(out, "not the expected length") {
			t.Errorf("sizes are wrong:\n%s", out)
		}
		if text := string(readFile(t, box)); strings.Count(text, "X-Number: ") < len(messages)/2 || !strings.Contains(text, "X-Postseal-Status: encrypted+signed/verified") {
			t.Errorf("%s", text)
		}
	}
}

// TestNeomutt reads a message in a terminal.
func TestNeomutt(t *testing.T) {
	neomutt, tmux := peers.NeedProgram(t, "neomutt", "neomutt"), peers.NeedProgram(t, "tmux", "tmux")
	w := newWorld(t)
	p, dovecot := w.protected(t, facts.NewMemory(), "")
	store(t, dovecot.IMAP, "INBOX", []string{w.encrypt(t, w.sign(t, strings.Replace(noteMessage, "at noon", "we meet at noon", 1), false), w.alice)})
	dir := t.TempDir()
	_, port := split(t, p.startTLS)
	config := write(t, fmt.Sprintf("set folder=imap://alice@localhost:%[1]s/\nset spoolfile=imap://alice@localhost:%[1]s/INBOX\nset imap_user=alice\nset imap_pass=secret\nset ssl_force_tls=yes\nset certificate_file=%[2]s\n"+
		"set ssl_ca_certificates_file=%[2]s\nset ssl_verify_host=yes\nset header_cache=\nset sort=date\nset crypt_use_gpgme=no\nignore *\nunignore from subject x-postseal\nset wait_key=no\nset quit=yes\nset mail_check=1\n", port, p.ca))
	socket := filepath.Join(dir, "tmux")
	inTmux := func(args ...string) string {
		cmd := exec.Command(tmux, append([]string{"-S", socket, "-f", os.DevNull}, args...)...)
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("tmux %q: %v %s", args, err, out)
		}
		return string(out)
	}
	inTmux("new-session", "-d", "-x", "120", "-y", "40", neomutt+" -n -F "+config)
	t.Cleanup(func() { inTmux("kill-server") })
	wait := func(text string) {
		t.Helper()
		var screen string
		for range 200 {
			if screen = inTmux("capture-pane", "-p"); strings.Contains(screen, text) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%q is not on the screen:\n%s", text, screen)
	}
	wait("Lunch")
	inTmux("send-keys", "Enter")
	wait("we meet at noon")
	wait("X-Postseal-Status: encrypted+signed/verified")
	// A message that is deleted there is gone.
	inTmux("send-keys", "d")
	inTmux("send-keys", "$")
	wait("delet")
	inTmux("send-keys", "y")
	direct := login(t, dovecot.IMAP, "")
	for range 200 {
		if lines := direct.ok("STATUS INBOX (MESSAGES)"); strings.Contains(strings.Join(lines, ""), "MESSAGES 0") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("it is still there:\n%s", inTmux("capture-pane", "-p"))
}
