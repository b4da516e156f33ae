package aead

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	//lint:ignore SA1019 there is no other Poly1305 that takes its message in parts; the one-time key is used once
	"golang.org/x/crypto/poly1305"
)

// chachaLimit is how many octets one nonce can encrypt: the counter of 32 bits
// counts blocks of 64 octets, and block 0 makes the one-time key (RFC 8439,
// Section 2.8).
const chachaLimit = 1<<38 - 64

// chachaStream is ChaCha20-Poly1305, RFC 8439, Section 2.8.
type chachaStream struct {
	use    use
	key    [chacha20.KeySize]byte
	nonce  [chacha20.NonceSize]byte
	aad    []byte
	sealer *chacha20.Cipher
	opener *chacha20.Cipher
	mac    *poly1305.MAC
	fed    int64 // octets sealed or absorbed
	opened int64 // octets opened
}

// NewChaCha20Poly1305 returns a stream of ChaCha20-Poly1305, RFC 8439 and RFC 8103.
// key is 32 octets (ErrKeySize), nonce 12 (ErrNonceSize). Poly1305 takes the
// additional data before the content, so aad is needed here; it is copied, and Tag
// must be given the same. The limit is 2^38-64 octets.
func NewChaCha20Poly1305(key, nonce []byte, aad []byte) (Stream, error) {
	if len(key) != chacha20.KeySize {
		return nil, ErrKeySize
	}
	if len(nonce) != chacha20.NonceSize {
		return nil, ErrNonceSize
	}
	s := &chachaStream{aad: bytes.Clone(aad)}
	copy(s.key[:], key)
	copy(s.nonce[:], nonce)
	first, err := chacha20.NewUnauthenticatedCipher(key, nonce)
	if err != nil {
		return nil, err
	}
	// RFC 8439, Section 2.6: the one-time key is the first half of block 0.
	var once [32]byte
	first.XORKeyStream(once[:], once[:])
	s.mac = poly1305.New(&once)
	clear(once[:])
	s.write(aad)
	s.pad(int64(len(aad)))
	return s, nil
}

// cipherAtOne returns the key stream of the content, which starts at block 1.
func (s *chachaStream) cipherAtOne() (*chacha20.Cipher, error) {
	c, err := chacha20.NewUnauthenticatedCipher(s.key[:], s.nonce[:])
	if err != nil {
		return nil, err
	}
	c.SetCounter(1)
	return c, nil
}

func (s *chachaStream) write(p []byte) {
	_, _ = s.mac.Write(p) // never returns an error
}

// pad fills the last 16 octets of something n octets long with zeros.
func (s *chachaStream) pad(n int64) {
	var zeros [16]byte
	if over := n % 16; over != 0 {
		s.write(zeros[:16-over])
	}
}

// reserve counts n more octets of the message.
func (s *chachaStream) reserve(n int) error {
	if int64(n) > chachaLimit-s.fed {
		s.use = failed
		return ErrLimit
	}
	s.fed += int64(n)
	return nil
}

// LateAAD returns false.
func (s *chachaStream) LateAAD() bool { return false }

// Seal implements Stream.
func (s *chachaStream) Seal(dst, src []byte) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if err := s.use.enter(sealing); err != nil {
		return err
	}
	if s.sealer == nil {
		c, err := s.cipherAtOne()
		if err != nil {
			return err
		}
		s.sealer = c
	}
	if err := s.reserve(len(src)); err != nil {
		return err
	}
	dst = dst[:len(src)]
	for len(src) > 0 {
		// In steps, so that the authenticator finds the ciphertext in the cache.
		n := min(len(src), chunk)
		s.sealer.XORKeyStream(dst[:n], src[:n])
		s.write(dst[:n])
		dst, src = dst[n:], src[n:]
	}
	return nil
}

// Absorb implements Stream.
func (s *chachaStream) Absorb(ciphertext []byte) error {
	if err := s.use.enter(absorbing); err != nil {
		return err
	}
	if err := s.reserve(len(ciphertext)); err != nil {
		return err
	}
	s.write(ciphertext)
	return nil
}

// Tag implements Stream.
func (s *chachaStream) Tag(aad []byte) (tag [TagSize]byte, err error) {
	if !bytes.Equal(aad, s.aad) {
		return tag, ErrLateAAD
	}
	if err = s.use.finish(); err != nil {
		return tag, err
	}
	s.pad(s.fed)
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[:8], uint64(len(aad)))
	binary.LittleEndian.PutUint64(lengths[8:], uint64(s.fed))
	s.write(lengths[:])
	s.mac.Sum(tag[:0])
	return tag, nil
}

// Open implements Stream.
func (s *chachaStream) Open(dst, src []byte) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if int64(len(src)) > chachaLimit-s.opened {
		return ErrLimit
	}
	if s.opener == nil {
		c, err := s.cipherAtOne()
		if err != nil {
			return err
		}
		s.opener = c
	}
	s.opened += int64(len(src))
	s.opener.XORKeyStream(dst[:len(src)], src)
	return nil
}

// OpenAt implements Stream.
func (s *chachaStream) OpenAt(dst, src []byte, off int64) error {
	if len(dst) < len(src) {
		return ErrShortDst
	}
	if off < 0 || off > chachaLimit || int64(len(src)) > chachaLimit-off {
		return ErrLimit
	}
	if len(src) == 0 {
		return nil
	}
	const size = 64 // of a block, RFC 8439, Section 2.3
	c, err := chacha20.NewUnauthenticatedCipher(s.key[:], s.nonce[:])
	if err != nil {
		return err
	}
	c.SetCounter(uint32(1 + off/size))
	var passed [size]byte
	c.XORKeyStream(passed[:off%size], passed[:off%size])
	c.XORKeyStream(dst[:len(src)], src)
	return nil
}
