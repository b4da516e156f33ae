//go:build unix

package relay

import (
	"io"
	"os"
	"syscall"
)

// rawIO says that sockets can be read and written without waiting.
const rawIO = true

// A rawReader reads from a socket into a buffer that it borrows when there is
// something to be read.
type rawReader struct {
	buf  *[chunk + overhead]byte // has n octets if err is nil
	n    int
	err  error
	call func(fd uintptr) bool
}

func (r *rawReader) init() {
	r.call = func(fd uintptr) bool {
		r.buf = borrow()
		for {
			r.n, r.err = syscall.Read(int(fd), r.buf[:chunk])
			if r.err != syscall.EINTR {
				break
			}
		}
		if r.err == syscall.EAGAIN {
			giveBack(r.buf)
			r.buf = nil
			return false
		}
		return true
	}
}

// read waits for data. It returns io.EOF at the end, with a buffer or without.
func (r *rawReader) read(raw syscall.RawConn) error {
	r.n, r.err = 0, nil
	if err := raw.Read(r.call); err != nil {
		return err
	}
	if r.err != nil {
		return os.NewSyscallError("read", r.err)
	}
	if r.n == 0 {
		return io.EOF
	}
	return nil
}

// A rawWriter writes to a socket, and reports progress at each step.
type rawWriter struct {
	rest []byte
	err  error
	call func(fd uintptr) bool
}

func (w *rawWriter) init(s *session) {
	w.call = func(fd uintptr) bool {
		for len(w.rest) > 0 {
			n, err := syscall.Write(int(fd), w.rest)
			if n > 0 {
				w.rest = w.rest[n:]
				s.touch()
			}
			switch err {
			case nil, syscall.EINTR:
			case syscall.EAGAIN:
				return false
			default:
				w.err = err
				return true
			}
		}
		return true
	}
}

// write waits until all of p is written.
func (w *rawWriter) write(raw syscall.RawConn, p []byte) error {
	w.rest, w.err = p, nil
	err := raw.Write(w.call)
	w.rest = nil
	if err != nil {
		return err
	}
	if w.err != nil {
		return os.NewSyscallError("write", w.err)
	}
	return nil
}
