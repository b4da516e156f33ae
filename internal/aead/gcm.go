package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

const (
	blockSize = aes.BlockSize

	// gcmLimit is how many octets one nonce can encrypt: the counter of 32 bits
	// counts blocks, and two of its values are taken (NIST SP 800-38D, Section
	// 5.2.1.1).
	gcmLimit = 1<<36 - 32

	// chunk is how much is sealed at one go, in octets: enough to hide the cost of
	// a start in the middle, little enough to stay in the cache.
	chunk = 64 << 10
	// minRun is the least that is worth such a start; less goes block by block.
	minRun = 8 * blockSize
	// scratchSize is up to what size a run is sealed beside the destination.
	scratchSize = 1 << 10
	// heldSize is how much ciphertext waits for the authenticator at most.
	heldSize = 16 * blockSize
)

// gcmStream is GCM, NIST SP 800-38D, in chunks.
//
// The one-shot GCM of the standard library does the work at its full speed. From
// the tag of a chunk, the chunk's part of the GHASH is taken back out, and the
// parts are put together with powers of the hash key H. Written with X for the
// GHASH of some blocks, L for the block of the lengths and J0 for the first
// counter block, a tag is (X + L)·H + E(J0), so that X·H = tag + E(J0) + L·H; sum
// holds X·H of all blocks so far.
//
// A chunk in the middle must start from a counter block of its own, J. With a
// nonce N of 16 octets, GCM computes J0 = (N·H + L)·H with L for 128 bits; so
// N = J·H⁻² + L·H⁻¹.
type gcmStream struct {
	use use
	opener
	whole cipher.AEAD // takes the nonce of the message
	seek  cipher.AEAD // takes nonces of 16 octets; nil until needed
	nonce []byte
	iv    [blockSize]byte // room for most nonces

	h    elem // the hash key
	inv2 elem // H⁻²
	invL elem // L·H⁻¹
	mask elem // E(J0)

	sum elem  // X·H of all blocks that are not held
	fed int64 // octets sealed or absorbed

	powN   uint64 // powers and lengths repeat from chunk to chunk
	powV   elem
	lenA   uint64
	lenC   uint64
	lenV   elem
	nheld  int
	held   [heldSize]byte // ciphertext that waits for the authenticator
	key    [blockSize]byte
	tmp    [blockSize]byte
	seekTo [blockSize]byte
	out    []byte // of scratchSize + TagSize octets; nil until needed
}

// NewGCM returns a stream of AES-GCM, NIST SP 800-38D and RFC 5084. key is 16, 24
// or 32 octets (ErrKeySize), nonce at least one (ErrNonceSize) and best 12; both
// are copied. The limit is 2^36-32 octets.
func NewGCM(key, nonce []byte) (Stream, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, ErrKeySize
	}
	return newGCM(block, nonce)
}

func newGCM(block cipher.Block, nonce []byte) (*gcmStream, error) {
	if len(nonce) == 0 {
		return nil, ErrNonceSize
	}
	whole, err := cipher.NewGCMWithNonceSize(block, len(nonce))
	if err != nil {
		return nil, err
	}
	s := &gcmStream{opener: opener{block: block}, whole: whole}
	s.nonce = append(s.iv[:0], nonce...)
	block.Encrypt(s.tmp[:], s.tmp[:])
	s.h = loadElem(&s.tmp)
	s.powV = elem{lo: 1} // H to the power of zero; lenV is right as it is
	s.firstCounter()
	s.mask = s.encryptCounter(0)
	return s, nil
}

// An opener decrypts from one place on.
type opener struct {
	block  cipher.Block
	j0     [blockSize]byte
	opened int64 // octets opened
	ctr    cipher.Stream
}

// firstCounter computes J0 from the nonce, NIST SP 800-38D, Section 7.1, step 2.
func (s *gcmStream) firstCounter() {
	if len(s.nonce) == 12 {
		copy(s.j0[:], s.nonce)
		s.j0[blockSize-1] = 1
		return
	}
	var x elem
	for n := s.nonce; len(n) > 0; n = n[min(len(n), blockSize):] {
		s.tmp = [blockSize]byte{}
		copy(s.tmp[:], n)
		x = x.add(loadElem(&s.tmp)).mul(s.h)
	}
	x.add(lengthElem(0, uint64(len(s.nonce)))).mul(s.h).store(&s.j0)
}

