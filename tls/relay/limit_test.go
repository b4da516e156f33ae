package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/postseal/postseal/tls/relay"
)

var timeZero time.Time

// brief is long enough for a loaded machine to do something small.
const brief = time.Second

// TestIdle has two peers that say nothing.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, a := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, a)
		nearB, farB := pair(t, plain)
		write(t, farA, "x")
		started := time.Now()
		done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: brief})
		expect(t, farB, "x")
		o := wait(t, done)
		wantError(t, o.err, relay.Neither, relay.OpWait, relay.ErrIdle)
		if took := time.Since(started); took < brief || took > 20*brief {
			t.Errorf("it took %v", took)
		}
		if o.First != relay.Neither || o.AToB.Bytes != 1 || !errors.Is(o.AToB.Err, relay.ErrIdle) || !errors.Is(o.BToA.Err, relay.ErrIdle) {
			t.Errorf("%+v", o)
		}
	}
}

// TestIdleBlocked has a peer that vanishes: it neither reads nor closes.
func TestIdleBlocked(t *testing.T) {
	t.Parallel()
	for _, b := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, plain)
		nearB, _ := pair(t, b)
		write(t, farA, "x")
		done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: brief})
		n, err := writePlenty(farA)
		if err == nil {
			t.Errorf("%d octets went to nobody", n)
		}
		o := wait(t, done)
		wantError(t, o.err, relay.B, relay.OpWrite, relay.ErrIdle)
		if o.First != relay.Neither || o.AToB.Bytes == 0 {
			t.Errorf("%+v", o)
		}
	}
}

// TestProgress moves one octet at a time in one direction, which is progress
// for both, also when the other direction is blocked or closed.
func TestProgress(t *testing.T) { // not beside others, which could hold it up
	for _, closed := range []bool{false, true} {
		nearA, farA := pair(t, server13)
		nearB, farB := pair(t, plain)
		limits := &relay.Options{Idle: brief}
		if closed {
			limits = &relay.Options{Idle: time.Hour, Linger: brief}
		}
		done := start(t, t.Context(), nearA, nearB, limits)
		if closed {
			sendAll(t, farB, noise(1, 0))
			expectEnd(t, farA)
		}
		for end := time.Now().Add(4 * brief); time.Now().Before(end); time.Sleep(brief / 10) {
			write(t, farA, "x")
			expect(t, farB, "x")
		}
		o := wait(t, done)
		if closed {
			wantError(t, o.err, relay.Neither, relay.OpWait, relay.ErrLinger)
		} else {
			wantError(t, o.err, relay.Neither, relay.OpWait, relay.ErrIdle)
		}
		if o.Duration < 4*brief {
			t.Errorf("it ended after %v", o.Duration)
		}
		if closed != (o.BToA.Err == nil) || o.AToB.Err == nil {
			t.Errorf("%+v", o)
		}
	}
}

// TestSlowReader takes a little at a time; the octets that move are progress,
// though no chunk is finished for long.
func TestSlowReader(t *testing.T) { // not beside others, which could hold it up
	nearA, farA := pair(t, plain)
	nearB, farB := pair(t, server13)
	tcp := nearB.(*tls.Conn).NetConn().(*relay.Transport).NetConn().(*net.TCPConn)
	if err := errors.Join(tcp.SetWriteBuffer(64<<10), farB.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(64<<10)); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 16<<10)
	done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: 2 * brief})
	go func() { _, _ = writePlenty(farA) }()
	for end := time.Now().Add(5 * brief); time.Now().Before(end); time.Sleep(brief / 60) {
		if _, err := io.ReadFull(farB, part); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, wait(t, done).err, relay.B, relay.OpWrite, relay.ErrIdle)
}

// TestLinger ends one direction and leaves the other open.
func TestLinger(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, -1} {
		nearA, farA := pair(t, client13)
		nearB, farB := pair(t, server12)
		done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: idle, Linger: brief})
		sendAll(t, farA, noise(1, 1000))
		if _, n := sumOf(t, farB); n != 1000 {
			t.Errorf("%d octets", n)
		}
		o := wait(t, done)
		wantError(t, o.err, relay.Neither, relay.OpWait, relay.ErrLinger)
		wantError(t, o.BToA.Err, relay.Neither, relay.OpWait, relay.ErrLinger)
		if o.AToB.Err != nil || o.First != relay.A {
			t.Errorf("%+v", o)
		}
	}
}

