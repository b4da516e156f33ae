package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/internal/facts"
)

// A server listens, and serves connections by its current state.
type server struct {
	log *slog.Logger
	kept

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
	kind    string // config.TProxy or not
	nth     int    // of those with this address, as port 0 may be there twice
	service *service
}

// newServer starts to listen, and to serve.
func newServer(ctx context.Context, c *config.Config, log *slog.Logger) (*server, error) {
	s := &server{log: log, open: make(map[net.Conn]string), perClient: make(map[string]int), kept: kept{memory: facts.NewMemory()}}
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
	next, err := newState(ctx, c, &s.kept, s.log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old, before := s.state, s.listeners
	s.mu.Unlock()
	var after, fresh []*listener
	count := make(map[string]int)
	stay := make(map[*listener]*service)
	for _, sv := range next.services {
		address := sv.conf.Address
		nth := count[address]
		count[address]++
		if l := find(before, sv.conf, nth); l != nil {
			stay[l] = sv
			sv.port = upstream.AddrPort(l.Addr()).Port()
			after = append(after, l)
			continue
		}
		socket, listenErr := listen(ctx, sv.conf)
		if listenErr != nil {
			for _, l := range fresh {
				_ = l.Close() // nobody has connected
			}
			next.release()
			return &listenError{address, listenErr}
		}
		sv.port = upstream.AddrPort(socket.Addr()).Port()
		l := &listener{Listener: socket, address: address, kind: sv.conf.Transparent, nth: nth, service: sv}
		fresh, after = append(fresh, l), append(after, l)
	}
	s.mu.Lock()
	for l, sv := range stay {
		l.service = sv
	}
	s.state, s.listeners = next, after
	s.mu.Unlock()
	for _, l := range before {
		if stay[l] == nil {
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

// find returns the listener that has the socket that a configuration wants.
func find(list []*listener, conf *config.Listener, nth int) *listener {
	for _, l := range list {
		if l.address == conf.Address && (l.kind == config.TProxy) == (conf.Transparent == config.TProxy) && l.nth == nth {
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
	from := upstream.AddrPort(conn.RemoteAddr())
	client := from.Addr().String()
	s.mu.Lock()
	st, sv := s.state, l.service
	if sv.proxied(from) {
		client = "" // it is not counted before it is known
	}
	full := len(s.open) >= st.conf.Limits.Connections || s.tooMany(st, client)
	if full || s.ctx.Err() != nil {
		s.mu.Unlock()
		s.refuse(conn, client, full)
		return
	}
	s.open[conn] = client
	s.perClient[client]++
	st.use()
	s.wg.Go(func() {
		defer s.end(st, conn)
		s.serve(sv, conn)
	})
	s.mu.Unlock()
}

// tooMany reports whether a client has as many connections as it may have.
func (s *server) tooMany(st *state, client string) bool {
	most := st.conf.Limits.PerAddress
	return most > 0 && client != "" && s.perClient[client] >= most
}

func (s *server) refuse(conn net.Conn, client string, full bool) {
	s.metrics.refused.Add(1)
	if full {
		s.log.Warn("a connection was refused: there are too many", "client", client)
	}
	_ = conn.Close() // nothing was said
}

// known notes the client of a connection that another proxy has made. It reports
// false when there are too many of that client.
func (s *server) known(sv *service, conn net.Conn, c *upstream.Client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[conn] != "" {
		return true
	}
	client := c.Addr.Addr().String()
	if s.tooMany(sv.state, client) {
		return false
	}
	s.forget(conn)
	s.open[conn] = client
	s.perClient[client]++
	return true
}

// forget takes a connection out of the count of its client.
func (s *server) forget(conn net.Conn) {
	client := s.open[conn]
	if s.perClient[client]--; s.perClient[client] == 0 {
		delete(s.perClient, client)
	}
	delete(s.open, conn)
}

func (s *server) end(st *state, conn net.Conn) {
	s.mu.Lock()
	s.forget(conn)
	s.mu.Unlock()
	_ = conn.Close() // it is, usually
	st.release()
}

// serve serves a client until it leaves.
func (s *server) serve(sv *service, conn net.Conn) {
	n := protocolIndex(sv.conf.Protocol)
	s.metrics.accepted[n].Add(1)
	s.metrics.open[n].Add(1)
	defer s.metrics.open[n].Add(-1)
	if run := s.meet(sv, conn); run != nil {
		run()
	}
}

// meet finds out who a client is, and returns what serves it; nil when it is not
// served.
func (s *server) meet(sv *service, conn net.Conn) func() {
	over, client, err := sv.meet(s.ctx, conn)
	if err == nil && s.loops.Is(client.Peer, client.To) {
		err = upstream.ErrLoop
	}
	if err != nil {
		s.metrics.refused.Add(1)
		s.log.Warn("a connection was refused", "protocol", sv.conf.Protocol, "client", upstream.AddrPort(conn.RemoteAddr()).Addr().String(), "error", err)
		return nil
	}
	if !s.known(sv, conn, client) {
		s.refuse(conn, client.Addr.Addr().String(), true)
		return nil
	}
	return sv.serving(s.ctx, over, client)
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
