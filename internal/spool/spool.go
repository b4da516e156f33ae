// Package spool holds an amount of data that is not known in advance: first in
// memory, then in a temporary file that nobody else can read.
//
// # Security
//
//   - The file is created with mode 0600 and loses its name at once where the
//     system allows that, so that nothing is left behind when the process dies.
//   - Unless the data is declared public, the file holds it encrypted with
//     AES-256-CTR under a random key that exists in this process's memory only,
//     belongs to one Buffer, and is overwritten by Close. The encryption keeps
//     the data secret; it does not protect it from somebody who can write to
//     the open file of this process.
//   - At most Memory octets (rounded up to the size of a chunk) are held in
//     memory, and memory grows by appending chunks, never by copying.
package spool

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"sync"
)

// ErrLimit is returned by [Buffer.Write] when the data exceeds [Options.Limit].
var ErrLimit = errors.New("spool: more data than the limit allows")

// DefaultMemory is the number of octets kept in memory when [Options.Memory]
// is zero.
const DefaultMemory = 1 << 20

const (
	firstChunk = 4 << 10  // the first chunk: most messages are small
	chunkSize  = 64 << 10 // the fourth and later ones; those between are in between
)

// Options tells how a [Buffer] keeps its data. The zero value is safe.
type Options struct {
	// Memory is the number of octets kept in memory before a file is used.
	// Zero means [DefaultMemory]; a negative value means that everything
	// goes to the file.
	Memory int

	// Dir is the folder of the temporary file. Empty means [os.TempDir].
	Dir string

	// Limit is the greatest number of octets that the Buffer takes. Zero (or
	// less) means no limit. A Write beyond it fails with [ErrLimit].
	Limit int64

	// Public says that the data is no secret (ciphertext, for example), so
	// that the file need not be encrypted.
	Public bool
}

// Buffer takes data by Write and gives it back, at any offset, by ReadAt and
// by readers. Whoever made it must call Close.
//
// Write must not be called by two goroutines at once. ReadAt and the readers of
// NewReader may be used by any number of goroutines, also while another one
// writes.
type Buffer struct {
	memory int64 // octets that stay in memory
	limit  int64
	dir    string
	public bool

	mu     sync.RWMutex
	chunks []*chunk // the first memory octets, as chunkLen says
	room   [4]*chunk
	disk   *disk // nil until memory is full
	size   int64
	err    error // sticky error of Write
	closed bool
}

// New returns an empty Buffer. It creates no file; that happens when the memory
// is full.
func New(opts Options) *Buffer {
	b := &Buffer{memory: int64(opts.Memory), limit: opts.Limit, dir: opts.Dir, public: opts.Public}
	switch {
	case opts.Memory == 0:
		b.memory = DefaultMemory
	case opts.Memory < 0:
		b.memory = 0
	}
	if b.limit <= 0 {
		b.limit = math.MaxInt64
	}
	b.chunks = b.room[:0]
	return b
}

// Size returns the number of octets taken so far. Close does not change it.
func (b *Buffer) Size() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.size
}

// Write appends p. It takes what fits and returns [ErrLimit] when the limit is
// reached, the error of the file when that fails or failed before, and
// [fs.ErrClosed] after Close. The first error is returned by every later call. What was taken
// before stays readable.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	if b.err != nil {
		return 0, b.err
	}
	rest := p
	over := int64(len(p)) > b.limit-b.size
	if over {
		rest = p[:b.limit-b.size]
	}
	n := b.writeMemory(rest)
	if n < len(rest) {
		m, err := b.writeDisk(rest[n:])
		n += m
		if err != nil {
			b.err = err
			return n, err
		}
	}
	if over {
		b.err = ErrLimit
	}
	return n, b.err
}

// writeMemory takes from p what memory has room for.
func (b *Buffer) writeMemory(p []byte) int {
	n := 0
	for n < len(p) && b.size < b.memory {
		i, off := locate(b.size)
		if i == len(b.chunks) {
			c := getChunk(i)
			c.buf = c.buf[:min(chunkLen(i), b.memory-b.size)]
			b.chunks = append(b.chunks, c)
		}
		m := copy(b.chunks[i].buf[off:], p[n:])
		n += m
		b.size += int64(m)
	}
	return n
}

