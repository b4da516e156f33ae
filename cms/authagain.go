package cms

import (
	"bytes"
	"errors"
	"io"

	"github.com/postseal/postseal/internal/aead"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/internal/stage"
)

// errAgain says that the ciphertext would have to be absorbed once more.
var errAgain = errors.New("cms: the ciphertext is needed again")

// openAgain is openAEAD for a message that can be read once more: nothing of it is
// held.
func (r *Reader) openAgain(d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte, o DecryptOptions) error {
	if o.HoldUnverified != nil {
		err := r.openHeld(d, e, c, params, cek, o)
		if err != errAgain {
			return err
		}
		var again *Reader
		if again, e, err = repeat(o.Again(), &r.limits); err != nil {
			return err
		}
		r = again
	}
	seen, err := spool.NewFingerprints()
	if err != nil {
		return err
	}
	content := func() (io.Reader, error) {
		_, second, failed := repeat(o.Again(), &r.limits)
		if failed != nil {
			return nil, failed
		}
		// Whoever absorbs it must not absorb something else than was fingerprinted.
		return &checkedReader{src: second.content, seen: seen}, nil
	}
	stream, err := r.authenticate(&fingerprinter{seen: seen}, content, d, e, c, params, cek)
	if err != nil {
		return err
	}
	src := &aeadReader{stream: stream}
	if src.src, err = content(); err != nil {
		return err
	}
	d.src, d.authentic = src, true
	d.finish = func() error { return nil }
	d.cancel = src.stop
	return nil
}

// repeat reads a message up to its content once more.
func repeat(src io.Reader, limits *Limits) (*Reader, *envelope, error) {
	r, err := NewReader(src, limits)
	if err != nil {
		return nil, nil, err
	}
	e, err := r.readRecipients("Decrypt")
	if err == nil {
		err = r.readContentInfo(e)
	}
	return r, e, err
}

// openHeld decrypts and authenticates the content in one pass, if
// DecryptOptions.HoldUnverified wants it. If not, or if one pass does not do, it is
// errAgain.
func (r *Reader) openHeld(d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte, o DecryptOptions) error {
	stream, err := c.Stream(cek, params, nil)
	if err != nil {
		return ErrDecrypt
	}
	first := stage.Get()
	defer stage.Put(first)
	n, err := io.ReadFull(e.content, first.Buf[:chunkSize])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return wire(err, d.field)
	}
	first.Resize(n)
	start := stage.Get()
	defer stage.Put(start)
	start.Resize(n)
	if stream.OpenAt(start.Buf, first.Buf, 0) != nil {
		return ErrDecrypt
	}
	dst, err := o.HoldUnverified(e.contentType, start.Buf)
	if err != nil {
		return err
	}
	if dst == nil {
		return errAgain
	}
	if err = openUnverified(stream, io.MultiReader(bytes.NewReader(first.Buf), e.content), dst); err != nil {
		return wire(err, d.field)
	}
	if _, err = r.checkTag(stream, nil, d, c, params, cek); err != nil {
		return err
	}
	d.src, d.authentic, d.written = eofReader{}, true, true
	d.finish = func() error { return nil }
	return nil
}

// openUnverified takes ciphertext into the authenticator and writes what it
// decrypts to, to where nobody sees it until the tag has been checked.
func openUnverified(stream aead.Stream, src io.Reader, dst io.Writer) error {
	work := func(chunk []byte) error {
		if stream.Absorb(chunk) != nil || stream.Open(chunk, chunk) != nil {
			return ErrDecrypt
		}
		return nil
	}
	return inChunks(src, work, dst)
}

// A fingerprinter takes the fingerprints of chunks that are written to it.
type fingerprinter struct {
	seen *spool.Fingerprints
	n    int64
}

// Write implements io.Writer.
func (f *fingerprinter) Write(chunk []byte) (int, error) {
	f.seen.Take(f.n, chunk)
	f.n++
	return len(chunk), nil
}

// A checkedReader gives chunks that are what a fingerprinter was given, whole, or
// ErrChanged.
type checkedReader struct {
	src   io.Reader
	seen  *spool.Fingerprints
	n     int64 // chunks so far
	block *stage.Block
	left  []byte // of block
	err   error  // after left
}

// Read implements io.Reader.
func (c *checkedReader) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if len(p) >= chunkSize {
			return c.chunk(p[:chunkSize])
		}
		if c.block == nil {
			c.block = stage.Get()
		}
		n, err := c.chunk(c.block.Buf[:chunkSize])
		c.block.Resize(n)
		c.left, c.err = c.block.Buf, err
		if n == 0 {
			return 0, c.err
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// chunk reads a chunk.
func (c *checkedReader) chunk(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := io.ReadFull(c.src, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	if n > 0 && (err == nil || err == io.EOF) {
		if changed := c.seen.Check(c.n, p[:n]); changed != nil {
			n, err = 0, changed
		}
		c.n++
	}
	if err == io.EOF && c.n != int64(c.seen.Len()) {
		n, err = 0, ErrChanged
	}
	if c.err = err; n > 0 {
		return n, nil
	}
	return n, err
}
