package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
)

// An idleRow is what an idle connection costs, in KiB, by the program that holds it:
// all that is resident of its processes, without what it had before. Buffers of the
// kernel are not in it.
type idleRow struct {
	Name        string             `json:"name"`
	Connections int                `json:"connections"`
	KiB         map[string]float64 `json:"kib"`
	Goal        string             `json:"goal"`
}

// An idleCase is a kind of connection.
type idleCase struct {
	name, protocol string
	behind         bool   // there is TLS behind the proxy, too
	nginx          string // settings
}

var idleCases = []idleCase{
	{"IMAP, logged in, in IDLE", "imap", false, ""},
	{"SMTP, logged in", "smtp", false, "smtp_auth plain;"},
	{"IMAP, logged in, in IDLE, TLS on both sides", "imap", true, ""},
	{"SMTP, logged in, TLS on both sides", "smtp", true, ""},
}

// benchIdle measures the memory of idle connections. Clients come by STARTTLS;
// they, and the mail servers, are in this process.
func benchIdle(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	w := &mailWorld{host: &host{}, o: o, people: make(map[string]*testpki.Person)}
	defer w.close()
	var err error
	if w.dir, err = os.MkdirTemp("", "bench-idle-*"); err != nil {
		return err
	}
	w.Cleanup(func() { _ = os.RemoveAll(w.dir) }) // it is temporary
	var rows []*idleRow
	err = w.attempt(func() error {
		var runErr error
		rows, runErr = w.idleRows(ctx, stderr)
		return runErr
	})
	if err != nil {
		return err
	}
	lines := [][]string{{"KiB of a connection", ours, ofNginx, "goal"}}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	markdown(stdout, lines)
	return writeJSON(o, rows)
}

func (r *idleRow) cells() []string {
	out := []string{fmt.Sprintf("%s, %d", r.Name, r.Connections)}
	for _, p := range []string{ours, ofNginx} {
		cell := "-"
		if n, ok := r.KiB[p]; ok {
			cell = fmt.Sprintf("%.1f", n)
		}
		out = append(out, cell)
	}
	return append(out, r.Goal)
}

func (w *mailWorld) idleRows(ctx context.Context, stderr io.Writer) (rows []*idleRow, err error) {
	if err = w.build(ctx); err != nil {
		return nil, err
	}
	server, err := w.identities(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range idleCases {
		if !w.o.rows.MatchString(c.name) {
			continue
		}
		upstream, upErr := w.answering(c, server)
		if upErr != nil {
			return nil, upErr
		}
		r := &idleRow{Name: c.name, Connections: w.o.idle, KiB: make(map[string]float64), Goal: "40"}
		if r.KiB[ours], err = w.idleProxy(ctx, c, server, upstream); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		if !c.behind { // nginx has no TLS there
			if r.KiB[ofNginx], err = w.idleNginx(ctx, c, server, upstream); err != nil {
				return nil, fmt.Errorf("%s, nginx: %w", c.name, err)
			}
		}
		rows = append(rows, r)
		fmt.Fprintln(stderr, strings.Join(r.cells(), "; "))
	}
	return rows, nil
}

// answering is a mail server that takes everything.
func (w *mailWorld) answering(c idleCase, server testpki.Files) (string, error) {
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return "", err
	}
	if c.behind {
		pair, pairErr := tls.LoadX509KeyPair(server.Cert, server.Key)
		if pairErr != nil {
			return "", errors.Join(pairErr, l.Close())
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	w.Cleanup(func() { _ = l.Close() }) // nobody comes any more
	go func() {
		for {
			conn, acceptErr := l.Accept()
			if acceptErr != nil {
				return // it was closed
			}
			go answerAll(conn, c.protocol)
		}
	}()
	return l.Addr().String(), nil
}

// answerAll answers all commands as if they were carried out.
func answerAll(conn net.Conn, protocol string) {
	defer func() { _ = conn.Close() }() // the client is gone
	answer := "220 answering.example ESMTP\r\n"
	if protocol == "imap" {
		answer = "* OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN] answering.example\r\n"
	}
	c := &mailClient{conn: conn}
	begun := "" // the tag of a command that goes on
	for {
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		line, err := c.shortLine()
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, _, _ := strings.Cut(rest, " ")
		if begun != "" {
			tag = begun
		}
		begun = ""
		switch {
		case protocol == "imap" && strings.HasSuffix(line, "}"): // as nginx logs in
			begun, answer = tag, "+ go on\r\n"
		case protocol == "imap" && verb == "IDLE":
			answer = "+ idling\r\n"
		case protocol == "imap":
			answer = tag + " OK done\r\n"
		case tag == "EHLO":
			answer = "250-answering.example\r\n250 AUTH PLAIN\r\n"
		case tag == "AUTH":
			answer = "235 2.7.0 Welcome\r\n"
		default:
			answer = "250 2.0.0 Ok\r\n"
		}
	}
}

// shortLine reads a line octet by octet: there is no buffer that stays.
func (c *mailClient) shortLine() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(c.conn, b); err != nil {
			return "", err
		}
		if line = append(line, b[0]); b[0] == '\n' {
			return strings.TrimSpace(string(line)), nil
		}
	}
}

