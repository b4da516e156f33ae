package dnsclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the largest answer over UDP that is asked for, in octets: so
	// large that packets do not get fragmented (RFC 9715, Section 3.2).
	udpSize = 1232
	// maxStrays is how many packets that are no answer are passed over.
	maxStrays = 256
)

// A question is what is asked in one message.
type question struct {
	name     string // fully qualified, in lower case
	kind     uint16
	checking bool // false sets the CD bit, so that nothing is validated
}

// message returns a query, with a new identifier and letters in random case.
func (q question) message() *dns.Msg {
	var noise [2 + 32]byte
	_, _ = rand.Read(noise[:]) // never fails
	m := &dns.Msg{}
	m.Id = binary.BigEndian.Uint16(noise[:])
	m.RecursionDesired = true
	m.AuthenticatedData = true // RFC 6840, Section 5.7: the answer is wanted with the AD bit
	m.CheckingDisabled = !q.checking
	m.Question = []dns.Question{{Name: mixCase(q.name, noise[2:]), Qtype: q.kind, Qclass: dns.ClassINET}}
	m.SetEdns0(udpSize, true)
	return m
}

// mixCase makes letters upper case where noise, which has 256 bits, has a bit.
func mixCase(name string, noise []byte) string {
	b := []byte(name)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && noise[i/8%len(noise)]>>(i%8)&1 != 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// exchange asks one server, over UDP and, if that does not do, over TCP.
func (c *Client) exchange(ctx context.Context, s server, q question) (*dns.Msg, error) {
	m, err := c.ask(ctx, s, q, "udp")
	if err != nil && !errors.Is(err, errCase) {
		return nil, err
	}
	// RFC 7766, Section 5: what is truncated is asked for again over TCP.
	if err != nil || m.Truncated {
		if m, err = c.ask(ctx, s, q, "tcp"); err != nil {
			return nil, err
		}
		if m.Truncated {
			return nil, errContradiction
		}
	}
	return m, nil
}

// errCase says that the only answer over UDP has letters in another case.
var errCase = errors.New("the case of letters was not kept")

func (c *Client) ask(ctx context.Context, s server, q question, network string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	query := q.message()
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := c.opts.Dial(ctx, network, s.addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		return overTCP(conn, query, wire)
	}
	return overUDP(conn, query, wire)
}

func overTCP(conn net.Conn, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	// RFC 7766, Section 8: the length and the message in one write.
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	want := int64(binary.BigEndian.Uint16(size[:]))
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, conn, want); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	m, err := parse(buf.Bytes(), query)
	if errors.Is(err, errCase) { // a connection is not so easily forged
		err = nil
	}
	return m, err
}

// overUDP waits for the answer and passes over what is none. When no answer
// comes, the error says what came instead.
func overUDP(conn net.Conn, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	var stray error
	buf := make([]byte, 4096) // some send more than they are asked to
	for range maxStrays {
		n, err := conn.Read(buf)
		if err != nil {
			if stray != nil {
				err = stray
			}
			return nil, err
		}
		m, err := parse(buf[:n], query)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, errCase) {
			// It may be forged, or of a resolver that does not keep the case. TCP
			// will tell.
			return nil, err
		}
		stray = err
	}
	return nil, stray
}

// parse reads an answer to query. With errCase, there is a message too.
func parse(wire []byte, query *dns.Msg) (*dns.Msg, error) {
	if len(wire) > 2 && binary.BigEndian.Uint16(wire) != query.Id {
		return nil, errMismatch
	}
	m := &dns.Msg{}
	if err := m.Unpack(wire); err != nil {
		// RFC 2181, Section 9: what is truncated may end anywhere.
		if len(wire) < 12 || !m.Response || !m.Truncated || m.Id != query.Id {
			return nil, err
		}
		return &dns.Msg{MsgHdr: m.MsgHdr}, nil
	}
	if m.Id != query.Id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return nil, errMismatch
	}
	want := query.Question[0]
	if len(m.Question) == 0 && m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return m, nil // RFC 1035 lets an error be without its question
	}
	if len(m.Question) != 1 || m.Question[0].Qtype != want.Qtype || m.Question[0].Qclass != want.Qclass ||
		!strings.EqualFold(m.Question[0].Name, want.Name) {
		return nil, errMismatch
	}
	if m.Question[0].Name != want.Name {
		return m, errCase
	}
	return m, nil
}