// writeDisk appends p to the file and creates it first when there is none.
func (b *Buffer) writeDisk(p []byte) (int, error) {
	if b.disk == nil {
		d, err := newDisk(b.dir, b.public)
		if err != nil {
			return 0, err
		}
		b.disk = d
	}
	n, err := b.disk.write(p)
	b.size += int64(n)
	return n, err
}

// ReadAt reads len(p) octets from offset off, as [io.ReaderAt] describes it:
// io.EOF when fewer are there. After Close it fails with [fs.ErrClosed].
func (b *Buffer) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("spool: negative offset")
	}
	b.lockSettled()
	defer b.mu.RUnlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	if off >= b.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > b.size-off
	if short {
		p = p[:b.size-off]
	}
	n := 0
	for n < len(p) && off+int64(n) < min(b.memory, b.size) {
		i, at := locate(off + int64(n))
		n += copy(p[n:], b.chunks[i].buf[at:])
	}
	if n < len(p) {
		m, err := b.disk.readAt(p[n:], off+int64(n)-b.memory)
		n += m
		if err != nil {
			return n, err
		}
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// lockSettled locks for reading, when nothing is on its way to the file.
func (b *Buffer) lockSettled() {
	for {
		b.mu.RLock()
		if b.disk == nil || !b.disk.pending() || b.err != nil {
			return
		}
		b.mu.RUnlock()
		b.mu.Lock()
		if b.disk != nil {
			if err := b.disk.settle(); err != nil && b.err == nil {
				b.err = err
			}
		}
		b.mu.Unlock()
	}
}

// NewReader returns a reader over what has been written so far. It stays valid
// until Close; later reads fail with [fs.ErrClosed].
func (b *Buffer) NewReader() *io.SectionReader {
	return io.NewSectionReader(b, 0, b.Size())
}

// Close overwrites the data in memory and the key, and frees memory and file.
// It waits for reads that are under way. A second call does nothing and
// returns nil.
func (b *Buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	left := b.size
	for i, c := range b.chunks {
		used := c.buf[:min(int64(len(c.buf)), left)]
		left -= int64(len(used))
		if !b.public {
			clear(used)
		}
		putChunk(i, c)
	}
	b.chunks, b.room = nil, [len(b.room)]*chunk{}
	if b.disk == nil {
		return nil
	}
	d := b.disk
	b.disk = nil
	return d.close()
}

// chunkEnds are the ends of the first chunks: each makes four times of what is
// there, until they have their full size.
var chunkEnds = [...]int64{firstChunk, 4 * firstChunk, chunkSize}

// chunkLen returns the length of chunk i.
func chunkLen(i int) int64 {
	switch {
	case i == 0:
		return firstChunk
	case i < len(chunkEnds):
		return chunkEnds[i] - chunkEnds[i-1]
	}
	return chunkSize
}

// chunkPools are chunks that nobody uses, by their lengths, without what was in them
// unless it was public.
var chunkPools [len(chunkEnds) + 1]sync.Pool

// A chunk is a piece of memory.
type chunk struct{ buf []byte }

func getChunk(i int) *chunk {
	if c, ok := chunkPools[min(i, len(chunkEnds))].Get().(*chunk); ok {
		return c
	}
	return &chunk{make([]byte, chunkLen(i))}
}

// putChunk takes a chunk back, when what was secret in it is overwritten.
func putChunk(i int, c *chunk) {
	c.buf = c.buf[:cap(c.buf)]
	chunkPools[min(i, len(chunkEnds))].Put(c)
}

// locate returns the chunk that holds offset off of the memory, and the place
// in it.
func locate(off int64) (chunk int, at int64) {
	start := int64(0)
	for i, end := range chunkEnds {
		if off < end {
			return i, off - start
		}
		start = end
	}
	off -= start
	return len(chunkEnds) + int(off/chunkSize), off % chunkSize
}
