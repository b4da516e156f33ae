package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/peers"
)

// chainPassword is everybody's at Dovecot.
const chainPassword = "secret"

// A chain is mailproxy run in front of Postfix and Dovecot.
type chain struct {
	*world
	t       *testing.T
	proxy   *process
	postfix *peers.Postfix
	dovecot *peers.Dovecot
	smtp    [2]string // of the proxy: STARTTLS, implicit TLS
	imap    [2]string // of what leads to the proxy, with the PROXY protocol
	ca      string    // of the proxy
}

func newChain(t *testing.T) *chain {
	t.Helper()
	c := &chain{world: testWorld(t), t: t}
	// Their processes have users of their own.
	dir, err := os.MkdirTemp("", "chain")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	users, cert := filepath.Join(dir, "users"), filepath.Join(dir, "server.pem")
	data, err := os.ReadFile(c.file("server.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{users: []byte("bob:{PLAIN}" + chainPassword + "\n"), cert: data} {
		if err = os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err = os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	auth := peers.FreePort(t)
	c.dovecot = peers.StartDovecot(t, cert, cert, fmt.Sprintf(chainDovecot, users, auth))
	c.postfix = peers.StartPostfix(t, cert, cert, fmt.Sprintf(chainPostfix, auth, c.dovecot.LMTP))
	c.addLMTP()
	c.run()
	return c
}

const chainDovecot = `
auth_username_format = %%Ln
auth_mechanisms = plain login
login_trusted_networks = 127.0.0.0/8
mail_max_userip_connections = 3000
passdb {
  driver = passwd-file
  args = %s
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = %s
  }
}
`

const chainPostfix = `
virtual_mailbox_domains = demo.example
virtual_transport = lmtp:inet:%[2]s
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:%[1]s
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
`

// addLMTP has Postfix deliver.
func (c *chain) addLMTP() {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.postfix.Config, "master.cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err = f.WriteString("lmtp unix - - n - - lmtp\n"); err != nil {
		c.t.Fatal(err)
	}
	if err = f.Close(); err != nil {
		c.t.Fatal(err)
	}
	if out, reloadErr := exec.Command(peers.NeedProgram(c.t, "postfix", "postfix"), "-c", c.postfix.Config, "reload").CombinedOutput(); reloadErr != nil {
		c.t.Fatalf("postfix reload: %v\n%s", reloadErr, out)
	}
}

// run starts the proxy, with both ways to TLS on both sides.
func (c *chain) run() {
	c.t.Helper()
	text := fmt.Sprintf("[server]\nname = %q\n\n[imap]\nfacts = \"facts.db\"\nsent = \"encrypted\"\n\n[trust]\nauthorities = [\"authority.pem\"]\n\n[[rule]]\nsign = \"always\"\nencrypt = \"require\"\n", demoProxyName)
	for _, l := range []struct{ protocol, mode, upstream, tell string }{
		{config.SMTP, "starttls", c.postfix.Addr, "xclient"}, {config.SMTP, "implicit", c.postfix.SMTPS, "xclient"},
		{config.IMAP4, "starttls", c.dovecot.IMAP, "id"}, {config.IMAP4, "implicit", c.dovecot.IMAPS, "id"},
	} {
		_, port, err := net.SplitHostPort(l.upstream)
		if err != nil {
			c.t.Fatal(err)
		}
		text += fmt.Sprintf("\n[[listener]]\nprotocol = %q\naddress = \"127.0.0.1:0\"\nmode = %q\nself_made = \"proxy.pem\"\nproxy_from = [\"127.0.0.1\"]\n\n"+
			"[listener.upstream]\nhost = \"127.0.0.1\"\nport = %s\nmode = %[2]q\nname = %[4]q\nca = \"server.pem\"\nclient_address = %[5]q\n", l.protocol, l.mode, port, demoServerName, l.tell)
	}
	for _, address := range []string{demoAlice, demoBob} {
		text += fmt.Sprintf("\n[[account]]\nlogin = %q\naddresses = [%[1]q]\nstore = %q\npassphrase_file = \"passphrase\"\n", address, address+".store")
	}
	if err := os.WriteFile(c.file(demoConfig), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.proxy = startProcess(c.t, c.file(demoConfig))
	c.proxy.told("READY=1")
	addresses := c.proxy.listening(4)
	c.smtp, c.ca = [2]string(addresses[:2]), c.file("proxy.pem")
	for i, address := range addresses[2:] {
		c.imap[i] = haproxy(c.t, address, "192.0.2.9:4711")
	}
}

// program runs a client, and returns what it prints.
func (c *chain) program(debian, name string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(peers.NeedProgram(c.t, debian, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s\n%s", cmd, err, out, c.proxy.text())
	}
	return string(out)
}

// swaks sends a message from Alice to Bob; client is the address that another proxy
// would tell.
func (c *chain) swaks(server, mode, client, subject string) string {
	c.t.Helper()
	return c.program("swaks", "swaks", "--server", server, mode, "--tls-verify", "--tls-ca-path", c.ca, "--from", demoAlice, "--to", demoBob, "--auth", "PLAIN", "--auth-user", demoAlice,
		"--auth-password", chainPassword, "--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", client, "--proxy-source-port", "4711",
		"--proxy-dest", "198.51.100.1", "--proxy-dest-port", "587", "--header", "Subject: "+subject, "--header", "MIME-Version: 1.0", "--body", "meet at noon\n.\n..two\n")
}

// curl reads from a mailbox.
func (c *chain) curl(scheme, server, ca, path string, more ...string) string {
	c.t.Helper()
	args := append([]string{"-sS", "--ssl-reqd", "--cacert", ca, "--user", demoBob + ":" + chainPassword, scheme + "://" + server + "/" + path}, more...)
	return c.program("curl", "curl", args...)
}

// TestChain sends and reads mail through the proxy with other people's programs.
func TestChain(t *testing.T) {
	c := newChain(t)
	if code, out, errs := run(t, "check", "--config", c.file(demoConfig)); code != exitOK || strings.Count(out, "it lets people log in by PLAIN, LOGIN") != 2 || strings.Count(out, "it speaks IMAP4REV1") != 2 {
		t.Errorf("check: %d\n%s%s", code, out, errs)
	}
	c.swaks(c.smtp[0], "--tls", "192.0.2.7", "one")
	c.swaks(c.smtp[1], "--tls-on-connect", "192.0.2.8", "two")
	for _, client := range []string{"192.0.2.7", "192.0.2.8"} {
		c.postfix.WaitLog(t, "client=unknown["+client+"], sasl_method=PLAIN, sasl_username=alice\n")
	}
	c.arrived(2)
	for i, scheme := range []string{"imap", "imaps"} {
		server, direct := c.imap[i], []string{c.dovecot.IMAP, c.dovecot.IMAPS}[i]
		for n := 1; n <= 2; n++ {
			path := fmt.Sprintf("INBOX;MAILINDEX=%d", n)
			seen := c.curl(scheme, server, c.ca, path)
			for _, want := range []string{"X-Postseal-Status: encrypted+signed/verified\r\n", "X-Postseal-Signer: " + demoAlice + "\r\n", "meet at noon\r\n.\r\n..two\r\n"} {
				if !strings.Contains(seen, want) {
					t.Errorf("%s %d: %q is missing in\n%s", scheme, n, want, seen)
				}
			}
			if held := c.curl(scheme, direct, c.file("server.pem"), path); strings.Contains(held, "noon") || !strings.Contains(held, "pkcs7-mime") || strings.Contains(held, "X-Postseal") {
				t.Errorf("%s %d: Dovecot has\n%s", scheme, n, held)
			}
		}
	}
	c.dovecot.WaitLog(t, "rip=192.0.2.9")
	c.mirror()
	c.keep()
	c.proxy.signal(os.Interrupt)
	if err := c.proxy.end(); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{chainPassword + "\"", "noon", "Subject"} {
		if strings.Contains(c.proxy.text(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// arrived waits until Bob has a number of messages.
func (c *chain) arrived(n int) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out := c.curl("imap", c.dovecot.IMAP, c.file("server.pem"), "", "--request", "STATUS INBOX (MESSAGES)")
		if strings.Contains(out, fmt.Sprintf("MESSAGES %d)", n)) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s\n%s", out, c.postfix.Log())
		}
	}
}

// mirror has mbsync mirror the mailbox twice: the second time there is nothing to
// do.
func (c *chain) mirror() {
	c.t.Helper()
	dir := c.t.TempDir()
	front, port, err := net.SplitHostPort(c.imap[0])
	if err != nil {
		c.t.Fatal(err)
	}
	conf := fmt.Sprintf("IMAPAccount a\nHost %s\nPort %s\nUser %s\nPass %s\nSSLType STARTTLS\nCertificateFile %s\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/\nInbox %[6]s/INBOX\n\n"+
		"Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n", front, port, demoBob, chainPassword, c.ca, filepath.Join(dir, "mail"))
	if err = os.MkdirAll(filepath.Join(dir, "mail"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	name := filepath.Join(dir, "mbsyncrc")
	if err = os.WriteFile(name, []byte(conf), 0o600); err != nil {
		c.t.Fatal(err)
	}
	first := c.program("isync", "mbsync", "-V", "-c", name, "c")
	second := c.program("isync", "mbsync", "-V", "-c", name, "c")
	if strings.Contains(first, "Warning") || strings.Contains(second, "Pulling") || strings.Contains(second, "Warning") {
		c.t.Errorf("mbsync says\n%s\n%s", first, second)
	}
	var files []string
	for _, sub := range []string{"new", "cur"} {
		found, globErr := filepath.Glob(filepath.Join(dir, "mail", "INBOX", sub, "*"))
		if globErr != nil {
			c.t.Fatal(globErr)
		}
		files = append(files, found...)
	}
	opened := 0
	for _, file := range files {
		data, readErr := os.ReadFile(file)
		if readErr != nil {
			c.t.Fatal(readErr)
		}
		if bytes.Contains(data, []byte("meet at noon")) && bytes.Contains(data, []byte("X-Postseal-Status: encrypted+signed/verified")) {
			opened++
		}
	}
	if len(files) != 2 || opened != 2 {
		c.t.Errorf("mbsync has %d messages, %d of them opened\n%s", len(files), opened, first)
	}
}

// keep stores a message in Sent, which is encrypted to oneself.
func (c *chain) keep() {
	c.t.Helper()
	name := filepath.Join(c.t.TempDir(), "sent.eml")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll("From: "+demoBob+"\nTo: "+demoAlice+"\nSubject: sent\n\nyes, at noon\n", "\n", "\r\n")), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.curl("imap", c.dovecot.IMAP, c.file("server.pem"), "", "--request", "CREATE Sent")
	c.curl("imap", c.imap[0], c.ca, "Sent", "--upload-file", name)
	if held := c.curl("imap", c.dovecot.IMAP, c.file("server.pem"), "Sent;MAILINDEX=1"); strings.Contains(held, "noon") {
		c.t.Errorf("Sent has\n%s", held)
	}
	if seen := c.curl("imap", c.imap[0], c.ca, "Sent;MAILINDEX=1"); !strings.Contains(seen, "yes, at noon") {
		c.t.Errorf("Sent shows\n%s", seen)
	}
}

// haproxy leads connections on as ones from an address, by the PROXY protocol.
func haproxy(t *testing.T, to, from string) string {
	t.Helper()
	return mailtest.Answer(mailtest.Listen(t), func(conn net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer func() { _ = up.Close() }()
		if _, err = proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), conn.LocalAddr()).WriteTo(up); err != nil {
			return
		}
		join(conn, up)
	})
}

// join passes octets in both directions until one side ends.
func join(a, b net.Conn) {
	go func() {
		_, _ = io.Copy(b, a)
		_ = b.Close()
	}()
	_, _ = io.Copy(a, b)
}
