package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

// proxyVariable makes this program a proxy: "MODE UPSTREAM CERT KEY".
const proxyVariable = "POSTSEAL_RELAY_PROXY"

// runProxy is a proxy of its own process. It prints its address, takes commands on
// its standard input, and ends with it.
func runProxy(args string) {
	words := strings.Fields(args)
	cert, err := tls.LoadX509KeyPair(words[2], words[3])
	must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(ln.Addr())
	p := &proxyProcess{
		mode: words[0], upstream: words[1], server: &tls.Config{Certificates: []tls.Certificate{cert}},
		client: &tls.Config{InsecureSkipVerify: true, ServerName: "relay.example", ClientSessionCache: tls.NewLRUClientSessionCache(8)},
	}
	go p.obey()
	for {
		near, acceptErr := ln.Accept()
		must(acceptErr)
		go func() {
			far, dialErr := net.Dial("tcp", p.upstream)
			must(dialErr)
			p.relay(near, far)
		}()
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type proxyProcess struct {
	mode, upstream string // mode has t or p for each side
	server, client *tls.Config
}

func (p *proxyProcess) relay(near, far net.Conn) {
	if p.mode[0] == 't' {
		near = tls.Server(relay.NewTransport(near), p.server)
		must(near.(*tls.Conn).Handshake())
	}
	if p.mode[1] == 't' {
		far = tls.Client(relay.NewTransport(far), p.client)
		must(far.(*tls.Conn).Handshake())
	}
	_, _ = relay.Run(context.Background(), near, far, &relay.Options{Idle: time.Hour})
}

// obey takes commands: "state" prints what the process holds, and "more N" relays
// N connections more, between ends in memory that say nothing.
func (p *proxyProcess) obey() {
	in := bufio.NewScanner(os.Stdin)
	var ends []net.Conn
	for in.Scan() {
		n := 0
		if _, err := fmt.Sscanf(in.Text(), "more %d", &n); err == nil {
			ends = append(ends, p.more(n)...)
			fmt.Println("done")
			continue
		}
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(m.HeapInuse+m.StackInuse, residentSize(), runtime.NumGoroutine())
	}
	runtime.KeepAlive(ends)
	os.Exit(0) // ends with the test
}

func (p *proxyProcess) more(n int) []net.Conn {
	var group sync.WaitGroup
	ends := make([]net.Conn, 2*n)
	for i := range n {
		near, a := memPair()
		far, b := memPair()
		ends[2*i], ends[2*i+1] = a, b
		go p.relay(near, far)
		if p.mode[0] == 't' {
			ends[2*i] = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
		}
		if p.mode[1] == 't' {
			ends[2*i+1] = tls.Server(b, p.server)
		}
		for _, end := range ends[2*i : 2*i+2] {
			if c, ok := end.(*tls.Conn); ok {
				group.Go(func() { must(c.Handshake()) })
			}
		}
		group.Wait()
	}
	return ends
}

// residentSize returns how much memory the process has, in octets; 0 where the
// system does not say.
func residentSize() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident uint64
	if _, err = fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}

// A child is a program that ends with the test.
type child struct {
	stdin  io.Writer
	stdout *bufio.Reader
}

func spawn(tb testing.TB, env []string, name string, args ...string) child {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = io.Discard
	cmd.WaitDelay = 5 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Signal(terminate)
		_ = cmd.Wait()
	})
	return child{stdin, bufio.NewReader(stdout)}
}

func startRelay(tb testing.TB, m mode, upstream string) (string, bool) {
	addr, _ := startProxy(tb, m, upstream)
	return addr, true
}

// startProxy starts this program as a proxy.
func startProxy(tb testing.TB, m mode, upstream string) (string, child) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	word := map[bool]string{false: "p", true: "t"}
	cert, key := credentialFiles(tb)
	c := spawn(tb, []string{proxyVariable + "=" + strings.Join([]string{word[m.clientTLS] + word[m.upTLS], upstream, cert, key}, " ")}, self)
	return c.line(tb), c
}

// line reads one line.
func (c child) line(tb testing.TB) string {
	tb.Helper()
	text, err := c.stdout.ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// say gives a command and returns the answer.
func (c child) say(tb testing.TB, format string, args ...any) string {
	tb.Helper()
	if _, err := fmt.Fprintf(c.stdin, format+"\n", args...); err != nil {
		tb.Fatal(err)
	}
	return c.line(tb)
}
