package main

import (
	"bufio"
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
)

// A record is a log that can be looked at.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

func (r *record) log() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// bounded is a context for what a client does.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// editAll changes the configuration in all places.
func (w *world) editAll(t testing.TB, old, changed string) {
	t.Helper()
	name := w.file(demoConfig)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%q is not in the configuration", old)
	}
	if err = os.WriteFile(name, bytes.ReplaceAll(data, []byte(old), []byte(changed)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// roundTrip sends a message through the proxy, and reads it.
func (w *world) roundTrip(t testing.TB) {
	t.Helper()
	if err := w.send(bounded(t), w.address(config.SMTP), demoMessage); err != nil {
		t.Fatal(err)
	}
	held, err := w.fetch(bounded(t), w.server.imapAddress.String(), w.upstream, 1)
	if err != nil || bytes.Contains(held, []byte("noon")) {
		t.Fatalf("the server holds %s %v", held, err)
	}
	seen, err := w.fetch(bounded(t), w.address(config.IMAP4), w.client, 1)
	if err != nil || !bytes.Contains(seen, []byte("X-Postseal-Status: encrypted+signed/verified\r\n")) || !bytes.Contains(seen, []byte("noon")) {
		t.Fatalf("Bob sees %s %v", seen, err)
	}
}

// TestProxyProtocol takes the client's address from those who are listed, and from
// nobody else.
func TestProxyProtocol(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "protocol = \"smtp\"", "protocol = \"smtp\"\nproxy_from = [\"127.0.0.0/8\"]")
	w.edit(t, "[trust]", "[limits]\nconnections_per_address = 2\n\n[trust]")
	var log record
	if err := w.start(t.Context(), log.log()); err != nil {
		t.Fatal(err)
	}
	begin := func(protocol, header string) string {
		conn, err := dialClient(bounded(t), w.address(protocol))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err = io.WriteString(conn, header); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return ""
		}
		return line
	}
	const one, two = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 587\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc6\x33\x64\x01\x01\x02\x03\x04"
	for _, header := range []string{one, one, two, "PROXY UNKNOWN\r\n"} {
		if line := begin(config.SMTP, header); !strings.HasPrefix(line, "220 ") {
			t.Errorf("%q: %q", header, line)
		}
	}
	if line := begin(config.SMTP, one); line != "" {
		t.Errorf("a third connection of a client: %q", line)
	}
	for _, header := range []string{"EHLO x\r\n", "PROXY TCP4 192.0.2.7\r\n", "PROXY TCP4 x y 1 2\r\n", "\x16\x03\x01\x00\x05xxxxx"} {
		if line := begin(config.SMTP, header); line != "" {
			t.Errorf("%q: %q", header, line)
		}
	}
	if line := begin(config.IMAP4, one); !strings.HasPrefix(line, "* OK") {
		t.Errorf("%q", line) // it is a strange command of an ordinary client
	}
	w.proxy.mu.Lock()
	clients := fmt.Sprint(w.proxy.perClient)
	w.proxy.mu.Unlock()
	if clients != "map[127.0.0.1:2 192.0.2.7:2 192.0.2.8:1]" {
		t.Errorf("clients %s", clients)
	}
	if text := log.String(); strings.Count(text, errProxyHeader.Error()) != 4 || !strings.Contains(text, "client=192.0.2.7") {
		t.Errorf("the log has\n%s", text)
	}
}

