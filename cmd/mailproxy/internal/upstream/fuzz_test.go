package upstream

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// A canned server says what it was given, and takes everything.
type canned struct {
	net.Conn // nil: nothing else is called
	*bytes.Reader
	closed bool
}

func (c *canned) Read(p []byte) (int, error) { return c.Reader.Read(p) }
func (*canned) Write(p []byte) (int, error)  { return len(p), nil }
func (*canned) SetDeadline(time.Time) error  { return nil }
func (c *canned) Close() error               { c.closed = true; return nil }

// FuzzIntroduce has servers that say anything while they are told of a client:
// whatever fails closes, and nothing that they say too early is kept.
func FuzzIntroduce(f *testing.F) {
	f.Add([]byte("220 hi\r\n250-x\r\n250 XCLIENT ADDR PORT NAME\r\n220 again\r\n"), false)
	f.Add([]byte("* OK hi\r\n* ID NIL\r\nPSID OK done\r\n"), true)
	f.Add([]byte("* PREAUTH\r\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, isIMAP bool) {
		l := &config.Listener{Protocol: config.SMTP, Upstream: config.Upstream{ClientAddress: config.TellXCLIENT}}
		if isIMAP {
			l.Protocol, l.Upstream.ClientAddress = config.IMAP4, config.TellID
		}
		conn := &canned{Reader: bytes.NewReader(data)}
		d := &Dialer{Finder: &Finder{listener: l}, Name: "proxy.test"}
		greeted, err := d.introduce(t.Context(), &tls.Session{Conn: conn, Next: tls.NextGreeting}, &Client{Addr: netip.MustParseAddrPort("192.0.2.1:1")})
		if greeted != (err == nil) || conn.closed != (err != nil) {
			t.Errorf("%v %v %v", greeted, conn.closed, err)
		}
		if err == nil && len(data) < 4096 && conn.Len() > 0 { // what is read at once
			t.Errorf("%d octets are left, which would be taken for answers", conn.Len())
		}
	})
}
