// Package rc2 implements the block cipher RC2 of RFC 2268 and the table that
// maps its effective key bits to the rc2ParameterVersion of a CBC parameter.
//
// # Security
//
// RC2 is here so that old mail can be read. Nothing new is to be encrypted with
// it: the block is 64 bits long, the key often only 40, and the key expansion
// looks secrets up in a table.
package rc2

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math/bits"
)

// BlockSize is the size of a block in octets.
const BlockSize = 8

const (
	maxKey  = 128  // octets
	maxBits = 1024 // effective key bits
)

var (
	// ErrKeySize says that a key is not 1 to 128 octets long.
	ErrKeySize = errors.New("rc2: the key is not 1 to 128 octets long")
	// ErrEffectiveBits says that a number of effective bits is not 1 to 1024.
	ErrEffectiveBits = errors.New("rc2: the effective key bits are not 1 to 1024")
)

type block struct {
	k [64]uint16 // the expanded key, RFC 2268, Section 2
}

// New returns RC2 under key, of 1 to 128 octets, whose strength is cut to
// effectiveBits, 1 to 1024 (RFC 2268, Section 2, calls them T1). The errors are
// ErrKeySize and ErrEffectiveBits. The key is not kept. The block may be used by
// several goroutines at once.
func New(key []byte, effectiveBits int) (cipher.Block, error) {
	if len(key) < 1 || len(key) > maxKey {
		return nil, ErrKeySize
	}
	if effectiveBits < 1 || effectiveBits > maxBits {
		return nil, ErrEffectiveBits
	}
	b := new(block)
	b.expand(key, effectiveBits)
	return b, nil
}

// expand is the key expansion of RFC 2268, Section 2.
func (b *block) expand(key []byte, t1 int) {
	var l [maxKey]byte
	t := copy(l[:], key)
	t8 := (t1 + 7) / 8
	tm := byte(0xff >> (8*t8 - t1))
	for i := t; i < maxKey; i++ {
		l[i] = piTable[l[i-1]+l[i-t]]
	}
	l[maxKey-t8] = piTable[l[maxKey-t8]&tm]
	for i := maxKey - 1 - t8; i >= 0; i-- {
		l[i] = piTable[l[i+1]^l[i+t8]]
	}
	for i := range b.k {
		b.k[i] = binary.LittleEndian.Uint16(l[2*i:])
	}
	clear(l[:])
}

// BlockSize returns 8.
func (b *block) BlockSize() int { return BlockSize }

// rotations are the distances s[i] of RFC 2268, Section 3.1.
var rotations = [4]int{1, 2, 3, 5}

// lastRound is the index of the last of the 16 mixing rounds; a mashing round
// follows the fifth and the eleventh (RFC 2268, Section 3.3).
const lastRound = 15

// Encrypt encrypts one block, RFC 2268, Section 3. dst and src hold at least 8
// octets each and may be the same.
func (b *block) Encrypt(dst, src []byte) {
	r := load(src)
	for round := 0; round <= lastRound; round++ {
		for i := range r {
			x1, x2, x3 := r[(i+3)&3], r[(i+2)&3], r[(i+1)&3]
			r[i] += b.k[4*round+i] + (x1 & x2) + (^x1 & x3)
			r[i] = bits.RotateLeft16(r[i], rotations[i])
		}
		if round == 4 || round == 10 {
			for i := range r {
				r[i] += b.k[r[(i+3)&3]&63]
			}
		}
	}
	store(dst, r)
}

// Decrypt decrypts one block, RFC 2268, Section 4. dst and src hold at least 8
// octets each and may be the same.
func (b *block) Decrypt(dst, src []byte) {
	r := load(src)
	for round := lastRound; round >= 0; round-- {
		if round == 4 || round == 10 {
			for i := 3; i >= 0; i-- {
				r[i] -= b.k[r[(i+3)&3]&63]
			}
		}
		for i := 3; i >= 0; i-- {
			x1, x2, x3 := r[(i+3)&3], r[(i+2)&3], r[(i+1)&3]
			r[i] = bits.RotateLeft16(r[i], -rotations[i])
			r[i] -= b.k[4*round+i] + (x1 & x2) + (^x1 & x3)
		}
	}
	store(dst, r)
}

func load(src []byte) [4]uint16 {
	v := binary.LittleEndian.Uint64(src)
	return [4]uint16{uint16(v), uint16(v >> 16), uint16(v >> 32), uint16(v >> 48)}
}

func store(dst []byte, r [4]uint16) {
	binary.LittleEndian.PutUint64(dst,
		uint64(r[0])|uint64(r[1])<<16|uint64(r[2])<<32|uint64(r[3])<<48)
}

// EffectiveBits returns the number of effective key bits that an
// rc2ParameterVersion stands for (RFC 2268, Section 6): 160 is 40, 120 is 64, 58
// is 128, others below 256 by the table, and 256 to 1024 is the number itself.
// It returns false for a version that stands for no usable number.
func EffectiveBits(version int) (int, bool) {
	if version < 0 || version > maxBits {
		return 0, false
	}
	if version >= len(versionTable) {
		return version, true
	}
	for n, v := range versionTable {
		if int(v) == version {
			return n, n > 0
		}
	}
	return 0, false
}

// ParameterVersion returns the rc2ParameterVersion for a number of effective key
// bits: the inverse of EffectiveBits. It returns false unless the number is 1 to
// 1024.
func ParameterVersion(effectiveBits int) (int, bool) {
	switch {
	case effectiveBits < 1 || effectiveBits > maxBits:
		return 0, false
	case effectiveBits < len(versionTable):
		return int(versionTable[effectiveBits]), true
	default:
		return effectiveBits, true
	}
}
