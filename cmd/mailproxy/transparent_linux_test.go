package main

import (
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/mailtest"
)

// inNamespace makes the test program one that is in a network namespace of its
// own, where a mail server is at 192.0.2.1 and a client at 192.0.2.77, whose
// connections are led to the proxy: those to port 143 by REDIRECT, to 144 by TPROXY.
// To 145 goes everybody's, the proxy's own too.
const inNamespace = "MAILPROXY_TEST_NAMESPACE"

const namespace = `
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip addr add 192.0.2.77/32 dev lo
nft -f - <<'END'
table ip t {
	chain outgoing {
		type nat hook output priority -100;
		ip saddr 192.0.2.77 ip daddr 192.0.2.1 tcp dport 143 redirect to :1143
		ip daddr 192.0.2.1 tcp dport 145 redirect to :1143
	}
	chain marking {
		type route hook output priority mangle;
		ip saddr 192.0.2.77 tcp dport 144 meta mark set 1
	}
	chain leading {
		type filter hook prerouting priority mangle;
		ip saddr 192.0.2.77 tcp dport 144 tproxy to 127.0.0.1:1144 meta mark set 1 accept
	}
}
END
ip rule add fwmark 1 lookup 100
ip route add local 0.0.0.0/0 dev lo table 100
`

// TestTransparent runs itself in a namespace.
func TestTransparent(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		inside(t)
		return
	}
	for _, program := range []string{"unshare", "nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed", program)
			}
			t.Skipf("%s is not installed", program)
		}
	}
	if out, err := exec.Command("unshare", "--net", "sh", "-ec", namespace).CombinedOutput(); err != nil {
		t.Skipf("no network namespace with rules can be made here: %s", out)
	}
	cmd := exec.Command("unshare", "--net", "sh", "-ec", namespace+`exec "$0" -test.run '^TestTransparent$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestTransparent")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// inside has a client that knows nothing of a proxy.
func inside(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	w.roundTrip(t) // there is a message then
	w.proxy.drain()
	w.proxy = nil
	for _, port := range []string{"143", "144", "145"} {
		forward(t, "192.0.2.1:"+port, w.server.imapAddress.String())
	}
	data, err := os.ReadFile(w.file(demoConfig))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), "[[listener]]")
	_, accounts, _ := strings.Cut(rest, "[[account]]")
	listener := func(kind, address string) string {
		return "[[listener]]\nprotocol = \"imap\"\naddress = \"" + address + "\"\nmode = \"starttls\"\nauthority = \"local.pem\"\ntransparent = \"" + kind +
			"\"\ndestinations = [\"192.0.2.1\"]\nports = [143, 144, 145]\n[listener.upstream]\nca = \"server.pem\"\n\n"
	}
	text := before + listener(config.Redirect, ":1143") + listener(config.TProxy, "127.0.0.1:1144") + "[[account]]" + accounts
	if err = os.WriteFile(w.file(demoConfig), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, w.file(demoConfig))
	p.told("READY=1")
	pool, err := config.Roots(w.file("local.pem"))
	if err != nil {
		t.Fatal(err)
	}
	local := &cryptotls.Config{RootCAs: pool, ServerName: demoServerName}
	for _, port := range []string{"143", "144"} {
		if got := look(t, w, "192.0.2.77", "192.0.2.1:"+port, local); got != "opened" {
			t.Errorf("port %s: %s\n%s", port, got, p.text())
		}
	}
	// From elsewhere the same server is reached directly.
	if got := look(t, w, "127.0.0.1", "192.0.2.1:143", w.upstream); got != "closed" {
		t.Errorf("directly: %s", got)
	}
	// The name is that of the server: the proxy asks for it, too.
	if got := look(t, w, "192.0.2.77", "192.0.2.1:143", &cryptotls.Config{RootCAs: pool, ServerName: "other.example"}); !strings.HasPrefix(got, "no") {
		t.Errorf("another name: %s", got)
	}
	// Whose own connections come back to it, and who is connected to directly, is no
	// relay.
	for _, to := range []string{"192.0.2.1:145", "127.0.0.1:1143", "127.0.0.1:1144"} {
		if got := look(t, w, "127.0.0.1", to, local); !strings.HasPrefix(got, "no") {
			t.Errorf("%s: %s", to, got)
		}
	}
	for _, want := range []string{"192.0.2.1:145", "nobody led this connection here", "127.0.0.1:1143: this is the proxy itself", "127.0.0.1:1144: this is the proxy itself", "not for other.example"} {
		p.said(want)
	}
	p.signal(os.Interrupt)
	if err = p.end(); err != nil {
		t.Error(err)
	}
}

// look says what a client at an address sees of the first message.
func look(t *testing.T, w *world, from, to string, cfg *cryptotls.Config) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return "no connection: " + err.Error()
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: cfg})
	if err != nil {
		_ = conn.Close()
		return "no TLS: " + err.Error()
	}
	defer func() { _ = c.Close() }()
	if err = c.Login(demoBob, w.passwords[demoBob]).Wait(); err != nil {
		return "no login: " + err.Error()
	}
	if _, err = c.Select("INBOX", nil).Wait(); err != nil {
		return "no mailbox: " + err.Error()
	}
	section := &imap.FetchItemBodySection{Peek: true}
	list, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(list) != 1 {
		return "no message"
	}
	if bytes.Contains(list[0].FindBodySection(section), []byte("noon")) {
		return "opened"
	}
	return "closed"
}

// forward leads connections from one address to another.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	mailtest.Answer(l, func(conn net.Conn) {
		up, dialErr := net.Dial("tcp", to)
		if dialErr != nil {
			return
		}
		defer func() { _ = up.Close() }()
		join(conn, up)
	})
}
