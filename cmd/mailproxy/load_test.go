package main

import (
	"bufio"
	"bytes"
	cryptotls "crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

// connections is how many connections there are at once in TestConnections: few,
// unless POSTSEAL_CONNECTIONS says otherwise.
func connections(t testing.TB) int {
	text := os.Getenv("POSTSEAL_CONNECTIONS")
	if text == "" {
		return 60
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 10 {
		t.Fatalf("POSTSEAL_CONNECTIONS=%q", text)
	}
	return n
}

// A talker is a client that was greeted, and says what it is told to.
type talker struct {
	conn net.Conn
	br   *bufio.Reader
}

func (c *talker) line() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return "", err
	}
	line, err := c.br.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// say sends a line and reads until a line that begins with want.
func (c *talker) say(line, want string) error {
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		return err
	}
	for {
		got, err := c.line()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", line, err)
		case strings.HasPrefix(got, want):
			return nil
		case strings.HasPrefix(got, "4"), strings.HasPrefix(got, "5"), strings.HasPrefix(got, "* BYE"):
			return fmt.Errorf("%s: %s", line, got)
		}
	}
}

// talk connects to the proxy, comes to TLS, and logs in.
func (w *world) talk(protocol, address string) (*talker, error) {
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return nil, err
	}
	c := &talker{conn, bufio.NewReader(conn)}
	fail := func(failed error) (*talker, error) {
		_ = conn.Close()
		return nil, failed
	}
	if _, err = c.line(); err != nil {
		return fail(err)
	}
	if protocol == config.SMTP {
		if err = c.say("EHLO client.example", "250 "); err == nil {
			err = c.say("STARTTLS", "220")
		}
	} else {
		err = c.say("a STARTTLS", "a OK")
	}
	if err != nil {
		return fail(err)
	}
	over := cryptotls.Client(conn, w.client)
	c.conn, c.br = over, bufio.NewReader(over)
	if protocol == config.SMTP {
		if err = c.say("EHLO client.example", "250 "); err == nil {
			err = c.say("AUTH PLAIN "+plain(demoAlice, w.passwords[demoAlice]), "235")
		}
	} else if err = c.say(fmt.Sprintf("b LOGIN %s %s", demoBob, w.passwords[demoBob]), "b OK"); err == nil {
		err = c.say("c SELECT INBOX", "c OK")
	}
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// resident is the memory that a process has, in octets.
func (p *process) resident() int64 {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skip("only Linux tells the memory of a process")
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, parseErr := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if parseErr != nil {
				p.t.Fatal(parseErr)
			}
			return kib << 10
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}

// warnings are the first lines of the log that are none of the usual.
func (p *process) warnings() string {
	var out strings.Builder
	n := 0
	for line := range strings.Lines(p.text()) {
		if !strings.Contains(line, `"level":"INFO"`) || strings.Contains(line, `"error"`) {
			if n++; n <= 10 {
				out.WriteString(line)
			}
		}
	}
	fmt.Fprintf(&out, "%d such lines", n)
	return out.String()
}

// loaded starts the proxy as a program, and returns where it listens.
func (w *world) loaded(t testing.TB, limit int) (p *process, smtpAt, imapAt string) {
	t.Helper()
	w.edit(t, "[trust]", fmt.Sprintf("[limits]\nconnections = %d\n\n[trust]", limit))
	w.edit(t, `drain = "2s"`, `drain = "30s"`)
	p = startProcess(t, w.file(demoConfig))
	p.told("READY=1")
	var err error
	if w.client, err = w.clientTLS(); err != nil {
		t.Fatal(err)
	}
	addresses := p.listening(2)
	return p, addresses[0], addresses[1]
}

// TestConnections has many connections at once, half of them by SMTP, among them
// slow clients; SIGHUP comes while they are made, and drops none. It prints the
// memory of each.
func TestConnections(t *testing.T) {
	n := connections(t)
	w := testWorld(t)
	p, smtpAt, imapAt := w.loaded(t, n+n/10+10)
	warm := make([]*talker, 0, 10)
	for i := range 10 { // what all share is not counted
		c, err := w.talk([]string{config.SMTP, config.IMAP4}[i%2], []string{smtpAt, imapAt}[i%2])
		if err != nil {
			t.Fatalf("%v\n%s", err, p.text())
		}
		warm = append(warm, c)
	}
	before := p.resident()
	slow := make([]net.Conn, n/10)
	for i := range slow { // they begin with something, and never end it
		conn, err := net.Dial("tcp", []string{smtpAt, imapAt}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err = io.WriteString(conn, []string{"EHL", "a CAPA"}[i%2]); err != nil {
			t.Fatal(err)
		}
		slow[i] = conn
	}
	clients := make([]*talker, n)
	var next, failed atomic.Int64
	begun := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				c, err := w.talk([]string{config.SMTP, config.IMAP4}[i%2], []string{smtpAt, imapAt}[i%2])
				if err != nil {
					if failed.Add(1) < 5 {
						t.Errorf("client %d: %v", i, err)
					}
					continue
				}
				clients[i] = c
			}
		})
	}
	for range 3 {
		time.Sleep(20 * time.Millisecond)
		p.signal(syscall.SIGHUP)
		p.told("RELOADING=1")
		p.told("READY=1")
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d of %d clients failed\n%s", failed.Load(), n, p.warnings())
	}
	took := time.Since(begun)
	time.Sleep(500 * time.Millisecond)
	after := p.resident()
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	for i, c := range append(clients, warm...) {
		line, want := "NOOP", "250"
		if (i < n && i%2 == 1) || i >= n && (i-n)%2 == 1 {
			line, want = "d NOOP", "d OK"
		}
		if err := c.say(line, want); err != nil {
			t.Fatalf("client %d after SIGHUP: %v", i, err)
		}
	}
	t.Logf("%d connections at once, logged in, half SMTP and half IMAP: made in %v, %d KiB each in the proxy (%d MiB in all)",
		n, took.Round(time.Millisecond), (after-before)/int64(n+len(slow))>>10, after>>20)
	if per := (after - before) / int64(n); n >= 1000 && per > 256<<10 {
		t.Errorf("%d KiB for each connection", per>>10)
	}
	begun = time.Now()
	p.signal(syscall.SIGTERM)
	p.told("STOPPING=1")
	if err := p.end(); err != nil {
		t.Errorf("%v\n%.2000s", err, p.text())
	}
	t.Logf("SIGTERM: idle connections ended, and the program after %v", time.Since(begun).Round(time.Millisecond))
	if strings.Contains(p.text(), "were cut off") {
		t.Error("idle connections were waited for")
	}
	for _, c := range append(clients, warm...) {
		_ = c.conn.Close()
	}
}

