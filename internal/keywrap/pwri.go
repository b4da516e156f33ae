package keywrap

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"slices"
)

const (
	pwriHeader = 4 // octets: the length of the key and three check octets
	pwriMinKey = 3 // octets: the check octets are the complement of as many of the key
	pwriMaxKey = 255
)

// WrapPWRI wraps key with PWRI-KEK, RFC 3211, Section 2.3.1: padded with random
// octets to at least two blocks and encrypted twice in CBC mode with one running
// chain. iv is one block; key is 3 to 255 octets. Other sizes are ErrKeySize.
func WrapPWRI(block cipher.Block, iv, key []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size || len(key) < pwriMinKey || len(key) > pwriMaxKey {
		return nil, ErrKeySize
	}
	pad := make([]byte, pwriSize(size, len(key))-pwriHeader-len(key))
	_, _ = rand.Read(pad) // never returns an error
	return sealPWRI(block, iv, key, pad), nil
}

// pwriSize is the size of a wrapped key of n octets: whole blocks, at least two.
func pwriSize(block, n int) int {
	return max(2, (pwriHeader+n+block-1)/block) * block
}

// sealPWRI is WrapPWRI with given padding.
func sealPWRI(block cipher.Block, iv, key, pad []byte) []byte {
	out := make([]byte, 0, pwriHeader+len(key)+len(pad))
	// RFC 3211, Section 2.3.1: length, complement of the first three octets of the
	// key, key, padding.
	out = append(out, byte(len(key)), ^key[0], ^key[1], ^key[2])
	out = append(out, key...)
	out = append(out, pad...)
	// RFC 3211, Section 2.3.1: the second encryption goes on from the last block
	// of the first; the chain is not reset.
	chain := cipher.NewCBCEncrypter(block, iv)
	chain.CryptBlocks(out, out)
	chain.CryptBlocks(out, out)
	return out
}

// UnwrapPWRI opens what WrapPWRI made, RFC 3211, Section 2.3.2. The error is
// ErrIntegrity. The check has 24 bits: a wrong password passes it once in sixteen
// million tries or less, so that a success is no proof of the password.
func UnwrapPWRI(block cipher.Block, iv, wrapped []byte) ([]byte, error) {
	size := block.BlockSize()
	n := len(wrapped)
	if len(iv) != size || n%size != 0 || n < 2*size || n > pwriSize(size, pwriMaxKey) {
		return nil, ErrIntegrity
	}
	// RFC 3211, Section 2.3.2: the last block of the first encryption was the
	// initialization vector of the second; it comes out first.
	buf := make([]byte, n)
	last := buf[n-size:]
	cipher.NewCBCDecrypter(block, wrapped[n-2*size:n-size]).CryptBlocks(last, wrapped[n-size:])
	middle := slices.Clone(last)
	cipher.NewCBCDecrypter(block, middle).CryptBlocks(buf, wrapped)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(buf, buf)

	length := int(buf[0])
	check := (buf[1] ^ buf[4]) & (buf[2] ^ buf[5]) & (buf[3] ^ buf[6])
	ok := subtle.ConstantTimeByteEq(check, 0xff) &
		subtle.ConstantTimeLessOrEq(pwriMinKey, length) &
		subtle.ConstantTimeLessOrEq(length, n-pwriHeader)
	if ok != 1 {
		clear(buf)
		return nil, ErrIntegrity
	}
	key := slices.Clone(buf[pwriHeader : pwriHeader+length])
	clear(buf)
	return key, nil
}
