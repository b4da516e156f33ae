package cms

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"io"

	"github.com/postseal/postseal/internal/stage"
)

// A cbcReader decrypts CBC with the padding of RFC 5652, Section 6.3. It holds
// the last block back until it knows that it is the last one. While a chunk is
// read by its caller, the next ones are decrypted.
type cbcReader struct {
	src   io.Reader
	block cipher.Block
	iv    []byte                // the block of ciphertext before what is decrypted next
	end   func(err error) error // called once with the source's error, nil for its end; its error goes before bad padding
	in    *stage.Block          // ciphertext: at first what is held back, at most one block
	queue *stage.Queue
	ready []*stage.Block // plaintext
	out   *stage.Block   // the plaintext that is being read
	plain []byte         // of it, not yet given out
	err   error          // after what is ready
}

func newCBCReader(src io.Reader, block cipher.Block, iv []byte, end func(error) error) *cbcReader {
	c := &cbcReader{src: src, block: block, iv: bytes.Clone(iv), end: end}
	c.queue = stage.NewQueue(c.crypt, func(_ *stage.Queue, b *stage.Block) error {
		c.ready = append(c.ready, b)
		return nil
	})
	return c
}

func (c *cbcReader) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		if c.out != nil {
			c.queue.Reuse(c.out)
			c.out = nil
		}
		switch {
		case len(c.ready) > 0:
			c.out, c.ready = c.ready[0], c.ready[1:]
			c.plain = c.out.Buf
		case c.err != nil:
			c.queue.Stop()
			return 0, c.err
		default:
			c.fill()
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// fill reads a chunk of ciphertext and has it decrypted.
func (c *cbcReader) fill() {
	if c.in == nil {
		c.in = c.queue.Empty()
	}
	size := c.block.BlockSize()
	held := len(c.in.Buf)
	n, err := io.ReadFull(c.src, c.in.Buf[held:chunkSize+size])
	n += held
	c.in.Resize(n)
	full := c.in
	c.in = nil
	if err == nil {
		// At least one block more than is held back: keep the last one.
		c.in = c.queue.Empty()
		c.in.Buf = append(c.in.Buf, full.Buf[n-size:]...)
		full.Resize(n - size)
		_ = c.queue.Add(full) // decryption never fails
		return
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	// The structure is checked to its end first, so that what an attacker
	// appends cannot tell good padding from bad.
	switch c.err = c.end(err); {
	case c.err != nil:
	case n == 0 || n%size != 0:
		c.err = ErrDecrypt
	default:
		c.last(full)
		return
	}
	_ = c.queue.Wait()
	c.queue.Reuse(full)
}

// last decrypts the last chunk, of at least one block, and takes its padding off.
func (c *cbcReader) last(b *stage.Block) {
	_ = c.queue.Last(b) // which makes it the last one that is ready
	n, size := len(b.Buf), c.block.BlockSize()
	pad, good := padding(b.Buf[n-size:])
	if good == 0 {
		c.ready = c.ready[:len(c.ready)-1]
		c.queue.Reuse(b)
		c.err = ErrDecrypt
		return
	}
	b.Resize(n - pad)
	c.err = io.EOF
}

// leastCBC is how many octets are worth a core of their own.
const leastCBC = 32 << 10

// crypt decrypts whole blocks in place, on the cores there are: each needs no more
// than the ciphertext before it.
func (c *cbcReader) crypt(p []byte) error {
	size := c.block.BlockSize()
	n := len(p) / size
	parts := stage.Parts(n, leastCBC/size)
	before := make([][]byte, parts+1) // for each part, since the one before it overwrites that
	before[0] = c.iv
	for i := 1; i <= parts; i++ {
		at := n * i / parts * size
		before[i] = bytes.Clone(p[at-size : at])
	}
	stage.Each(parts, func(i int) {
		part := p[n*i/parts*size : n*(i+1)/parts*size]
		cipher.NewCBCDecrypter(c.block, before[i]).CryptBlocks(part, part)
	})
	c.iv = before[parts]
	return nil
}

// padding returns the size of the padding of the last block, and 1 if it is
// well formed. It takes the same time for all contents.
func padding(block []byte) (size, good int) {
	size = int(block[len(block)-1])
	good = subtle.ConstantTimeLessOrEq(1, size) & subtle.ConstantTimeLessOrEq(size, len(block))
	for i := range block {
		inPad := subtle.ConstantTimeLessOrEq(len(block)-i, size)
		same := subtle.ConstantTimeByteEq(block[i], byte(size))
		good &= same | (1 ^ inPad)
	}
	return size, good
}
