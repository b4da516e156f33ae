package spool

import (
	"errors"
	"io"
	"sync"

	"github.com/postseal/postseal/internal/stage"
)

// ErrChanged is returned by [Pinned.ReadAt] for octets that are not those that
// were read there before.
var ErrChanged = errors.New("spool: the source was changed while it was read")

// Pinned gives the octets of a source that it does not own and that somebody
// else may change meanwhile, such as a file. What it has given once is what it
// gives again: of each block it keeps one of [Fingerprints], and what does not match it
// is [ErrChanged]. So a verdict on the octets holds for all later reads, and
// nothing has to be copied.
//
// They take 16 octets for every 256 KiB. It may be used by several goroutines.
type Pinned struct {
	src  io.ReaderAt
	size int64

	mu    sync.Mutex
	seen  *Fingerprints
	block []byte // one block
	at    int64  // its number
	err   error  // ErrChanged stays
}

// NewPinned returns a Pinned over the first size octets of src.
func NewPinned(src io.ReaderAt, size int64) (*Pinned, error) {
	seen, err := NewFingerprints()
	if err != nil {
		return nil, err
	}
	return &Pinned{src: src, size: size, seen: seen, at: -1}, nil
}

// Size returns the number of octets.
func (p *Pinned) Size() int64 { return p.size }

// ReadAt implements io.ReaderAt. A source that ends before its size is
// io.ErrUnexpectedEOF; its errors are returned as they are.
func (p *Pinned) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("spool: negative offset")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		if off+int64(n) >= p.size {
			return n, io.EOF
		}
		number := (off + int64(n)) / stage.Size
		if err = p.load(number); err != nil {
			return n, err
		}
		n += copy(b[n:], p.block[off+int64(n)-number*stage.Size:])
	}
	return n, nil
}

// load reads a block and compares it with what it was.
func (p *Pinned) load(number int64) error {
	if p.err != nil || p.at == number {
		return p.err
	}
	p.at = -1
	n := min(stage.Size, p.size-number*stage.Size)
	if int64(cap(p.block)) < n {
		p.block = make([]byte, n)
	}
	p.block = p.block[:n]
	if got, err := p.src.ReadAt(p.block, number*stage.Size); got < len(p.block) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if !p.seen.Has(number) {
		p.seen.Take(number, p.block)
	} else if p.err = p.seen.Check(number, p.block); p.err != nil {
		return p.err
	}
	p.at = number
	return nil
}
