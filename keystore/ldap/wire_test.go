package ldap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A stream is a connection of which only Read is called.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error)    { return s.Reader.Read(p) }
func (stream) SetReadDeadline(time.Time) error { return nil }

// FuzzWire passes on what is whole and within the limits, octet by octet.
func FuzzWire(f *testing.F) {
	f.Add([]byte{0x30, 0x0c, 2, 1, 1, 0x65, 7, 0x0a, 1, 0, 4, 0, 4, 0})
	f.Add([]byte{0x30, 0x81, 3, 2, 1, 1, 0x30, 0})
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWire(stream{Reader: bytes.NewReader(data)}, &Options{Octets: 1 << 10, Entries: 2})
		got, err := io.ReadAll(w)
		if !bytes.HasPrefix(data, got) || len(got) > 1<<10+maxOther {
			t.Errorf("%x became %x", data, got)
		}
		var limit *LimitError
		if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrMalformed) && !errors.As(err, &limit) {
			t.Errorf("%x: %v", data, err)
		}
	})
}
