package aead

import (
	"encoding/binary"
	"math/bits"
)

// An elem is an element of the field of GCM, GF(2^128) modulo
// x^128 + x^7 + x^2 + x + 1: bit i of lo is the coefficient of x^i, bit i of hi
// that of x^(64+i). Blocks have the bits of each octet the other way round
// (NIST SP 800-38D, Section 6.3). All operations take the same time for all
// elements.
type elem struct {
	lo, hi uint64
}

// loadElem returns the element that a block of 16 octets stands for.
func loadElem(b *[16]byte) elem {
	return elem{
		lo: bits.Reverse64(binary.BigEndian.Uint64(b[:8])),
		hi: bits.Reverse64(binary.BigEndian.Uint64(b[8:])),
	}
}

// store writes the block that stands for the element.
func (a elem) store(b *[16]byte) {
	binary.BigEndian.PutUint64(b[:8], bits.Reverse64(a.lo))
	binary.BigEndian.PutUint64(b[8:], bits.Reverse64(a.hi))
}

// lengthElem returns the block of the two lengths in octets, of the additional
// data and of the content, that ends a GHASH.
func lengthElem(aad, content uint64) elem {
	return elem{lo: bits.Reverse64(aad * 8), hi: bits.Reverse64(content * 8)}
}

func (a elem) add(b elem) elem { return elem{a.lo ^ b.lo, a.hi ^ b.hi} }

func (a elem) isZero() bool { return a.lo|a.hi == 0 }

// mul returns a·b by Karatsuba's three products of halves.
func (a elem) mul(b elem) elem {
	h0, l0 := clmul(a.lo, b.lo)
	h2, l2 := clmul(a.hi, b.hi)
	h1, l1 := clmul(a.lo^a.hi, b.lo^b.hi)
	h1 ^= h0 ^ h2
	l1 ^= l0 ^ l2
	return reduce(l0, h0^l1, l2^h1, h2)
}

// square returns a·a: in a field of characteristic two, the coefficients move
// apart.
func (a elem) square() elem {
	return reduce(spread(uint32(a.lo)), spread(uint32(a.lo>>32)),
		spread(uint32(a.hi)), spread(uint32(a.hi>>32)))
}

// squareN squares n times.
func (a elem) squareN(n int) elem {
	for range n {
		a = a.square()
	}
	return a
}

// pow returns a^n. The time depends on n, which is public: a number of blocks.
func (a elem) pow(n uint64) elem {
	if n == 0 {
		return elem{lo: 1}
	}
	r := a
	for i := bits.Len64(n) - 2; i >= 0; i-- {
		r = r.square()
		if n>>i&1 == 1 {
			r = r.mul(a)
		}
	}
	return r
}

// inverse returns the multiplicative inverse, a^(2^128-2), and zero for zero. A
// power a^(2^k-1) is raised to twice its k, and by one, until k is 127.
func (a elem) inverse() elem {
	r := a // k = 1
	for k := 1; k < 127; k = 2*k + 1 {
		r = r.squareN(k).mul(r)
		r = r.square().mul(a)
	}
	return r.square()
}

// reduce takes a polynomial of 256 coefficients, lowest word first, modulo the
// polynomial of the field.
func reduce(r0, r1, r2, r3 uint64) elem {
	r1 ^= r3 ^ r3<<1 ^ r3<<2 ^ r3<<7
	r2 ^= r3>>63 ^ r3>>62 ^ r3>>57
	r0 ^= r2 ^ r2<<1 ^ r2<<2 ^ r2<<7
	r1 ^= r2>>63 ^ r2>>62 ^ r2>>57
	return elem{r0, r1}
}

// spread puts a zero between every two bits.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	x = (x | x<<1) & 0x5555555555555555
	return x
}

// Masks of every fourth bit.
const (
	every0 = 0x1111111111111111
	every1 = every0 << 1
	every2 = every0 << 2
	every3 = every0 << 3
)

// clmul returns the product of two polynomials of 64 coefficients. It multiplies
// integers that hold every fourth coefficient only: at most fifteen ones come
// together in a column, so that no carry reaches the next coefficient. For that,
// the upper four coefficients of x are multiplied on their own.
func clmul(x, y uint64) (hi, lo uint64) {
	for i := 60; i < 64; i++ {
		m := -(x >> i & 1)
		hi ^= y >> (64 - i) & m
		lo ^= y << i & m
	}
	x &= 1<<60 - 1
	x0, x1, x2, x3 := x&every0, x&every1, x&every2, x&every3
	y0, y1, y2, y3 := y&every0, y&every1, y&every2, y&every3

	h, l := mul4(x0, y0, x1, y3, x2, y2, x3, y1)
	hi ^= h & every0
	lo ^= l & every0
	h, l = mul4(x0, y1, x1, y0, x2, y3, x3, y2)
	hi ^= h & every1
	lo ^= l & every1
	h, l = mul4(x0, y2, x1, y1, x2, y0, x3, y3)
	hi ^= h & every2
	lo ^= l & every2
	h, l = mul4(x0, y3, x1, y2, x2, y1, x3, y0)
	hi ^= h & every3
	lo ^= l & every3
	return hi, lo
}

// mul4 adds four products of integers without carry.
func mul4(a, b, c, d, e, f, g, i uint64) (hi, lo uint64) {
	h0, l0 := bits.Mul64(a, b)
	h1, l1 := bits.Mul64(c, d)
	h2, l2 := bits.Mul64(e, f)
	h3, l3 := bits.Mul64(g, i)
	return h0 ^ h1 ^ h2 ^ h3, l0 ^ l1 ^ l2 ^ l3
}
