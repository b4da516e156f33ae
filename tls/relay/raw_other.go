//go:build !unix

package relay

import "syscall"

// rawIO says that sockets can be read and written without waiting. Here a relay
// uses the methods of net.Conn instead.
const rawIO = false

type rawReader struct {
	buf *[chunk + overhead]byte
	n   int
}

func (*rawReader) init()                      {}
func (*rawReader) read(syscall.RawConn) error { return syscall.EINVAL }

type rawWriter struct{}

func (*rawWriter) init(*session)                       {}
func (*rawWriter) write(syscall.RawConn, []byte) error { return syscall.EINVAL }
