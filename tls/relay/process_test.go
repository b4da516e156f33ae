package relay_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// TestProcess has ten thousand connections relayed by one process of their own,
// and prints what that process holds for each of them: all of it, with what
// crypto/tls and the runtime take. Its peers are in this process. As many as the
// limit of files allows have sockets on both sides, and the few that are left are
// between ends in memory.
func TestProcess(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes more memory than a relay")
	}
	total := 200
	if os.Getenv(manyVariable) != "" {
		total = 10000
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { process(t, m, total) })
	}
}

// state is what a process holds.
type state struct{ memory, resident, goroutines uint64 }

func (c child) state(t *testing.T) (s state) {
	t.Helper()
	if _, err := fmt.Sscan(c.say(t, "state"), &s.memory, &s.resident, &s.goroutines); err != nil {
		t.Fatal(err)
	}
	return s
}

func process(t *testing.T, m mode, total int) {
	up := startUpstream(t, m.upTLS)
	addr, relays := startProxy(t, m, up.addr)
	sockets := min(total, (filesPossible()-100)/2)
	before := relays.state(t)
	ends := connectAll(t, up, m, addr, sockets)
	if left := total - sockets; left > 0 {
		relays.say(t, "more %d", left)
	}
	time.Sleep(200 * time.Millisecond) // and nothing happens
	idle := relays.state(t)
	each := func(after, before uint64) float64 { return (float64(after) - float64(before)) / 1024 / float64(total) }
	t.Logf("%s: %d idle relayed connections in one process, %d of them with sockets: %.1f KiB each, %.1f KiB as the system counts, %.2f goroutines",
		m.name, total, sockets, each(idle.memory, before.memory), each(idle.resident, before.resident), each(idle.goroutines, before.goroutines)*1024)
	if got := each(idle.memory, before.memory); got > 100 {
		t.Errorf("that is more than 100 KiB")
	}
	// All of them still work.
	for i, e := range ends {
		for j := range 2 {
			if _, err := e[j].Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, e := range ends {
		for j := range 2 {
			var octet [1]byte
			if _, err := io.ReadFull(e[j], octet[:]); err != nil || octet[0] != byte(i) {
				t.Fatalf("connection %d: %d, %v", i, octet[0], err)
			}
		}
	}
	for _, e := range ends {
		_, _ = e[0].Close(), e[1].Close()
	}
	// When they have gone the process is as it was.
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if after := relays.state(t); after.goroutines <= before.goroutines+2*uint64(total-sockets)+2 {
			break
		} else if time.Since(start) > patience {
			t.Fatalf("%d goroutines are left of %d", after.goroutines, idle.goroutines)
		}
	}
}

// connectAll makes connections through a proxy. The ends come in pairs.
func connectAll(t *testing.T, up *upstream, m mode, addr string, count int) [][2]net.Conn {
	t.Helper()
	ends := make([][2]net.Conn, count)
	cache := tls.NewLRUClientSessionCache(8)
	var group sync.WaitGroup
	// The upstream tells by the first octets who has come.
	byNumber := make(chan struct{})
	go func() {
		defer close(byNumber)
		for range count {
			server := <-up.conns
			group.Go(func() {
				var name [4]byte
				if _, err := io.ReadFull(server, name[:]); err != nil {
					t.Error(err)
					return
				}
				ends[binary.BigEndian.Uint32(name[:])][1] = server
			})
		}
	}()
	var clients sync.WaitGroup
	for w := range 8 {
		clients.Go(func() {
			for n := w; n < count; n += 8 {
				client, err := net.Dial("tcp", addr)
				if err == nil && m.clientTLS {
					config := clientConfig(tls.VersionTLS13)
					config.ClientSessionCache = cache
					client = tls.Client(client, config)
				}
				if err == nil {
					_, err = client.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
				}
				if err != nil {
					t.Error(err)
					return
				}
				ends[n][0] = client
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		t.FailNow()
	}
	<-byNumber
	group.Wait()
	return ends
}
