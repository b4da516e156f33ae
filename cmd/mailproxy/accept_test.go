package main

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A canned connection says what it was given, and takes everything.
type canned struct {
	net.Conn // nil: nothing else is called
	*bytes.Reader
}

func (c canned) Read(p []byte) (int, error)     { return c.Reader.Read(p) }
func (canned) SetReadDeadline(time.Time) error  { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }
func (canned) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzProxyHeader loses no octet behind a header, and takes no address that is none.
func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 4711 587\r\nEHLO x\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "PROXY UNKNOWN\r\nx",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc6\x33\x64\x01\x01\x02\x03\x04rest", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00rest",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x31\xff\xff", "EHLO x\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readProxyHeader(t.Context(), canned{Reader: bytes.NewReader(data)}, time.Second)
		if err != nil {
			return
		}
		if p.remote.IsValid() != p.local.IsValid() {
			t.Errorf("%v %v", p.remote, p.local)
		}
		rest, err := io.ReadAll(p)
		if err != nil || !bytes.HasSuffix(data, rest) || len(rest) == len(data) {
			t.Errorf("%q is left of %q: %v", rest, data, err)
		}
	})
}
