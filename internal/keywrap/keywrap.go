// Package keywrap wraps and unwraps content encryption keys and derives
// key-encryption keys, as the Cryptographic Message Syntax needs it:
//
//   - AES Key Wrap: RFC 3394, RFC 3565
//   - Triple-DES and RC2 key wrap, reading only: RFC 3217, RFC 3370
//   - PWRI-KEK, the wrap under a password: RFC 3211
//   - the key derivation function of ANSI X9.63: SEC 1, Section 3.6.1
//
// # Security
//
// A wrapped key that cannot be opened gives ErrIntegrity and nothing else: no
// cause, no secret, and no part of the key. Check values are compared in
// constant time. Keys that are returned are new slices that belong to the caller.
package keywrap

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

var (
	// ErrIntegrity says that a wrapped key did not pass its check: it was
	// damaged, wrapped under another key, or has an impossible size. It is the
	// only error of every function here that unwraps.
	ErrIntegrity = errors.New("keywrap: the wrapped key does not pass its integrity check")
	// ErrKeySize says that a key to be wrapped, a key-encryption key or an
	// initialization vector has a size that the wrap cannot take. It is a
	// caller's mistake.
	ErrKeySize = errors.New("keywrap: a key or initialization vector has an unsuitable size")
)

const (
	semiblock = 8 // octets; RFC 3394 works on halves of an AES block

	minAESKey = 16   // octets; RFC 3394, Section 2: at least two semiblocks
	maxAESKey = 4096 // octets; far above any key that a message carries
)

// initialValue is the default initial value of RFC 3394, Section 2.2.3.1.
const initialValue = 0xa6a6a6a6a6a6a6a6

// Wrap wraps key under kek with AES Key Wrap, RFC 3394, Section 2.2.1. kek is 16,
// 24 or 32 octets, key a multiple of 8 from 16 to 4096 octets; the result is 8
// octets longer than key. Other sizes are ErrKeySize.
func Wrap(kek, key []byte) ([]byte, error) {
	n := len(key) / semiblock
	if len(key)%semiblock != 0 || len(key) < minAESKey || len(key) > maxAESKey {
		return nil, ErrKeySize
	}
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, ErrKeySize
	}
	out := make([]byte, semiblock+len(key))
	r := out[semiblock:]
	copy(r, key)
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:], initialValue)
	t := uint64(0)
	for range 6 {
		for i := range n {
			ri := r[i*semiblock : (i+1)*semiblock]
			copy(b[semiblock:], ri)
			c.Encrypt(b[:], b[:])
			copy(ri, b[semiblock:])
			t++
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
		}
	}
	copy(out, b[:semiblock])
	return out, nil
}

// Unwrap opens what Wrap made, RFC 3394, Section 2.2.2. The error is ErrIntegrity,
// for every size of kek or wrapped that AES Key Wrap cannot have, too.
func Unwrap(kek, wrapped []byte) ([]byte, error) {
	n := len(wrapped)/semiblock - 1
	if len(wrapped)%semiblock != 0 || n*semiblock < minAESKey || n*semiblock > maxAESKey {
		return nil, ErrIntegrity
	}
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, ErrIntegrity
	}
	key := make([]byte, n*semiblock)
	copy(key, wrapped[semiblock:])
	var b [aes.BlockSize]byte
	copy(b[:], wrapped[:semiblock])
	t := uint64(6 * n)
	for range 6 {
		for i := n - 1; i >= 0; i-- {
			ri := key[i*semiblock : (i+1)*semiblock]
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
			t--
			copy(b[semiblock:], ri)
			c.Decrypt(b[:], b[:])
			copy(ri, b[semiblock:])
		}
	}
	// RFC 3394, Section 2.2.3: without the initial value, no key is returned.
	var want [semiblock]byte
	binary.BigEndian.PutUint64(want[:], initialValue)
	if subtle.ConstantTimeCompare(b[:semiblock], want[:]) != 1 {
		clear(key)
		return nil, ErrIntegrity
	}
	return key, nil
}
