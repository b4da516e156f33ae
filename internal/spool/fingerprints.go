package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
)

// Fingerprints tell whether blocks that are read again are what they were.
//
// They are those of GMAC (NIST SP 800-38D) under a random key that exists in this
// process's memory only: who does not know it cannot make other octets match. They
// take 16 octets for each block. Fingerprints are not safe for concurrent use.
type Fingerprints struct {
	mac  cipher.AEAD
	tags map[int64][16]byte
}

// NewFingerprints returns Fingerprints of no blocks.
func NewFingerprints() (*Fingerprints, error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails, see its documentation
	c, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	mac, err := cipher.NewGCM(c)
	if err != nil {
		return nil, err
	}
	return &Fingerprints{mac: mac, tags: make(map[int64][16]byte)}, nil
}

// tag computes a fingerprint. The number of the block is the nonce; the octets
// are what is authenticated.
func (f *Fingerprints) tag(number int64, block []byte) (tag [16]byte) {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], uint64(number))
	f.mac.Seal(tag[:0], nonce[:], nil, block)
	return tag
}

// Take remembers a block that was read for the first time.
func (f *Fingerprints) Take(number int64, block []byte) { f.tags[number] = f.tag(number, block) }

// Has reports whether a block has been read.
func (f *Fingerprints) Has(number int64) bool {
	_, ok := f.tags[number]
	return ok
}

// Len returns how many blocks have been read.
func (f *Fingerprints) Len() int { return len(f.tags) }

// Check returns [ErrChanged] for a block that is not what Take was given.
func (f *Fingerprints) Check(number int64, block []byte) error {
	before, ok := f.tags[number]
	now := f.tag(number, block)
	if !ok || subtle.ConstantTimeCompare(before[:], now[:]) != 1 {
		return ErrChanged
	}
	return nil
}
