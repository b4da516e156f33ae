package smtpproxy

import (
	cryptotls "crypto/tls"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/tls"
)

// idleServer greets, answers EHLO and STARTTLS of TLS from the start, and says no
// more: a server whose memory is not that of the proxy.
func idleServer(t testing.TB, config *cryptotls.Config) string {
	t.Helper()
	return mailtest.Answer(cryptotls.NewListener(mailtest.Listen(t), config), func(conn net.Conn) {
		buf := make([]byte, 512)
		_, _ = conn.Write([]byte("220 up.test ESMTP\r\n"))
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			_, _ = conn.Write([]byte("250-up.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n"))
		}
	})
}

// TestConnections has many clients at once, with TLS on both sides, that are served
// and stay. POSTSEAL_CONNECTIONS says how many; 2,000 is what the proxy has to
// stand. The memory is that of the whole test: client, proxy, and server.
func TestConnections(t *testing.T) {
	count := 100
	if text := os.Getenv("POSTSEAL_CONNECTIONS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := mailtest.NewWorld(t, "alice", "bob")
	h := mailtest.NewHost(t)
	p := proxyOf(t, w, mailtest.Everything(t))
	p.Connect = dialer(h, idleServer(t, h.Server), tls.Implicit)
	at := serveMode(t, p, h, tls.StartTLS)
	before := memory()
	goroutines := runtime.NumGoroutine()
	clients := make([]*client, count)
	var running sync.WaitGroup
	slots := make(chan struct{}, 50) // handshakes at a time: the others wait
	begin := time.Now()
	for i := range count {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c := dial(t, at)
			c.say("EHLO client.test", 250)
			c.startTLS(h.Client)
			c.say("EHLO client.test", 250)
			clients[i] = c
		})
	}
	running.Wait()
	took := time.Since(begin)
	after := memory()
	per := (int64(after) - int64(before)) / int64(count)
	threads := float64(runtime.NumGoroutine()-goroutines) / float64(count)
	// One goroutine of these is the server's, which the proxy does not have.
	t.Logf("%d connections in %v; %d KiB and %.1f goroutines for each of them, with client and server", count, took, per>>10, threads)
	if threads > 4 {
		t.Errorf("%.1f goroutines for each connection", threads)
	}
	if most := int64(200 << 10); per > most && count >= 1000 {
		t.Errorf("%d octets for each connection", per)
	}
	// All of them are still there.
	for _, c := range clients {
		c.say("NOOP", 250)
	}
	for _, c := range clients {
		c.send("QUIT\r\n")
	}
	for _, c := range clients {
		c.expect(221)
	}
}

// memory returns the heap and the stacks that are in use, in octets.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
