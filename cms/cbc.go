package cms

import (
	"crypto/cipher"
	"crypto/subtle"
	"io"

	"github.com/postseal/postseal/internal/stage"
)

// A cbcReader decrypts CBC with the padding of RFC 5652, Section 6.3. It holds
// the last block back until it knows that it is the last one. While a chunk is
// read by its caller, the next one is decrypted.
type cbcReader struct {
	src   io.Reader
	block cipher.Block
	iv    []byte                // the block of ciphertext before in
	end   func(err error) error // called once with the source's error, nil for its end; its error goes before bad padding
	in    *stage.Block          // ciphertext: at first what is held back, at most one block
	taken *stage.Block          // ciphertext that is being decrypted; nil when there is none
	ahead *stage.Block          // to there
	free  *stage.Block
	task  stage.Task
	out   *stage.Block // the plaintext that is being read
	plain []byte       // of it, not yet given out
	err   error
}

func newCBCReader(src io.Reader, block cipher.Block, iv []byte, end func(error) error) *cbcReader {
	return &cbcReader{src: src, block: block, iv: append([]byte(nil), iv...), end: end}
}

func (c *cbcReader) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		if c.err != nil && c.ahead == nil {
			c.release()
			return 0, c.err
		}
		c.fill()
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// release gives all blocks back.
func (c *cbcReader) release() {
	for _, b := range []**stage.Block{&c.in, &c.taken, &c.ahead, &c.free, &c.out} {
		stage.Put(*b)
		*b = nil
	}
}

// fill takes the chunk that is being decrypted, and starts with the next one.
func (c *cbcReader) fill() {
	if c.out != nil {
		stage.Put(c.free)
		c.free, c.out = c.out, nil
	}
	ready := c.ahead
	c.ahead = nil
	if c.err == nil {
		c.next(ready != nil)
	}
	if ready == nil {
		return
	}
	c.out, c.plain = ready, ready.Buf
}

// next reads a chunk of ciphertext and decrypts it into ahead. busy says that
// another one is being decrypted.
func (c *cbcReader) next(busy bool) {
	if c.in == nil {
		c.in = stage.Get()
	}
	size := c.block.BlockSize()
	held := len(c.in.Buf)
	n, err := io.ReadFull(c.src, c.in.Buf[held:chunkSize+size])
	c.in.Resize(held + n)
	n += held
	if busy {
		_ = c.task.Wait() // decryption never fails
	}
	if err == nil {
		// At least one block more than is held back: keep the last one.
		c.decrypt(n - size)
		return
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	// The structure is checked to its end first, so that what an attacker
	// appends cannot tell good padding from bad.
	if c.err = c.end(err); c.err != nil {
		return
	}
	if n == 0 || n%size != 0 {
		c.err = ErrDecrypt
		return
	}
	c.ahead = c.space(n)
	c.crypt(c.ahead.Buf, c.in.Buf, c.iv)
	pad, good := padding(c.ahead.Buf[n-size:])
	if good == 0 {
		stage.Put(c.ahead)
		c.ahead, c.err = nil, ErrDecrypt
		return
	}
	c.ahead.Resize(n - pad)
	c.err = io.EOF
}

// space returns a block for n octets.
func (c *cbcReader) space(n int) *stage.Block {
	b := c.free
	if c.free = nil; b == nil {
		b = stage.Get()
	}
	b.Resize(n)
	return b
}

// decrypt starts to decrypt the first n octets of in, and leaves what follows.
func (c *cbcReader) decrypt(n int) {
	size := c.block.BlockSize()
	full, iv := c.in, c.iv
	rest := c.taken
	if rest == nil {
		rest = stage.Get()
	}
	rest.Resize(0)
	rest.Buf = append(rest.Buf, full.Buf[n:]...)
	c.iv = append([]byte(nil), full.Buf[n-size:n]...)
	c.in, c.taken, c.ahead = rest, full, c.space(n)
	dst, src := c.ahead.Buf, full.Buf[:n]
	if !stage.Parallel() {
		c.crypt(dst, src, iv)
		return
	}
	_ = c.task.Go(func() error { // decryption never fails
		c.crypt(dst, src, iv)
		return nil
	})
}

// leastCBC is how many octets are worth a core of their own.
const leastCBC = 32 << 10

// crypt decrypts whole blocks of src to dst, which do not overlap, on the cores
// there are: each block needs no more than the ciphertext before it.
func (c *cbcReader) crypt(dst, src, iv []byte) {
	size := c.block.BlockSize()
	stage.Split(len(src)/size, leastCBC/size, func(from, to int) {
		from, to = from*size, to*size
		before := iv
		if from > 0 {
			before = src[from-size : from]
		}
		cipher.NewCBCDecrypter(c.block, before).CryptBlocks(dst[from:to], src[from:to])
	})
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