// TestSignalsUnderLoad sends messages while SIGHUP and then SIGTERM come. Each that
// was acknowledged is with the server once, and no other is.
func TestSignalsUnderLoad(t *testing.T) {
	w := testWorld(t)
	p, smtpAt, _ := w.loaded(t, 200)
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	var sent, dropped atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for s := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("m-%d-%d", s, i)
				err := w.send(t.Context(), smtpAt, strings.Replace(demoMessage, "Lunch on Friday", id, 1))
				if err != nil {
					dropped.Add(1)
					if p.stopping.Load() {
						return // there is nobody any more
					}
					t.Errorf("%s: %v", id, err)
					return
				}
				sent.Add(1)
				mu.Lock()
				acknowledged[id] = true
				mu.Unlock()
			}
		})
	}
	reloads := 0
	for ; reloads < 10 || sent.Load() < 40; reloads++ {
		p.signal(syscall.SIGHUP)
		p.told("RELOADING=1")
		p.told("READY=1")
		if reloads > 500 {
			break
		}
	}
	p.stopping.Store(true)
	p.signal(syscall.SIGTERM)
	wg.Wait()
	close(stop)
	p.told("STOPPING=1")
	if err := p.end(); err != nil {
		t.Errorf("%v\n%.2000s", err, p.text())
	}
	held := w.subjects(t)
	for id, n := range held {
		if !acknowledged[id] || n != 1 {
			t.Errorf("%s: the server has it %d times; acknowledged: %v", id, n, acknowledged[id])
		}
	}
	if len(held) != len(acknowledged) {
		t.Errorf("%d messages were acknowledged, and the server has %d", len(acknowledged), len(held))
	}
	t.Logf("%d messages, %d reloads, %d clients were turned away at the end", len(acknowledged), reloads, dropped.Load())
}

// subjects counts the messages that the server has, by the subjects that the proxy
// shows.
func (w *world) subjects(t *testing.T) map[string]int {
	t.Helper()
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	c, err := w.login(bounded(t), w.address(config.IMAP4), w.client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	section := &imap.FetchItemBodySection{Peek: true}
	list, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	for _, m := range list {
		for line := range bytes.Lines(m.FindBodySection(section)) {
			if value, ok := bytes.CutPrefix(line, []byte("Subject: ")); ok {
				out[string(bytes.TrimSpace(value))]++
				break
			}
		}
	}
	return out
}

// TestKilled kills the proxy while 100 messages are in flight. Each that was
// acknowledged is with the server once, and no message is there twice; clients of
// all others were left without an acknowledgement. Nothing is left on the disk.
func TestKilled(t *testing.T) {
	w := testWorld(t)
	spool := t.TempDir()
	w.edit(t, "[server]", fmt.Sprintf("[server]\nspool = %q", spool))
	p, smtpAt, _ := w.loaded(t, 200)
	const n = 100
	body := strings.Repeat(strings.Repeat("x", 70)+"\n", 20000) // more than is held in memory
	acknowledged := make([]bool, n)
	var acks, begun atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			begun.Add(1)
			text := strings.Replace(demoMessage, "Lunch on Friday", fmt.Sprintf("m-%d", i), 1)
			if i%20 == 0 {
				text += body
			}
			if w.send(t.Context(), smtpAt, text) == nil {
				acknowledged[i] = true
				acks.Add(1)
			}
		})
	}
	for end := time.Now().Add(time.Minute); acks.Load() < 10 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	p.signal(syscall.SIGKILL)
	wg.Wait()
	if err := p.end(); err == nil {
		t.Error("it was not killed")
	}
	if acks.Load() == n {
		t.Error("nothing was in flight")
	}
	left, err := os.ReadDir(spool)
	if err != nil || len(left) != 0 {
		t.Errorf("left on the disk: %v %v", left, err)
	}
	held := w.subjects(t)
	unknown := 0
	for i := range n {
		id := fmt.Sprintf("m-%d", i)
		switch {
		case acknowledged[i] && held[id] != 1, held[id] > 1:
			t.Errorf("%s: acknowledged: %v; the server has it %d times", id, acknowledged[i], held[id])
		case held[id] == 1 && !acknowledged[i]:
			unknown++ // the acknowledgement was on its way: RFC 5321, Section 4.1.1.4
		}
		delete(held, id)
	}
	if len(held) > 0 {
		t.Errorf("the server has other messages: %v", held)
	}
	t.Logf("%d of %d messages were acknowledged before SIGKILL; %d more had been taken by the server", acks.Load(), n, unknown)
}
