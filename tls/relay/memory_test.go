package relay_test

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

// manyVariable asks for all of the relays also where they take long to set up.
const manyVariable = "POSTSEAL_RELAY_MANY"

// TestManyIdle relays ten thousand connections at once, and prints what one
// takes beside its connections: first idle from the start, and then after
// traffic. As many as the limit of files allows have sockets, the others exist
// in memory alone.
func TestManyIdle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes more memory than a relay")
	}
	count := 10000
	t.Run("plain", func(t *testing.T) { manyIdle(t, plain, plain, count, 12<<10) })
	if os.Getenv(manyVariable) == "" {
		count = 300 // handshakes take time
	}
	t.Run("TLS 1.3", func(t *testing.T) { manyIdle(t, server13, client13, count, 64<<10) })
	t.Run("TLS 1.2", func(t *testing.T) { manyIdle(t, server12, client12, count, 64<<10) })
}

// A relayed is a relay and the connections of its peers.
type relayed struct {
	near, far [2]net.Conn
	done      <-chan outcome
}

func manyIdle(t *testing.T, a, b kind, count int, ceiling uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := inUse()
	all := make([]relayed, count)
	sockets := min(count, (filesPossible()-200)/4)
	var group sync.WaitGroup
	for w := range 2 {
		group.Go(func() {
			for i := w; i < count; i += 2 {
				all[i].near[0], all[i].far[0] = cheapPair(t, a, i < sockets)
				all[i].near[1], all[i].far[1] = cheapPair(t, b, i < sockets)
			}
		})
	}
	group.Wait()
	connected := inUse()
	for i := range all {
		all[i].done = start(t, ctx, all[i].near[0], all[i].near[1], &relay.Options{Idle: time.Hour})
	}
	figure := func(when string) uint64 {
		each := (inUse() - connected) / uint64(count)
		t.Logf("%d idle relays, %d of them with sockets, %s: %.1f KiB each", count, sockets, when, float64(each)/1024)
		return each
	}
	t.Logf("their four connections, two of them of the peers, before: %.1f KiB", float64(connected-before)/1024/float64(count))
	talk(t, all, 1)
	each := figure("after one octet each way")
	talk(t, all, 1<<10)
	figure("after 1 KiB each way")
	if a.version != 0 {
		talk(t, all, 128<<10)
		figure("after 128 KiB each way, with what crypto/tls of peers and relay keeps after long records")
	}
	if each > ceiling {
		t.Errorf("a relay takes %d octets, more than %d", each, ceiling)
	}
	cancel()
	for i := range all {
		wantError(t, wait(t, all[i].done).err, relay.Neither, relay.OpWait, context.Canceled)
		_, _ = all[i].far[0].Close(), all[i].far[1].Close()
	}
}

// talk sends n octets each way through every relay.
func talk(t *testing.T, all []relayed, n int) {
	message, answer := make([]byte, n), make([]byte, n)
	for i := range all {
		for j := range 2 {
			sent := make(chan error, 1)
			go func() {
				_, err := all[i].far[j].Write(message)
				sent <- err
			}()
			if _, err := io.ReadFull(all[i].far[1-j], answer); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// cheapPair is as pair, and makes connections without sockets too.
func cheapPair(t *testing.T, k kind, socket bool) (near, far net.Conn) {
	if socket {
		near, far = tcpPair(t)
	} else {
		near, far = memPair()
	}
	if k.version == 0 {
		return near, far
	}
	near, far = handshake(t, k, near, far)
	return near, far
}

// inUse returns how much memory the program holds: heap and stacks.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
