package main

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// A server listens, and serves connections by its current state.
type server struct {
	log     *slog.Logger
	metrics metrics
	memory  memory

	ctx    context.Context // that of connections, which are to end when it is done
	cancel context.CancelFunc
	wg     sync.WaitGroup // of connections and accept loops

	mu        sync.Mutex
	state     *state
	listeners []*listener
	open      map[net.Conn]string // with the address of the client
	perClient map[string]int
}

// A listener is a socket, which outlives configurations.
type listener struct {
	net.Listener
	address string // as configured
	nth     int    // of those with this address, as port 0 may be there twice
	service *service
}

// newServer starts to listen, and to serve.
func newServer(ctx context.Context, c *config.Config, log *slog.Logger) (*server, error) {
	s := &server{log: log, open: make(map[net.Conn]string), perClient: make(map[string]int)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.load(ctx, c); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// load puts a configuration in the place of the current one, or changes nothing
// when it returns an error.
func (s *server) load(ctx context.Context, c *config.Config) error {
	next, err := newState(ctx, c, &s.memory, &s.metrics, s.log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old, before := s.state, s.listeners
	s.mu.Unlock()
	var after, fresh []*listener
	count := make(map[string]int)
	kept := make(map[*listener]*service)
	for _, sv := range next.services {
		address := sv.conf.Address
		nth := count[address]
		count[address]++
		if l := find(before, address, nth); l != nil {
			kept[l] = sv
			after = append(after, l)
			continue
		}
		socket, listenErr := net.Listen("tcp", address)
		if listenErr != nil {
			for _, l := range fresh {
				_ = l.Close() // nobody has connected
			}
			next.release()
			return &listenError{address, listenErr}
		}
		l := &listener{Listener: socket, address: address, nth: nth, service: sv}
		fresh, after = append(fresh, l), append(after, l)
	}
	s.mu.Lock()
	for l, sv := range kept {
		l.service = sv
	}
	s.state, s.listeners = next, after
	s.mu.Unlock()
	for _, l := range before {
		if kept[l] == nil {
			_ = l.Close() // its connections go on
		}
	}
	if old != nil {
		old.release()
	}
	for _, l := range fresh {
		s.log.Info("listening", "protocol", l.service.conf.Protocol, "address", l.Addr().String(), "mode", l.service.conf.Mode.String())
		s.wg.Go(func() { s.accept(l) })
	}
	return nil
}

func find(list []*listener, address string, nth int) *listener {
	for _, l := range list {
		if l.address == address && l.nth == nth {
			return l
		}
	}
	return nil
}

// addresses returns where the listeners of the configuration listen, in its order.
func (s *server) addresses() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.Addr()
	}
	return out
}

// Pauses after Accept has failed, as when there are no more file descriptors.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

func (s *server) accept(l *listener) {
	pause := firstPause
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = firstPause
			s.begin(l, conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Error("a connection cannot be accepted", "address", l.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// begin serves a connection, or closes it when there are too many.
func (s *server) begin(l *listener, conn net.Conn) {
	client := clientOf(conn)
	s.mu.Lock()
	st, sv := s.state, l.service
	limits := st.conf.Limits
	full := len(s.open) >= limits.Connections || limits.PerAddress > 0 && s.perClient[client] >= limits.PerAddress
	if full || s.ctx.Err() != nil {
		s.mu.Unlock()
		s.metrics.refused.Add(1)
		s.log.Warn("a connection was refused: there are too many", "client", client)
		_ = conn.Close() // nothing was said
		return
	}
	s.open[conn] = client
	s.perClient[client]++
	st.use()
	s.wg.Go(func() {
		defer s.end(st, conn)
		s.serve(st, sv, conn)
	})
	s.mu.Unlock()
}

// clientOf returns the address of a client without its port.
func clientOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

func (s *server) end(st *state, conn net.Conn) {
	s.mu.Lock()
	client := s.open[conn]
	delete(s.open, conn)
	if s.perClient[client]--; s.perClient[client] == 0 {
		delete(s.perClient, client)
	}
	s.mu.Unlock()
	_ = conn.Close() // it is, usually
	st.release()
}

func (s *server) serve(st *state, sv *service, conn net.Conn) {
	n := protocolIndex(sv.conf.Protocol)
	s.metrics.accepted[n].Add(1)
	s.metrics.open[n].Add(1)
	defer s.metrics.open[n].Add(-1)
	if sv.conf.Mode == tls.Implicit {
		over := cryptotls.Server(conn, sv.tls)
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(st.conf.Limits.Handshake))
		err := over.HandshakeContext(ctx)
		cancel()
		if err != nil {
			s.metrics.handshakeFailures.Add(1)
			s.log.Info("a TLS handshake failed", "client", clientOf(conn), "error", err)
			return
		}
		conn = over
	}
	sv.serve(s.ctx, conn)
}

// lastWait is how long connections that were cut off may take to notice it.
const lastWait = 5 * time.Second

// drain stops listening, tells connections to end, waits for them, and closes
// those that are still there when the time that the configuration gives them is
// over. It reports how many these were.
func (s *server) drain() int {
	s.mu.Lock()
	st := s.state
	for _, l := range s.listeners {
		_ = l.Close() // there is nothing to lose
	}
	s.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	cut := 0
	timer := time.NewTimer(time.Duration(st.conf.Server.Drain))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.mu.Lock()
		for conn := range s.open {
			_ = conn.Close() // its time is over
			cut++
		}
		s.mu.Unlock()
		select {
		case <-done:
		case <-time.After(lastWait): // for mail servers that do not answer
		}
	}
	st.release()
	return cut
}
