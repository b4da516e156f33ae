package tlstool

import (
	"bytes"
	"net"
	"sync"
)

// maxTraced bounds a line that is told, in octets.
const maxTraced = 1000

// A tracer tells what is said before TLS, line by line: "C: " before what the
// client says, "S: " before what the server does.
type tracer struct {
	*net.TCPConn
	say           func(format string, args ...any)
	mine, theirs  string // the letters
	mu            sync.Mutex
	over          bool // TLS has begun
	sent, arrived []byte
}

// traced returns a connection whose dialogue is told, if say is not nil.
func traced(conn net.Conn, server bool, say func(format string, args ...any)) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || say == nil {
		return conn
	}
	t := &tracer{TCPConn: tcp, say: say, mine: "C", theirs: "S"}
	if server {
		t.mine, t.theirs = t.theirs, t.mine
	}
	return t
}

// Read reads and tells.
func (t *tracer) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	t.tell(t.theirs, &t.arrived, p[:n])
	return n, err
}

// Write tells and writes.
func (t *tracer) Write(p []byte) (int, error) {
	t.tell(t.mine, &t.sent, p)
	return t.TCPConn.Write(p)
}

// tell tells whole lines. A record of TLS begins with the type handshake (22) and
// a version (RFC 8446, Section 5.1).
func (t *tracer) tell(who string, pending *[]byte, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || len(*pending) == 0 && len(p) > 1 && p[0] == 22 && p[1] == 3 {
		t.over = t.over || len(p) > 0
		return
	}
	*pending = append(*pending, p...)
	for {
		line, rest, whole := bytes.Cut(*pending, []byte("\n"))
		if !whole && len(line) < maxTraced {
			return
		}
		t.say("%s: %s", who, printable(string(bytes.TrimRight(line[:min(len(line), maxTraced)], "\r"))))
		*pending = rest
	}
}

// flush tells what has not ended in a line, such as that of binary protocols.
func (t *tracer) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, part := range []struct {
		who  string
		text *[]byte
	}{{t.mine, &t.sent}, {t.theirs, &t.arrived}} {
		if len(*part.text) > 0 {
			t.say("%s: %s", part.who, printable(string(*part.text)))
			*part.text = nil
		}
	}
}

// untrace tells the rest of a dialogue.
func untrace(conn net.Conn) {
	if t, ok := conn.(*tracer); ok {
		t.flush()
	}
}
