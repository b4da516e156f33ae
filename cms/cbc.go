package cms

import (
	"crypto/cipher"
	"crypto/subtle"
	"io"
)

// cbcChunk is how much is decrypted or encrypted at a time; a multiple of
// every block size.
const cbcChunk = 32 << 10

// A cbcReader decrypts CBC with the padding of RFC 5652, Section 6.3. It holds
// the last block back until it knows that it is the last one.
type cbcReader struct {
	src   io.Reader
	mode  cipher.BlockMode
	size  int                   // of a block
	end   func(err error) error // called once with the source's error, nil for its end; its error goes before bad padding
	buf   []byte                // ciphertext, with the block that is held back at its start
	other []byte                // the plaintext that is being read
	held  int                   // 0 or size
	plain []byte                // not yet given out
	err   error
}

func newCBCReader(src io.Reader, block cipher.Block, iv []byte, end func(error) error) *cbcReader {
	size := block.BlockSize()
	return &cbcReader{src: src, mode: cipher.NewCBCDecrypter(block, iv), size: size, end: end, buf: make([]byte, cbcChunk+size), other: make([]byte, cbcChunk+size)}
}

func (c *cbcReader) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill()
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// fill decrypts the next blocks.
func (c *cbcReader) fill() {
	n, err := io.ReadFull(c.src, c.buf[c.held:])
	n += c.held
	if err == nil {
		// At least one block more than is held back: keep the last one.
		c.give(n - c.size)
		return
	}
	atEnd := err == io.EOF || err == io.ErrUnexpectedEOF
	if atEnd {
		err = nil
	}
	// The structure is checked to its end first, so that what an attacker
	// appends cannot tell good padding from bad.
	if c.err = c.end(err); c.err != nil {
		return
	}
	if n == 0 || n%c.size != 0 {
		c.err = ErrDecrypt
		return
	}
	c.mode.CryptBlocks(c.buf[:n], c.buf[:n])
	pad, good := padding(c.buf[n-c.size : n])
	if good == 0 {
		c.err = ErrDecrypt
		return
	}
	c.plain, c.err = c.buf[:n-pad], io.EOF
}

// give decrypts the first n octets of the buffer and holds back the block that
// follows them, in the other buffer: the plaintext stays until it is read.
func (c *cbcReader) give(n int) {
	copy(c.other, c.buf[n:n+c.size])
	c.mode.CryptBlocks(c.buf[:n], c.buf[:n])
	c.plain = c.buf[:n]
	c.buf, c.other, c.held = c.other, c.buf, c.size
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
