package imapproxy

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/render"
)

// maxIdle is what an idle connection may cost, with TLS on both sides, in octets.
const maxIdle = 40 << 10

// answerAll is an upstream that answers all commands with OK.
func answerAll(conn net.Conn) {
	_, _ = io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n")
	for br := bufio.NewReaderSize(conn, 16); ; {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(rest, "IDLE") {
			_, _ = io.WriteString(conn, "+ idling\r\n")
			continue
		}
		_, _ = io.WriteString(conn, tag+" OK done\r\n")
	}
}

// TestIdleMemory has many connections that have logged in and are idle. What they
// cost is measured in this process, which has the clients and the upstream's side,
// too: each of these without the proxy in between is taken off.
func TestIdleMemory(t *testing.T) {
	n := 100
	if text := os.Getenv("POSTSEAL_CONNECTIONS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	host := mailtest.NewHost(t)
	server, clientConfig := host.Server, host.Client
	upstream := mailtest.Answer(cryptotls.NewListener(mailtest.Listen(t), server), answerAll)
	dialTLS := func(ctx context.Context, addr string) (net.Conn, error) {
		return (&cryptotls.Dialer{Config: clientConfig}).DialContext(ctx, "tcp", addr)
	}
	p := w.proxy()
	options := w.options()
	p.Open = func(string) (*render.Options, error) { return options, nil }
	p.Connect = func(ctx context.Context) (net.Conn, bool, error) {
		conn, dialErr := dialTLS(ctx, upstream)
		return conn, false, dialErr
	}
	addr := serveTLS(t, p, server)
	hold := func(addr string, n int) uint64 {
		before := memory()
		var conns []net.Conn
		for range n {
			conn, dialErr := dialTLS(t.Context(), addr)
			if dialErr != nil {
				t.Fatal(dialErr)
			}
			conns = append(conns, conn)
			for i, command := range []string{"", "a LOGIN alice secret\r\n", "b SELECT INBOX\r\n", "c IDLE\r\n"} {
				_, _ = io.WriteString(conn, command)
				if line := lineOf(conn); !strings.Contains(line, "OK") && i < 3 || i == 3 && !strings.HasPrefix(line, "+") {
					t.Fatalf("%q: %q", command, line)
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
		cost := memory() - before
		for _, conn := range conns {
			_ = conn.Close()
		}
		return cost
	}
	hold(addr, 3) // for what is made once
	direct, through := hold(upstream, n), hold(addr, n)
	each := (int64(through) - int64(direct)) / int64(n)
	t.Logf("%d octets for each of %d connections", each, n)
	if each > maxIdle && !raceEnabled() {
		t.Errorf("%d octets for an idle connection", each)
	}
}

// lineOf reads a line octet by octet.
func lineOf(conn net.Conn) string {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			return fmt.Sprint(err)
		}
		if line = append(line, b[0]); b[0] == '\n' {
			return string(line)
		}
	}
}

// memory returns what this process uses, without garbage.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// raceEnabled reports whether the race detector makes everything bigger.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}
