package tls

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// turn separates what a fuzzed peer sends in one packet from what it sends in the
// next; octets of a turn come together, or one by one.
const turn = 0x1e

// A tape is a connection that plays what was recorded, and hears nothing.
type tape struct {
	net.Conn
	turns  [][]byte
	single bool
	wrote  int
}

func newTape(data []byte, single bool) *tape {
	return &tape{turns: bytes.Split(data, []byte{turn}), single: single}
}

func (c *tape) Read(p []byte) (int, error) {
	for len(c.turns) > 0 && len(c.turns[0]) == 0 {
		c.turns = c.turns[1:]
	}
	if len(c.turns) == 0 {
		return 0, io.EOF
	}
	if c.single {
		p = p[:1]
	}
	n := copy(p, c.turns[0])
	c.turns[0] = c.turns[0][n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error)    { c.wrote += len(p); return len(p), nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*tape) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (*tape) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// checkDialogue checks what must hold of any dialogue.
func checkDialogue(t *testing.T, w *wire, err error) {
	t.Helper()
	var (
		protocol  *ProtocolError
		injection *InjectionError
		missing   *NotOfferedError
	)
	switch {
	case err == nil && len(w.buf) > 0:
		t.Fatalf("%d octets would survive", len(w.buf))
	case err == nil:
	case errors.As(err, &protocol) && len(protocol.Reply) > quote:
		t.Fatalf("the error has %d octets of the peer", len(protocol.Reply))
	case !errors.As(err, &protocol) && !errors.As(err, &injection) && !errors.As(err, &missing):
		t.Fatalf("%T: %v", err, err)
	}
	if w.total > maxReply {
		t.Fatalf("%d octets were read", w.total)
	}
}

// FuzzClientDialogue plays servers. What is good in packets is good octet by
// octet.
func FuzzClientDialogue(f *testing.F) {
	for _, l := range leads {
		sep := string(rune(turn))
		f.Add(byte(l.proto), []byte(l.greeting+sep+l.offer+sep+l.ready))
		f.Add(byte(l.proto), []byte(l.greeting+sep+l.bare+sep+l.junk))
		f.Add(byte(l.proto), []byte(l.greeting+sep+l.offer+sep+l.refusal))
		f.Add(byte(l.proto), []byte(l.line+l.greeting+l.offer))
	}
	f.Add(byte(LDAP), []byte("\x30\x84\x00\x00\x00\x18\x02\x01\x01\x78\x84\x00\x00\x00\x0f\x0a\x01\x00\x04\x81\x00\x04\x82\x00\x05hello"))
	f.Fuzz(func(t *testing.T, proto byte, data []byte) {
		p := Protocol(proto)
		if !p.valid() {
			return
		}
		c := &client{ClientConfig{Protocol: p, LocalName: "localhost", Domain: serverName}}
		whole, single := newWire(newTape(data, false), p), newWire(newTape(data, true), p)
		err, err2 := c.dialogue(whole), c.dialogue(single)
		checkDialogue(t, whole, err)
		checkDialogue(t, single, err2)
		if err == nil && err2 != nil {
			t.Fatalf("good in packets, and octet by octet: %v", err2)
		}
	})
}

// FuzzServerDialogue plays clients. No client gets a server to say more than
// thrice the octets that a command can be worth.
func FuzzServerDialogue(f *testing.F) {
	servers := make(map[Protocol]*Server)
	for _, g := range guests {
		s := &Server{cfg: ServerConfig{Protocol: g.proto, Greeting: "mail.example.test ESMTP", Capabilities: []string{"SIZE 1000"}, MaxCommands: 20}}
		if err := s.setDialect(); err != nil {
			f.Fatal(err)
		}
		servers[g.proto] = s
		sep := string(rune(turn))
		f.Add(byte(g.proto), []byte(g.ask+sep+g.login+sep+g.garbage+sep+g.start))
		f.Add(byte(g.proto), []byte(g.start+g.ask))
	}
	f.Fuzz(func(t *testing.T, proto byte, data []byte) {
		s := servers[Protocol(proto)]
		if s == nil {
			return
		}
		for _, single := range []bool{false, true} {
			conn := newTape(data, single)
			w := newWire(conn, s.cfg.Protocol)
			err := s.dialogue(w)
			checkDialogue(t, w, err)
			if conn.wrote > (s.cfg.MaxCommands+2)*250 {
				t.Fatalf("%d octets were written", conn.wrote)
			}
		}
	})
}