// TestTotal keeps a relay busy beyond its time.
func TestTotal(t *testing.T) {
	t.Parallel()
	nearA, farA := pair(t, server13)
	nearB, farB := pair(t, plain)
	done := start(t, t.Context(), nearA, nearB, &relay.Options{Idle: -1, Linger: -1, Total: 2 * brief})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		p := make([]byte, 1000)
		for {
			if _, err := farA.Write(p); err != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(io.Discard, farB)
	o := wait(t, done)
	if e := (*relay.Error)(nil); !errors.As(o.err, &e) || e.Err != relay.ErrTotal {
		t.Errorf("error is %v", o.err)
	}
	if o.First != relay.Neither || o.Duration < 2*brief || o.Duration > 20*brief {
		t.Errorf("%+v", o)
	}
	<-sent
}

// TestCancelBlocked ends a relay of which both directions are blocked.
func TestCancelBlocked(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, k)
		nearB, farB := pair(t, k)
		ctx, cancel := context.WithCancel(t.Context())
		done := start(t, ctx, nearA, nearB, nil)
		ended := make(chan error, 2)
		for _, c := range []net.Conn{farA, farB} {
			go func() {
				_, err := writePlenty(c)
				ended <- err
			}()
		}
		time.Sleep(brief)
		cancel()
		wantError(t, wait(t, done).err, relay.Neither, relay.OpWait, context.Canceled)
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("64 MiB went to nobody")
			}
		}
	}
}

// TestBothBlocked has both peers write without reading, and then one read.
func TestBothBlocked(t *testing.T) {
	t.Parallel()
	size := int64(ifRace(12<<20, 16<<20))
	for _, k := range []kind{plain, client12, server13} {
		nearA, farA := pair(t, k)
		nearB, farB := pair(t, server13)
		done := start(t, t.Context(), nearA, nearB, nil)
		sent := make(chan struct{}, 2)
		for i, c := range []net.Conn{farA, farB} {
			go func() {
				sendAll(t, c, noise(uint64(i), size))
				sent <- struct{}{}
			}()
		}
		time.Sleep(brief)
		if len(sent) > 0 {
			t.Error("a direction takes more than its buffers")
		}
		for i, c := range []net.Conn{farB, farA} {
			got, n := sumOf(t, c) // all that the one has sent, while the other is blocked
			if want, _ := sumOf(t, noise(uint64(i), size)); got != want || n != size {
				t.Errorf("direction %d: %d octets with another digest", i, n)
			}
		}
		<-sent
		<-sent
		if o := wait(t, done); o.err != nil {
			t.Error(o.err)
		}
	}
}

// TestEarlyData starts a relay when a connection has been used, and what was
// read of it ends within a record and between records.
func TestEarlyData(t *testing.T) {
	for _, k := range []kind{client12, server13} {
		for _, taken := range []int64{1, 511, 512, 1000, 16384, 20000} {
			const size = 300 << 10
			nearA, farA := pair(t, k)
			nearB, farB := pair(t, plain)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				sendAll(t, farA, noise(1, size))
			}()
			if _, err := io.CopyN(io.Discard, nearA, taken); err != nil {
				t.Fatal(err)
			}
			done := start(t, t.Context(), nearA, nearB, nil)
			want := noise(1, size)
			if _, err := io.CopyN(io.Discard, want, taken); err != nil {
				t.Fatal(err)
			}
			wantSum, _ := sumOf(t, want)
			if got, n := sumOf(t, farB); got != wantSum || n != size-taken {
				t.Errorf("%s: %d octets after %d", k.name, n, taken)
			}
			_ = farB.Close()
			<-sent
			if o := wait(t, done); o.err != nil {
				t.Error(o.err)
			}
		}
	}
}

// TestMemory relays between connections without file descriptors.
func TestMemory(t *testing.T) {
	const size = 1<<20 + 3
	for _, a := range []kind{plain, client12, server12, client13, server13} {
		nearA, farA := cheapPair(t, a, false)
		nearB, farB := cheapPair(t, server13, false)
		done := start(t, t.Context(), nearA, nearB, nil)
		exchange(t, farA, farB, size)
		if o := wait(t, done); o.err != nil || o.AToB.Bytes != size || o.BToA.Bytes != size {
			t.Errorf("%s: %+v", a.name, o)
		}
	}
}
