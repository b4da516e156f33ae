package ldap

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
)

// What one connection may bring, besides the octets.
const (
	maxDepth    = 16     // of elements in elements; LDAP needs 6
	maxElements = 100000 // so that small ones cannot take more memory than they have octets
	maxOther    = 64 << 10
)

// Tags of LDAP (RFC 4511, Section 4.2 and Appendix B).
const (
	tagSequence  = 0x30
	tagConstruct = 0x20
	tagEntry     = 0x64 // [APPLICATION 4]
)

// A wire is a connection that hands on whole messages alone, and those only that
// are BER as LDAP has it (RFC 4511, Section 5.1: definite lengths) within the
// limits. The first error stays.
type wire struct {
	net.Conn
	in      *bufio.Reader
	message bytes.Reader

	octets, elements, entries int // that may still come

	mu  sync.Mutex
	err error
}

func newWire(conn net.Conn, o *Options) *wire {
	return &wire{Conn: conn, in: bufio.NewReader(conn), octets: o.Octets + maxOther, elements: maxElements, entries: o.Entries}
}

// failure returns what ended the reading: nil as long as nothing has. It may be
// called by another goroutine than Read.
func (w *wire) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *wire) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	if w.message.Len() == 0 {
		if err := w.failure(); err != nil {
			return 0, err
		}
		message, err := w.next()
		if err != nil {
			return 0, w.fail(err)
		}
		w.message.Reset(message)
	}
	return w.message.Read(p)
}

// next reads one LDAPMessage.
func (w *wire) next() ([]byte, error) {
	head, err := w.in.Peek(2)
	if err == io.EOF {
		err = ErrClosed
	}
	if err != nil {
		return nil, err
	}
	if head[0] != tagSequence {
		return nil, ErrMalformed
	}
	long := 0
	if head[1] >= 0x80 {
		if long = int(head[1] & 0x7f); long == 0 || long > 4 {
			return nil, ErrMalformed
		}
		if head, err = w.in.Peek(2 + long); err != nil {
			return nil, ErrClosed
		}
	}
	size, ok := length(head[1:])
	if !ok {
		return nil, ErrMalformed
	}
	size += int64(2 + long)
	if size > int64(w.octets) {
		return nil, &LimitError{"octets"}
	}
	w.octets -= int(size)
	// The buffer grows with what comes, not with what is announced.
	var message bytes.Buffer
	if _, err = io.CopyN(&message, w.in, size); err != nil {
		if err == io.EOF {
			err = ErrClosed
		}
		return nil, err
	}
	if err = w.walk(message.Bytes(), 0); err != nil {
		return nil, err
	}
	return message.Bytes(), nil
}

// length reads the length octets at the beginning of in.
func length(in []byte) (int64, bool) {
	if in[0] < 0x80 {
		return int64(in[0]), true
	}
	n := int(in[0] & 0x7f)
	if n == 0 || n > 4 || len(in) < 1+n {
		return 0, false
	}
	var size int64
	for _, b := range in[1 : 1+n] {
		size = size<<8 | int64(b)
	}
	return size, true
}

// walk checks that data is a series of elements, and counts them.
func (w *wire) walk(data []byte, depth int) error {
	if depth > maxDepth {
		return &LimitError{"elements in elements"}
	}
	for len(data) > 0 {
		if w.elements--; w.elements < 0 {
			return &LimitError{"elements"}
		}
		tag := data[0]
		// RFC 4511 has no tag above 30, and no indefinite length.
		if len(data) < 2 || tag&0x1f == 0x1f {
			return ErrMalformed
		}
		size, ok := length(data[1:])
		head := 2
		if data[1] >= 0x80 {
			head += int(data[1] & 0x7f)
		}
		if !ok || size > int64(len(data)-head) {
			return ErrMalformed
		}
		body := data[head : head+int(size)]
		if depth == 1 && tag == tagEntry {
			if w.entries--; w.entries < 0 {
				return &LimitError{"entries"}
			}
		}
		if tag&tagConstruct != 0 {
			if err := w.walk(body, depth+1); err != nil {
				return err
			}
		}
		data = data[head+int(size):]
	}
	return nil
}