// idleProxy measures mailproxy.
func (w *mailWorld) idleProxy(ctx context.Context, c idleCase, server testpki.Files, upstream string) (float64, error) {
	address := net.JoinHostPort(loopback, peers.FreePort(w))
	mode := unprotected
	if c.behind {
		mode = "implicit"
	}
	text := w.proxyConfig(server, w.o.idle+200, []proxyListener{{c.protocol, address, upstream, mode, ""}})
	config := w.file("idle.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.Command(w.program, "run", "--config", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it holds nothing of worth
		_ = cmd.Wait()
	}()
	if err := waitFor(ctx, address); err != nil {
		return 0, err
	}
	return w.idleEach(ctx, c, address, func() (int64, error) { return resident(cmd.Process.Pid) })
}

// idleNginx measures nginx, with all its processes.
func (w *mailWorld) idleNginx(ctx context.Context, c idleCase, server testpki.Files, upstream string) (float64, error) {
	address := net.JoinHostPort(loopback, peers.FreePort(w))
	if err := w.nginxFor(server, []nginxServer{{c.protocol, address, upstream, c.nginx}}); err != nil {
		return 0, err
	}
	if err := waitFor(ctx, address); err != nil {
		return 0, err
	}
	return w.idleEach(ctx, c, address, func() (int64, error) {
		data, err := os.ReadFile(w.file(nginxPID))
		if err != nil {
			return 0, err
		}
		master := strings.TrimSpace(string(data))
		children, err := os.ReadFile(filepath.Join("/proc", master, "task", master, "children"))
		if err != nil {
			return 0, err
		}
		var sum int64
		for pid := range strings.FieldsSeq(master + " " + string(children)) {
			n, _ := strconv.Atoi(pid) // it is one
			size, sizeErr := resident(n)
			if sizeErr != nil {
				return 0, sizeErr
			}
			sum += size
		}
		return sum, nil
	})
}

// resident returns what is in memory of a process, in octets: its share of what it
// has in common with others.
func resident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, parseErr := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, parseErr
		}
	}
	return 0, fmt.Errorf("process %d: no Pss", pid)
}

// idleEach makes connections, and returns what each costs, in KiB. The first few do
// not count.
func (w *mailWorld) idleEach(ctx context.Context, c idleCase, address string, memory func() (int64, error)) (float64, error) {
	var mu sync.Mutex
	var held []net.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close() // nothing was lost
		}
	}()
	make := func(n int) error {
		var next atomic.Int64
		var failed error
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for next.Add(1) <= int64(n) && ctx.Err() == nil {
					conn, err := w.idleClient(c, address)
					mu.Lock()
					if err != nil {
						failed = err
					} else {
						held = append(held, conn)
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		return errors.Join(failed, ctx.Err())
	}
	if err := make(min(20, w.o.idle)); err != nil {
		return 0, err
	}
	time.Sleep(w.o.settle / 4)
	before, err := memory()
	if err == nil {
		err = make(w.o.idle)
	}
	if err != nil {
		return 0, err
	}
	time.Sleep(w.o.settle)
	after, err := memory()
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(w.o.idle) / 1024, nil
}

// idleClient connects, logs in, and waits as clients do.
func (w *mailWorld) idleClient(c idleCase, address string) (net.Conn, error) {
	if c.protocol == "smtp" {
		m, err := dialSMTP(address, loginP256, w.client)
		if err != nil {
			return nil, err
		}
		return m.conn, m.conn.SetDeadline(time.Time{})
	}
	m, err := dialIMAP(address, loginP256, w.client)
	if err != nil {
		return nil, err
	}
	if err = m.ok("SELECT INBOX"); err == nil {
		err = m.say("a IDLE\r\n", "+")
	}
	if err == nil {
		err = m.conn.SetDeadline(time.Time{})
	}
	return m.conn, err
}
