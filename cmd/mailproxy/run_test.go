package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

// A process is mailproxy run as a program of its own.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	socket *net.UnixConn // that of systemd
	logged chan struct{} // closed when the log has ended

	stopping atomic.Bool // SIGTERM has been sent, or is about to be

	mu  sync.Mutex
	log bytes.Buffer
}

func startProcess(t testing.TB, file string) *process {
	t.Helper()
	return startCommand(t, "run", "--config", file)
}

func startCommand(t testing.TB, args ...string) *process {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	p := &process{t: t, socket: socket, logged: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), beMain+"=1", "NOTIFY_SOCKET="+name)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.logged)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.mu.Lock()
			p.log.Write(append(lines.Bytes(), '\n'))
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// listening returns where the log says that the listeners are, n of them.
func (p *process) listening(n int) []string {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var out []string
		for line := range strings.Lines(p.text()) {
			var entry struct{ Msg, Address string }
			if err := json.Unmarshal([]byte(line), &entry); err == nil && entry.Msg == "listening" {
				out = append(out, entry.Address)
			}
		}
		if len(out) == n {
			return out
		}
	}
	p.t.Fatalf("the log does not have %d listeners\n%s", n, p.text())
	return nil
}

// said waits for the log to have a text in it.
func (p *process) said(want string) {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(p.text(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Errorf("the log does not say %q\n%s", want, p.text())
			return
		}
	}
}

// told waits for what systemd is told.
func (p *process) told(want string) {
	p.t.Helper()
	if err := p.socket.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 1024)
	n, err := p.socket.Read(buf)
	if err != nil {
		p.t.Fatalf("waiting for %s: %v\n%s", want, err, p.text())
	}
	if got, _, _ := strings.Cut(string(buf[:n]), "\n"); got != want {
		p.t.Fatalf("systemd is told %q, want %s\n%s", buf[:n], want, p.text())
	}
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end, and returns the error of the process.
func (p *process) end() error {
	<-p.logged
	return p.cmd.Wait()
}

// address returns where the log says that something listens. The log may come a
// moment later than what systemd is told.
func (p *process) address(key, value string) string {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for line := range strings.Lines(p.text()) {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				p.t.Fatalf("not JSON: %s", line)
			}
			if address, ok := entry["address"].(string); ok && entry[key] == value {
				return address
			}
		}
	}
	p.t.Fatalf("no %s=%s in the log\n%s", key, value, p.text())
	return ""
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(data)
}

// service returns the authserv-id of one of Bob's messages through the proxy.
func (w *world) service(t testing.TB, address string, n uint32) string {
	t.Helper()
	data, err := w.fetch(t.Context(), address, w.client, n)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Authentication-Results: "); ok {
			name, _, _ := strings.Cut(value, ";")
			return name
		}
	}
	t.Fatalf("no Authentication-Results in\n%s", data)
	return ""
}

