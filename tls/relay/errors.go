package relay

import "errors"

// A Side is one of the two connections of a relay.
type Side int

// The sides, in the order of the arguments of [Run].
const (
	// Neither means that the relay was ended by itself or its caller.
	Neither Side = iota
	// A is the first connection.
	A
	// B is the second connection.
	B
)

// String returns "neither", "A" or "B".
func (s Side) String() string {
	switch s {
	case A:
		return "A"
	case B:
		return "B"
	default:
		return "neither"
	}
}

// An Op is what a relay was doing when it failed.
type Op string

// The operations.
const (
	// OpRead is reading from the side that an [Error] names.
	OpRead Op = "read"
	// OpWrite is writing to that side.
	OpWrite Op = "write"
	// OpWait is waiting for data, without a failure of a connection.
	OpWait Op = "wait"
)

// Why a relay ended that no connection ended. They are found with errors.Is in
// what [Run] returns.
var (
	// ErrIdle says that no octet moved for as long as Options.Idle.
	ErrIdle = errors.New("no data moved in either direction for too long")
	// ErrLinger says that one direction had ended and that in the other no
	// octet moved for as long as Options.Linger.
	ErrLinger = errors.New("one direction had ended, and the other did not end in time")
	// ErrTotal says that the relay took as long as Options.Total.
	ErrTotal = errors.New("the relay took too long")
	// ErrFlood says that a TLS peer asks for answers, such as key updates, and
	// does not read them.
	ErrFlood = errors.New("the peer asks for more answers than it reads")
)

// An Error says why a relay did not end in order, and on which side.
//
// Err is io.ErrUnexpectedEOF if the side is TLS and its connection ended without
// close_notify: what came may be cut off (RFC 8446, Section 6.1; RFC 5246,
// Section 7.2.1). Otherwise it is ErrIdle, ErrLinger, ErrTotal, the cause of the
// context's end, or the error of the connection.
type Error struct {
	// Side is where it went wrong. After ErrIdle, ErrLinger and ErrTotal it is
	// the side that took no more data, and Neither if both were silent.
	Side Side
	Op   Op
	Err  error
}

// Error names the side and the cause.
func (e *Error) Error() string {
	if e.Side == Neither {
		return "relay: " + e.Err.Error()
	}
	return "relay: " + string(e.Op) + " on side " + e.Side.String() + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// A UsageError is a mistake of the caller of [Run]. The connections have been
// closed, and nothing was read or written.
type UsageError struct {
	Side Side
	Msg  string
}

// Error names the side and the mistake.
func (e *UsageError) Error() string { return "relay: side " + e.Side.String() + ": " + e.Msg }

// errWouldBlock ends a read that must not wait. crypto/tls takes it for a
// passed deadline, after which a read can be repeated.
var errWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "relay: no complete record is there" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// limit reports whether the relay came to one of its limits.
func (e *Error) limit() bool {
	return errors.Is(e.Err, ErrIdle) || errors.Is(e.Err, ErrLinger) || errors.Is(e.Err, ErrTotal)
}