// counter writes the counter block n after J0: the last 32 bits count and wrap
// without a carry (NIST SP 800-38D, Section 6.2).
func (s *opener) counter(to *[blockSize]byte, n int64) {
	*to = s.j0
	last := to[blockSize-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+uint32(n))
}

// encryptCounter leaves the encrypted counter block n after J0 in s.key and
// returns it as an element.
func (s *gcmStream) encryptCounter(n int64) elem {
	s.counter(&s.key, n)
	s.block.Encrypt(s.key[:], s.key[:])
	return loadElem(&s.key)
}

// power returns H^n.
func (s *gcmStream) power(n uint64) elem {
	if n == 1 { // does not push out the power that long calls repeat
		return s.h
	}
	if n != s.powN {
		s.powN, s.powV = n, s.h.pow(n)
	}
	return s.powV
}

// lengths returns L·H for lengths in octets.
func (s *gcmStream) lengths(aad, content uint64) elem {
	if aad != s.lenA || content != s.lenC {
		s.lenA, s.lenC = aad, content
		s.lenV = lengthElem(aad, content).mul(s.h)
	}
	return s.lenV
}

// hash returns X·H of p, which is taken as if zeros filled its last block.
func (s *gcmStream) hash(p []byte) elem {
	s.whole.Seal(s.tmp[:0], s.nonce, nil, p)
	return loadElem(&s.tmp).add(s.mask).add(s.lengths(uint64(len(p)), 0))
}

// join appends n blocks, whose X·H is x, to the sum.
func (s *gcmStream) join(x elem, n int) {
	if !s.sum.isZero() { // a zero has no secret: nothing came before
		s.sum = s.sum.mul(s.power(uint64(n)))
	}
	s.sum = s.sum.add(x)
}

// release takes the held ciphertext into the sum.
func (s *gcmStream) release() {
	if s.nheld > 0 {
		s.join(s.hash(s.held[:s.nheld]), (s.nheld+blockSize-1)/blockSize)
		s.nheld = 0
	}
}

// take takes ciphertext into the authenticator: a little is held until there is
// more of it.
func (s *gcmStream) take(p []byte) {
	if s.nheld+len(p) > heldSize {
		if over := s.nheld % blockSize; over != 0 {
			n := copy(s.held[s.nheld:s.nheld+blockSize-over], p)
			s.nheld += n
			p = p[n:]
		}
		s.release()
		if n := len(p) &^ (blockSize - 1); n >= heldSize {
			s.join(s.hash(p[:n]), n/blockSize)
			p = p[n:]
		}
	}
	s.nheld += copy(s.held[s.nheld:], p)
}

// LateAAD returns true.
func (s *gcmStream) LateAAD() bool { return true }

// Absorb implements Stream.
func (s *gcmStream) Absorb(ciphertext []byte) error {
	if err := s.use.enter(absorbing); err != nil {
		return err
	}
	if int64(len(ciphertext)) > gcmLimit-s.fed {
		s.use = failed
		return ErrLimit
	}
	s.fed += int64(len(ciphertext))
	s.take(ciphertext)
	return nil
}

// Tag implements Stream.
func (s *gcmStream) Tag(aad []byte) (tag [TagSize]byte, err error) {
	if err = s.use.finish(); err != nil {
		return tag, err
	}
	s.release()
	if len(aad) > 0 {
		blocks := uint64(s.fed+blockSize-1) / blockSize
		s.sum = s.sum.add(s.hash(aad).mul(s.power(blocks)))
	}
	s.sum.add(s.lengths(uint64(len(aad)), uint64(s.fed))).add(s.mask).store(&tag)
	return tag, nil
}

// Seal implements Stream.
func (s *gcmStream) Seal(dst, src []byte) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if err := s.use.enter(sealing); err != nil {
		return err
	}
	if int64(len(src)) > gcmLimit-s.fed {
		s.use = failed
		return ErrLimit
	}
	dst = dst[:len(src)]
	if over := s.fed % blockSize; over != 0 {
		n := s.xor(dst, src, s.key[over:])
		dst, src = dst[n:], src[n:]
	}
	for len(src) >= minRun && s.canSeek() {
		n := s.run(dst, src)
		dst, src = dst[n:], src[n:]
	}
	for len(src) > 0 {
		s.encryptCounter(s.fed/blockSize + 1)
		n := s.xor(dst, src, s.key[:])
		dst, src = dst[n:], src[n:]
	}
	return nil
}

