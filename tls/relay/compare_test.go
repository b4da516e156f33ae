package relay_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// compareVariable asks for the comparison.
const compareVariable = "POSTSEAL_RELAY_COMPARE"

// A mode is what a proxy has on its two sides.
type mode struct {
	name             string
	clientTLS, upTLS bool
}

var modes = []mode{{"plain to plain", false, false}, {"TLS to plain", true, false}, {"plain to TLS", false, true}, {"TLS to TLS", true, true}}

// A proxy is started with its upstream, and has an address.
type proxy struct {
	name  string
	start func(tb testing.TB, m mode, upstream string) (addr string, ok bool)
}

var proxies = []proxy{
	{"relay", startRelay},
	{"nginx", func(tb testing.TB, m mode, upstream string) (string, bool) { return startNginx(tb, m, upstream, "16k") }},
	{"nginx, 64k buffers", func(tb testing.TB, m mode, upstream string) (string, bool) { return startNginx(tb, m, upstream, "64k") }},
	{"stunnel", startStunnel},
}

func startNginx(tb testing.TB, m mode, upstream, buffer string) (string, bool) {
	look(tb, "nginx", "nginx-light and libnginx-mod-stream")
	addr, dir := freeAddress(tb), tb.TempDir()
	cert, key := credentialFiles(tb)
	conf := "pid " + dir + "/pid;\nerror_log stderr crit;\nworker_processes 2;\n" +
		"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nevents {}\nstream { server {\n"
	if m.clientTLS {
		conf += "listen " + addr + " ssl;\nssl_certificate " + cert + ";\nssl_certificate_key " + key + ";\nssl_protocols TLSv1.3;\n"
	} else {
		conf += "listen " + addr + ";\n"
	}
	if m.upTLS {
		conf += "proxy_ssl on;\nproxy_ssl_protocols TLSv1.3;\n"
	}
	conf += "proxy_buffer_size " + buffer + ";\nproxy_pass " + upstream + ";\n} }\n"
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	spawn(tb, nil, "nginx", "-e", "stderr", "-p", dir, "-c", file, "-g", "daemon off;")
	waitFor(tb, addr)
	return addr, true
}

func startStunnel(tb testing.TB, m mode, upstream string) (string, bool) {
	look(tb, "stunnel", "stunnel4")
	if m.clientTLS == m.upTLS {
		return "", false // it has TLS on exactly one side
	}
	addr := freeAddress(tb)
	cert, key := credentialFiles(tb)
	conf := "foreground = yes\npid =\ndebug = 0\n[relay]\naccept = " + addr + "\nconnect = " + upstream +
		"\nciphersuites = TLS_AES_128_GCM_SHA256\n"
	if m.upTLS {
		conf += "client = yes\n"
	} else {
		conf += "cert = " + cert + "\nkey = " + key + "\n"
	}
	file := filepath.Join(tb.TempDir(), "stunnel.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	spawn(tb, nil, "stunnel", file)
	waitFor(tb, addr)
	return addr, true
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// waitFor waits until somebody listens.
func waitFor(tb testing.TB, addr string) {
	tb.Helper()
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
	}
	tb.Fatalf("nobody listens on %s", addr)
}

// slowest is how slow the relay may be beside the others; at less the test fails.
// It is faster, but other programs on the machine make figures vary.
const slowest = 0.75

// TestCompare prints how long this and other proxies take for the same work, in
// one run. It takes half a minute.
func TestCompare(t *testing.T) {
	if os.Getenv(compareVariable) == "" {
		t.Skip("set " + compareVariable + "=1 to compare the throughput with that of nginx and stunnel")
	}
	const rounds, size = 7, 64 << 20
	for _, m := range modes {
		for _, connections := range []int{1, 8} {
			took := make([][]time.Duration, len(proxies))
			upstream := startUpstream(t, m.upTLS)
			addrs := make([]string, len(proxies))
			for i, p := range proxies {
				if addr, ok := p.start(t, m, upstream.addr); ok {
					addrs[i] = addr
				}
			}
			for range rounds {
				for i := range proxies {
					if addrs[i] != "" {
						took[i] = append(took[i], upstream.measure(t, m, addrs[i], connections, size/int64(connections)))
					}
				}
			}
			var ours time.Duration
			for i, p := range proxies {
				if len(took[i]) == 0 {
					continue
				}
				slices.Sort(took[i])
				median := took[i][len(took[i])/2]
				if i == 0 {
					ours = median
				}
				if median.Seconds()/ours.Seconds() < slowest {
					t.Errorf("%s is faster", p.name)
				}
				t.Logf("%-15s %d connections  %-20s %7.0f MB/s, relay is %.2f times as fast", m.name, connections, p.name,
					2*size/1e6/median.Seconds(), median.Seconds()/ours.Seconds())
			}
		}
	}
}

// An upstream accepts what comes through a proxy.
type upstream struct {
	addr  string
	conns chan net.Conn
}

func startUpstream(t *testing.T, withTLS bool) *upstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: ln.Addr().String(), conns: make(chan net.Conn, 64)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, acceptErr := ln.Accept()
			if acceptErr != nil {
				return
			}
			if withTLS {
				c = tls.Server(c, serverConfig(tls.VersionTLS13))
			}
			u.conns <- c
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return u
}

// connect makes one connection through a proxy.
func (u *upstream) connect(t *testing.T, m mode, addr string) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if m.clientTLS {
		client = tls.Client(client, clientConfig(tls.VersionTLS13))
	}
	hello := []byte("hello")
	for {
		if _, err = client.Write(hello); err != nil {
			t.Fatal(err)
		}
		server = <-u.conns
		// The probe for a listener may have come through as well: it says nothing.
		if _, err = io.ReadFull(server, make([]byte, len(hello))); err == nil {
			return client, server
		}
		_ = server.Close()
		hello = hello[:0]
	}
}

// measure moves n octets each way on each of the connections, all at once.
func (u *upstream) measure(t *testing.T, m mode, addr string, connections int, n int64) time.Duration {
	t.Helper()
	for len(u.conns) > 0 {
		_ = (<-u.conns).Close()
	}
	var ends [][2]net.Conn
	for range connections {
		client, server := u.connect(t, m, addr)
		ends = append(ends, [2]net.Conn{client, server}, [2]net.Conn{server, client})
	}
	start := time.Now()
	var group sync.WaitGroup
	for _, e := range ends {
		group.Go(func() {
			p := make([]byte, 64<<10)
			for left := n; left > 0; left -= int64(len(p)) {
				if _, err := e[0].Write(p); err != nil {
					t.Errorf("writing: %v", err)
					return
				}
			}
		})
		group.Go(func() {
			if got, err := io.CopyN(struct{ io.Writer }{io.Discard}, e[1], n); err != nil {
				t.Errorf("after %d octets: %v", got, err)
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	for _, e := range ends {
		_ = e[0].Close()
	}
	return took
}
