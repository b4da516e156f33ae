package keywrap

import (
	"encoding/binary"
	"hash"
)

// X963 derives n octets from a shared secret with the key derivation function of
// ANSI X9.63, SEC 1, Section 3.6.1: the hash of secret, a counter of 32 bits that
// starts at one, and sharedInfo, again and again. n is a size that the caller
// chose, never one from a message; it returns nil when n is not positive.
func X963(newHash func() hash.Hash, secret, sharedInfo []byte, n int) []byte {
	if n <= 0 {
		return nil
	}
	h := newHash()
	out := make([]byte, 0, n+h.Size())
	var counter [4]byte
	for i := uint32(1); len(out) < n; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		h.Reset()
		h.Write(secret)
		h.Write(counter[:])
		h.Write(sharedInfo)
		out = h.Sum(out)
	}
	return out[:n:n]
}