// xor seals as much as there is key stream and returns how much.
func (s *gcmStream) xor(dst, src, key []byte) int {
	n := subtle.XORBytes(dst, src, key)
	s.take(dst[:n])
	s.fed += int64(n)
	return n
}

// canSeek readies the stream to seal from any block and tells whether it can: from
// the first always, from a later one unless the hash key is zero.
func (s *gcmStream) canSeek() bool {
	if s.fed == 0 || s.seek != nil {
		return true
	}
	if s.h.isZero() { // one key in 2^128 has no inverse to go by
		return false
	}
	seek, err := cipher.NewGCMWithNonceSize(s.block, blockSize)
	if err != nil {
		return false
	}
	inv := s.h.inverse()
	s.seek, s.inv2, s.invL = seek, inv.square(), lengthElem(0, blockSize).mul(inv)
	return true
}

// run seals whole blocks from the start of src, up to a chunk of them, and returns
// how many octets. The position is at the start of a block, and src is at least
// minRun octets long.
func (s *gcmStream) run(dst, src []byte) int {
	s.release()
	aead, nonce, mask := s.whole, s.nonce, s.mask
	if s.fed > 0 {
		// The content of a GCM message starts one counter block after its J0.
		at := s.fed / blockSize
		s.counter(&s.seekTo, at)
		loadElem(&s.seekTo).mul(s.inv2).add(s.invL).store(&s.seekTo)
		aead, nonce, mask = s.seek, s.seekTo[:], s.encryptCounter(at)
	}
	n := len(src) &^ (blockSize - 1)
	if n <= scratchSize {
		if s.out == nil {
			s.out = make([]byte, scratchSize+TagSize)
		}
		aead.Seal(s.out[:0], nonce, src[:n], nil)
		copy(dst, s.out[:n])
		copy(s.tmp[:], s.out[n:n+TagSize])
	} else {
		n = min(n, chunk)
		if len(src)-n < TagSize {
			n -= blockSize
		}
		// The tag goes where the next octets will. They may be the next octets of
		// src, so they are put back.
		next := dst[n : n+TagSize]
		copy(s.key[:], src[n:])
		aead.Seal(dst[:0:n+TagSize], nonce, src[:n], nil)
		copy(s.tmp[:], next)
		copy(next, s.key[:])
	}
	x := loadElem(&s.tmp).add(mask).add(s.lengths(0, uint64(n)))
	s.join(x, n/blockSize)
	s.fed += int64(n)
	return n
}

// Open implements Stream.
func (s *opener) Open(dst, src []byte) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if int64(len(src)) > gcmLimit-s.opened {
		return ErrLimit
	}
	for len(src) > 0 {
		// The counter of the standard library is 128 bits wide, so a new one takes
		// over where 32 bits wrap: at most once in a message.
		low := binary.BigEndian.Uint32(s.j0[blockSize-4:]) + uint32(s.opened/blockSize) + 1
		if s.ctr == nil || low == 0 && s.opened%blockSize == 0 {
			var first [blockSize]byte
			s.counter(&first, s.opened/blockSize+1)
			s.ctr = cipher.NewCTR(s.block, first[:])
		}
		left := (1<<32-int64(low))*blockSize - s.opened%blockSize
		n := int(min(left, int64(len(src))))
		s.ctr.XORKeyStream(dst[:n], src[:n])
		s.opened += int64(n)
		dst, src = dst[n:], src[n:]
	}
	return nil
}

// OpenAt implements Stream.
func (s *opener) OpenAt(dst, src []byte, off int64) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if off < 0 || off > gcmLimit || int64(len(src)) > gcmLimit-off {
		return ErrLimit
	}
	// A copy of its own: a cipher.Stream is at one place alone. The blocks before
	// off in its block are passed over.
	at := opener{block: s.block, j0: s.j0, opened: off &^ (blockSize - 1)}
	if skip := off % blockSize; skip > 0 && len(src) > 0 {
		var first [blockSize]byte
		n := copy(first[skip:], src)
		if err := at.Open(first[:], first[:]); err != nil {
			return err
		}
		copy(dst, first[skip:int(skip)+n])
		dst, src = dst[n:], src[n:]
	}
	return at.Open(dst, src)
}
