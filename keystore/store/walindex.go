package store

import (
	"bytes"
	"io"
	"runtime"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Parts of the header of SQLite's WAL-index (https://sqlite.org/walformat.html,
// Section 2.1), which is there twice, in octets.
const (
	walHeader = 48
	walIsInit = 12 // tells whether the header is filled in
)

// A walHead is both copies of a header.
type walHead [2 * walHeader]byte

// A walIndex is what the connections to a database in WAL mode share. The header
// changes with every transaction that is committed, in whichever process: it counts
// them, and has the checksum of the whole log. To compare it is what SQLite does at
// the start of a transaction, and all that PRAGMA data_version goes by; without the
// transaction, its locks and a virtual machine it is one system call.
//
// It is valid as long as the connection that it is of. While that is open nobody can
// make another index, or leave WAL mode.
type walIndex struct {
	file io.ReaderAt // nil: there is none that can be read
}

// walIndexOf returns the index of a connection that has read. Elsewhere than on
// Linux it is not known whether a file can be read while others have it mapped.
func walIndexOf(c *sqlite3.Conn) walIndex {
	if runtime.GOOS != "linux" {
		return walIndex{}
	}
	file, err := c.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		return walIndex{}
	}
	var x walIndex
	if shared, ok := file.(vfs.FileSharedMemory); ok {
		x.file, _ = shared.SharedMemory().(io.ReaderAt)
	}
	return x
}

// read returns the header as it is now. It reports whether it has one: not while
// somebody writes it.
func (x walIndex) read() (h walHead, ok bool) {
	if x.file == nil {
		return h, false
	}
	if _, err := x.file.ReadAt(h[:], 0); err != nil {
		return h, false
	}
	return h, h[walIsInit] == 1 && bytes.Equal(h[:walHeader], h[walHeader:])
}