func TestRun(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "[trust]", "[metrics]\naddress = \"127.0.0.1:0\"\n\n[imap]\nservice = \"one.example\"\n\n[log]\nlevel = \"DEBUG\"\n\n[trust]")
	p := startProcess(t, w.file(demoConfig))
	p.told("READY=1")
	var err error
	if w.client, err = w.clientTLS(); err != nil {
		t.Fatal(err)
	}
	smtpAt, imapAt, metricsAt := p.address("protocol", config.SMTP), p.address("protocol", config.IMAP4), "http://"+p.address("msg", "metrics")
	if err = w.send(t.Context(), smtpAt, demoMessage); err != nil {
		t.Fatalf("%v\n%s", err, p.text())
	}
	if got := w.service(t, imapAt, 1); got != "one.example" {
		t.Errorf("service %q", got)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, text := get(t, metricsAt+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	open, err := w.login(t.Context(), imapAt, w.client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	t.Run("reload", func(t *testing.T) { w.testReload(t, p, open, imapAt, smtpAt) })
	_, text := get(t, metricsAt+"/metrics")
	for _, want := range []string{
		"mailproxy_reloads_total{result=\"ok\"} 1\n", "mailproxy_reloads_total{result=\"failed\"} 1\n",
		"mailproxy_connections_open{protocol=\"imap\"} 1\n", "mailproxy_connections_total{protocol=\"smtp\"} 2\n",
		"mailproxy_logins_total{protocol=\"smtp\"} 2\n", "mailproxy_connections_refused_total 0\n", "# TYPE mailproxy_connections_open gauge\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	p.signal(syscall.SIGTERM)
	p.told("STOPPING=1")
	if err = p.end(); err != nil {
		t.Errorf("%v\n%s", err, p.text())
	}
	if err = open.Noop().Wait(); err == nil {
		t.Error("a connection has outlived the proxy")
	}
	if _, err = net.Dial("tcp", imapAt); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
	for _, secret := range []string{w.passwords[demoAlice], w.passwords[demoBob], "Lunch", "noon"} {
		if strings.Contains(p.text(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// testReload changes the configuration, to a good one and to a broken one.
func (w *world) testReload(t *testing.T, p *process, open *imapclient.Client, imapAt, smtpAt string) {
	w.edit(t, "one.example", "two.example")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	if err := open.Noop().Wait(); err != nil {
		t.Errorf("a connection was dropped: %v", err)
	}
	if err := w.send(t.Context(), smtpAt, demoMessage); err != nil {
		t.Error(err)
	}
	if got := w.service(t, imapAt, 2); got != "two.example" {
		t.Errorf("a new message has the service %q", got)
	}
	if got := w.service(t, imapAt, 1); got != "one.example" {
		t.Errorf("a message that was seen before now has the service %q", got)
	}
	w.edit(t, "two.example", "three example")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	if err := open.Noop().Wait(); err != nil {
		t.Errorf("a connection was dropped: %v", err)
	}
	again, err := w.login(t.Context(), imapAt, w.client)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // until the proxy has seen that both have left
		_, text := get(t, "http://"+p.address("msg", "metrics")+"/metrics")
		if strings.Contains(text, "mailproxy_connections_open{protocol=\"imap\"} 1\n") || time.Now().After(deadline) {
			break
		}
	}
}

// TestRunWrong is about configurations with which nothing begins.
func TestRunWrong(t *testing.T) {
	w := testWorld(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	w.edit(t, "127.0.0.1:0", taken.Addr().String())
	if code, _, errs := run(t, "run", "--config", w.file(demoConfig)); code != exitFailure {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestConnectionLimits(t *testing.T) {
	w := testWorld(t)
	w.edit(t, "[trust]", "[limits]\nconnections = 3\nconnections_per_address = 2\n\n[trust]")
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conns := make([]net.Conn, 2)
	for i := range conns {
		conn, err := dialClient(ctx, w.address(config.SMTP))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err = bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	third, err := dialClient(ctx, w.address(config.IMAP4))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = third.Close() }()
	if _, err = third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v", err)
	}
	if n := w.proxy.metrics.refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
}

// TestReloadListeners opens one listener and closes another.
func TestReloadListeners(t *testing.T) {
	w := testWorld(t)
	if err := w.start(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	before := w.proxy.addresses()
	conn, err := dialClient(t.Context(), before[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	if _, err = br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.edit(t, "protocol = \"imap\"\naddress = \"127.0.0.1:0\"", "protocol = \"imap\"\naddress = \"localhost:0\"")
	conf, err := config.Read(w.file(demoConfig))
	if err != nil {
		t.Fatal(err)
	}
	if err = w.proxy.load(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	after := w.proxy.addresses()
	if after[0].String() != before[0].String() || after[1].String() == before[1].String() {
		t.Errorf("%v became %v", before, after)
	}
	if _, err = net.Dial("tcp", before[1].String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the old address: %v", err)
	}
	if _, err = io.WriteString(conn, "a CAPABILITY\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, readErr := br.ReadString('\n'); readErr != nil || !strings.HasPrefix(line, "* CAPABILITY") {
		t.Errorf("a connection was dropped: %q %v", line, readErr)
	}
}