// TestOpenRelay sends nothing for those who have not logged in.
func TestOpenRelay(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	conn, err := dialClient(bounded(t), w.address(config.SMTP))
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClientStartTLS(conn, w.client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var se *smtp.SMTPError
	if err = c.Mail(demoAlice, nil); !errors.As(err, &se) || se.Code != 530 {
		t.Errorf("%v", err)
	}
}

// TestByLogin finds the mail server by the domain of the login name.
func TestByLogin(t *testing.T) {
	w := testWorld(t)
	place := fmt.Sprintf("mode = \"starttls\"\nname = %q\nca = \"server.pem\"\nhost = \"127.0.0.1\"\nport = ", demoServerName)
	w.edit(t, "[trust]", fmt.Sprintf("[[domain]]\nname = \"demo.example\"\n[domain.smtp]\n%s%d\n[domain.imap]\n%s%d\n\n[trust]", place, w.server.smtpAddress.Port, place, w.server.imapAddress.Port))
	for _, port := range []int{w.server.smtpAddress.Port, w.server.imapAddress.Port} {
		w.edit(t, fmt.Sprintf("[listener.upstream]\nhost = \"127.0.0.1\"\nport = %d\nmode = \"starttls\"\nname = %q\nca = \"server.pem\"\n", port, demoServerName), "[listener.upstream]\nfind = \"login\"\n")
	}
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	w.roundTrip(t)
	conn, err := dialClient(bounded(t), w.address(config.SMTP))
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClientStartTLS(conn, w.client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var se *smtp.SMTPError
	if err = c.Auth(sasl.NewPlainClient("", "alice@elsewhere.example", "x")); !errors.As(err, &se) || se.Code != 451 {
		t.Errorf("another domain: %v", err)
	}
	if code, out, errs := run(t, "check", "--config", w.file(demoConfig)); code != exitOK || strings.Count(out, "mail server of demo.example 127.0.0.1:") != 2 {
		t.Errorf("check: %d\n%s%s", code, out, errs)
	}
}

// TestUnlockByLogin has stores that nothing on the disk opens.
func TestUnlockByLogin(t *testing.T) {
	w := testWorld(t)
	secret, err := config.FirstLine(w.file("passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(text []byte) *store.Passphrase {
		return &store.Passphrase{Ask: func(string) ([]byte, error) { return text, nil }, Time: 1, Memory: 64, Threads: 1}
	}
	for address, password := range w.passwords {
		s, openErr := store.Open(t.Context(), w.file(address+".store"), store.Options{Key: say(secret)})
		if openErr != nil {
			t.Fatal(openErr)
		}
		if err = errors.Join(s.ChangeKey(t.Context(), say([]byte(password))), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err = os.Remove(w.file("passphrase")); err != nil {
		t.Fatal(err)
	}
	w.editAll(t, `passphrase_file = "passphrase"`, `unlock = "login"`)
	var log record
	if err = w.start(t.Context(), log.log()); err != nil {
		t.Fatal(err)
	}
	w.roundTrip(t)
	if code, out, _ := run(t, "check", "--config", w.file(demoConfig)); code != exitOK || strings.Count(out, "unlocked by the password") != 2 {
		t.Errorf("check: %d\n%s", code, out)
	}
	// Another password at the mail server than that of the store.
	s, err := store.Open(t.Context(), w.file(demoBob+".store"), store.Options{Key: say([]byte(w.passwords[demoBob]))})
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(s.ChangeKey(t.Context(), say([]byte("another"))), s.Close()); err != nil {
		t.Fatal(err)
	}
	// Mail is not shown in another form than before (RFC 3501, Section 2.3.1.1).
	var ie *imap.Error
	if seen, fetchErr := w.fetch(bounded(t), w.address(config.IMAP4), w.client, 1); !errors.As(fetchErr, &ie) || ie.Code != imap.ResponseCodeUnavailable {
		t.Errorf("with a wrong password: %s %v", seen, fetchErr)
	}
	for _, password := range w.passwords {
		if strings.Contains(log.String(), password) {
			t.Error("the log has a password")
		}
	}
	if !strings.Contains(log.String(), keystore.ErrPassphrase.Error()) {
		t.Errorf("the log does not say why:\n%s", &log)
	}
}

// TestAuthority issues certificates for the names that clients ask for.
func TestAuthority(t *testing.T) {
	w := testWorld(t)
	w.editAll(t, `self_made = "proxy.pem"`, `authority = "local.pem"`)
	if err := w.start(t.Context(), discard()); err == nil {
		t.Fatal("the client's certificates are there") // clientTLS reads proxy.pem
	}
	pool, err := config.Roots(w.file("local.pem"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(w.file("local.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	var names []string
	for _, name := range []string{"imap.provider.example", "IMAP.Other.example", demoProxyName} {
		w.client = &cryptotls.Config{RootCAs: pool, ServerName: name, VerifyConnection: func(s cryptotls.ConnectionState) error {
			names = append(names, s.PeerCertificates[0].DNSNames...)
			return nil
		}}
		if _, err = w.login(bounded(t), w.address(config.IMAP4), w.client); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.client = &cryptotls.Config{RootCAs: pool, ServerName: demoProxyName}
	w.roundTrip(t)
	if got := strings.Join(names, " "); got != "imap.provider.example imap.other.example "+demoProxyName {
		t.Errorf("%s", got)
	}
	if code, out, _ := run(t, "check", "--config", w.file(demoConfig)); code != exitOK || strings.Count(out, "certificates of the authority") != 2 {
		t.Errorf("check: %d\n%s", code, out)
	}
}

// TestLoop refuses the proxy's own connections.
func TestLoop(t *testing.T) {
	w := testWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	w.edit(t, "address = \"127.0.0.1:0\"\nmode = \"starttls\"\nself_made = \"proxy.pem\"", "address = \"127.0.0.1:"+port+"\"\nmode = \"insecure-plaintext\"")
	w.edit(t, fmt.Sprintf("port = %d\nmode = \"starttls\"\nname = %q\nca = \"server.pem\"", w.server.smtpAddress.Port, demoServerName), "port = "+port+"\nmode = \"insecure-plaintext\"")
	var log record
	if err = w.start(t.Context(), log.log()); err != nil {
		t.Fatal(err)
	}
	conn, err := dialClient(bounded(t), w.address(config.SMTP))
	if err != nil {
		t.Fatal(err)
	}
	c := &talker{conn, bufio.NewReader(conn)}
	defer func() { _ = conn.Close() }()
	if _, err = c.line(); err != nil {
		t.Fatal(err)
	}
	if err = c.say("EHLO client.example", "250"); err == nil {
		t.Error("a mail server was found")
	}
	if n := w.proxy.metrics.refused.Load(); n != 1 || !strings.Contains(log.String(), upstream.ErrLoop.Error()) {
		t.Errorf("%d refused\n%s", n, &log)
	}
	if n := w.proxy.metrics.accepted[0].Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// TestNewCertificate shows a new certificate to new connections, and drops none of
// the old.
func TestNewCertificate(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	old, err := w.login(bounded(t), w.address(config.IMAP4), w.client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if err = os.Remove(w.file("proxy.pem")); err != nil {
		t.Fatal(err)
	}
	if err = makeCertificate(w.file("proxy.pem"), demoProxyName); err != nil {
		t.Fatal(err)
	}
	conf, err := config.Read(w.file(demoConfig))
	if err != nil {
		t.Fatal(err)
	}
	if err = w.proxy.load(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	if err = old.Noop().Wait(); err != nil {
		t.Errorf("a connection was dropped: %v", err)
	}
	if _, err = w.login(bounded(t), w.address(config.IMAP4), w.client); err == nil {
		t.Error("the old certificate is shown still")
	}
	if w.client, err = w.clientTLS(); err != nil {
		t.Fatal(err)
	}
	again, err := w.login(bounded(t), w.address(config.IMAP4), w.client)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	// A broken one changes nothing.
	if err = os.WriteFile(w.file("proxy.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err = w.proxy.load(t.Context(), conf); err == nil {
		t.Error("a broken certificate was taken")
	}
	if again, err = w.login(bounded(t), w.address(config.IMAP4), w.client); err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// TestSlowClients ends connections of those who do not log in, whatever they do
// meanwhile, and leaves those who have.
func TestSlowClients(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "[trust]", "[limits]\nlogin = \"600ms\"\n\n[trust]")
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{config.SMTP, config.IMAP4} {
		good, err := w.talk(protocol, w.address(protocol))
		if err != nil {
			t.Fatal(err)
		}
		bad, err := dialClient(bounded(t), w.address(protocol))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		go func() {
			for {
				if _, writeErr := io.WriteString(bad, "x"); writeErr != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		if _, err = io.Copy(io.Discard, bad); time.Since(begun) > 5*time.Second {
			t.Errorf("%s: it took %v: %v", protocol, time.Since(begun), err)
		}
		_ = bad.Close()
		line, want := "NOOP", "250"
		if protocol == config.IMAP4 {
			line, want = "d NOOP", "d OK"
		}
		if err = good.say(line, want); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
		_ = good.conn.Close()
	}
}

// TestFactsFile shows a message after a restart as before, and has nothing of it in
// the file.
func TestFactsFile(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "[trust]", "[imap]\nfacts = \"facts.db\"\nservice = \"one.example\"\n\n[trust]")
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	w.roundTrip(t)
	before, err := w.fetch(bounded(t), w.address(config.IMAP4), w.client, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.drain()
	for _, name := range []string{"facts.db", "facts.db-wal"} {
		data, readErr := os.ReadFile(w.file(name))
		if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
			t.Fatal(readErr)
		}
		for _, secret := range []string{"noon", "Lunch", "encrypted+signed", demoAlice} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
	w.edit(t, "one.example", "two.example")
	if err = w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	after, err := w.fetch(bounded(t), w.address(config.IMAP4), w.client, 1)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("after a restart: %v\n%s", err, after)
	}
	if err = os.Chmod(w.file("facts.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "run", "--config", w.file(demoConfig)); code != exitConfig {
		t.Errorf("a file that others may read: %d %s", code, errs)
	}
}
