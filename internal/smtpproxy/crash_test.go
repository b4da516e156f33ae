package smtpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/mailtest"
)

// beProxy makes the test program a proxy for the upstream at an address.
const beProxy = "POSTSEAL_TEST_BE_PROXY"

func TestMain(m *testing.M) {
	if upstream := os.Getenv(beProxy); upstream != "" {
		os.Exit(childProxy(upstream))
	}
	goleak.VerifyTestMain(m)
}

// childProxy serves until it is killed, or its standard input ends.
func childProxy(upstream string) int {
	t := &testing.B{} // for helpers that fail a test; here they end the program
	w := mailtest.NewWorld(t, "alice", "bob")
	p := proxyOf(t, w, mailtest.Everything(t))
	p.Name = "proxy.test"
	p.Connect = func(ctx context.Context) (net.Conn, bool, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", upstream)
		return conn, false, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			return 1
		}
		go p.ServeConn(context.Background(), conn)
	}
}

// startChild starts a proxy as a process and returns its address.
func startChild(t testing.TB, upstream string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), beProxy+"="+upstream)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(addr)
}

var messageID = regexp.MustCompile(`(?m)^Message-ID: <(.*)>\r$`)

// TestKill9 kills the proxy while 100 messages are in flight, each for two who get
// different forms. What a client was told has is with the upstream once; of what
// it was not, nobody has two. Sent again, everybody has everything.
func TestKill9(t *testing.T) {
	up := mailtest.NewServer(t, nil)
	up.RefuseData = func(int) error {
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		return nil
	}
	child, addr := startChild(t, up.Addr)
	const clients = 100
	var mu sync.Mutex
	acked, tried := make(map[string]bool), make(map[string]bool)
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d.%d@example.org", c, n)
				mu.Lock()
				tried[id] = true
				mu.Unlock()
				code, err := sendQuietly(addr, id)
				mu.Lock()
				acked[id] = code == 250
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	taken := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(slices.Collect(maps.Values(acked)), true)
	}
	time.Sleep(700 * time.Millisecond)
	for end := time.Now().Add(time.Minute); !taken() && time.Now().Before(end); { // a machine may be slow
		time.Sleep(20 * time.Millisecond)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	settled(up)
	has := func() map[string]map[string]int {
		out := make(map[string]map[string]int)
		for _, m := range up.Got() {
			id := messageID.FindStringSubmatch(m.Data)
			if id == nil {
				t.Fatalf("no Message-ID:\n%s", m.Data)
			}
			if out[id[1]] == nil {
				out[id[1]] = make(map[string]int)
			}
			for _, to := range m.To {
				out[id[1]][to]++
			}
		}
		return out
	}
	both := []string{"bob@example.org", "dave@elsewhere.test"}
	first := has()
	done := 0
	for id := range tried {
		for _, to := range both {
			n := first[id][to]
			if acked[id] && n != 1 || n > 1 {
				t.Errorf("%s: acknowledged %v, %s has it %d times", id, acked[id], to, n)
			}
		}
		if acked[id] {
			done++
		}
	}
	if open := len(tried) - done; open < clients/2 || done == 0 {
		t.Errorf("%d messages were under way, and %d done", open, done)
	}
	// The clients send again what was not acknowledged.
	_, addr = startChild(t, up.Addr)
	for id := range tried {
		if !acked[id] {
			if code, err := sendQuietly(addr, id); code != 250 {
				t.Errorf("%s: %d %v", id, code, err)
			}
		}
	}
	settled(up)
	again := 0
	for id, count := range has() {
		for _, to := range both {
			if count[to] < 1 || count[to] > 1 && acked[id] {
				t.Errorf("%s: acknowledged %v, %s has it %d times at the end", id, acked[id], to, count[to])
			}
			if count[to] > 1 {
				again++
			}
		}
	}
	t.Logf("%d messages acknowledged, %d under way; after these were sent again %d copies are double", done, len(tried)-done, again)
}

// settled waits until an upstream gets no more.
func settled(up *mailtest.Server) {
	for n := -1; n != len(up.Got()); time.Sleep(200 * time.Millisecond) {
		n = len(up.Got())
	}
}

// sendQuietly sends a message, and returns the reply to it; 0 when there was none.
func sendQuietly(addr, id string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	br := bufio.NewReader(conn)
	message := strings.Replace(note, "Subject:", "Message-ID: <"+id+">\r\nSubject:", 1)
	code := 0
	for _, line := range []string{"", "EHLO client.test", "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.org>", "RCPT TO:<dave@elsewhere.test>", "DATA",
		strings.ReplaceAll(message, "\r\n.", "\r\n..") + "."} {
		if line != "" {
			if _, err = io.WriteString(conn, line+"\r\n"); err != nil {
				return 0, err
			}
		}
		for text := "-"; len(text) < 4 || text[3] == '-'; {
			if text, err = br.ReadString('\n'); err != nil {
				return 0, err
			}
			if _, err = fmt.Sscanf(text, "%d", &code); err != nil {
				return 0, err
			}
		}
		if code >= 400 {
			return code, nil
		}
	}
	return code, nil
}
