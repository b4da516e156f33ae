package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A session is one run of a relay.
type session struct {
	opts  Options
	start time.Time
	last  atomic.Int64 // when an octet moved last, since start
	side  [2]side
	flow  [2]direction

	// group counts what runs beside the two directions and is not to outlive
	// them: flushes, and the functions of timer and context.
	group sync.WaitGroup

	mu        sync.Mutex
	timer     *time.Timer // nil if there is no limit
	finished  bool        // no function of the timer is to start again
	aborted   bool        // errors of the connections are of our own making
	lingering bool
	first     Side
	err       *Error
}

// touch notes that an octet has moved.
func (s *session) touch() { s.last.Store(int64(time.Since(s.start))) }

func (s *session) run(ctx context.Context) (Result, error) {
	for i := range s.flow {
		s.flow[i].init(s, &s.side[i], &s.side[1-i])
		_ = s.side[i].t.conn.SetDeadline(time.Time{}) // of the handshake; a failure shows at the first use
	}
	s.group.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer s.group.Done()
		s.abort(&Error{Neither, OpWait, context.Cause(ctx)}, true)
	})
	s.startTimer()

	done := make(chan struct{})
	go func() {
		defer close(done)
		s.flow[1].pump(ctx)
	}()
	s.flow[0].pump(ctx)
	<-done

	if stop() {
		s.group.Done()
	}
	s.stopTimer()
	for i := range s.side {
		s.side[i].t.kill(false)
		_ = s.side[i].conn.Close() // it may be more than its transport
	}
	s.group.Wait()

	result := Result{
		AToB: s.flow[0].result, BToA: s.flow[1].result,
		First: s.first, Duration: time.Since(s.start),
	}
	if s.err != nil {
		return result, s.err
	}
	return result, nil
}

// limit returns when the relay has to end unless an octet moves, and why.
// The caller holds mu.
func (s *session) limit() (at time.Duration, why error, some bool) {
	idle, why := s.opts.Idle, ErrIdle
	if s.lingering {
		idle, why = s.opts.Linger, ErrLinger
	}
	if idle > 0 {
		at, some = time.Duration(s.last.Load())+idle, true
	}
	if total := s.opts.Total; total > 0 && (!some || total < at) {
		at, why, some = total, ErrTotal, true
	}
	return at, why, some
}

// never is the limit of what is not limited yet.
const never = 1000 * time.Hour

func (s *session) startTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _, some := s.limit()
	if !some && s.opts.Linger <= 0 {
		return
	}
	if !some {
		at = never
	}
	s.group.Add(1)
	s.timer = time.AfterFunc(at, s.check)
}

// check is the function of the timer.
func (s *session) check() {
	s.mu.Lock()
	end, why, some := s.limit()
	left := end - time.Since(s.start)
	if s.finished || s.aborted {
		s.mu.Unlock()
		s.group.Done()
		return
	}
	if !some || left > 0 {
		if !some {
			left = never
		}
		s.timer.Reset(left)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	at, op := s.blocked()
	s.abort(&Error{at, op, why}, true)
	s.group.Done()
}

// blocked returns the side that does not take what it is sent.
func (s *session) blocked() (Side, Op) {
	for i := range s.flow {
		if s.flow[i].writing.Load() {
			return s.flow[i].to.id, OpWrite
		}
	}
	return Neither, OpWait
}

// linger starts the limit of the second direction.
func (s *session) linger() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lingering {
		return
	}
	s.lingering = true
	s.touch()
	if s.timer != nil && !s.finished && s.timer.Stop() {
		s.timer.Reset(0) // check finds the new limit
	}
}

func (s *session) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	if s.timer != nil && s.timer.Stop() {
		s.group.Done()
	}
}

// abort ends all I/O. With reset both peers of TCP connections are told so,
// else those alone that could take it for an end in order. It returns the cause
// of the end, which is e if it is the first.
func (s *session) abort(e *Error, reset bool) *Error {
	s.mu.Lock()
	over := s.aborted || s.finished
	e = s.blame(e)
	s.aborted = true
	s.mu.Unlock()
	if !over {
		for i := range s.side {
			s.side[i].t.kill(reset || s.side[i].tls == nil)
		}
	}
	return e
}

// blame notes why the relay does not end in order, unless it has been aborted,
// and returns the cause for the direction that it happened to. The first cause
// counts, but that a peer takes no more says less than what it says itself. The
// caller holds mu.
func (s *session) blame(e *Error) *Error {
	if s.aborted || s.finished {
		if s.err != nil {
			return s.err
		}
		return e
	}
	if s.err == nil || s.err.Op == OpWrite && e.Op == OpRead && s.err.Side == e.Side {
		s.err = e
	}
	if s.first == Neither && !e.limit() {
		s.first = e.Side
	}
	return e
}
