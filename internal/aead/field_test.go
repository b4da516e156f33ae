package aead

import (
	"math/rand/v2"
	"testing"
)

// slowMul multiplies bit by bit, by the definition.
func slowMul(a, b elem) elem {
	var r elem
	for i := range 128 {
		w := b.lo
		if i >= 64 {
			w = b.hi
		}
		if w>>(i%64)&1 == 1 {
			r = r.add(a)
		}
		carry := a.hi >> 63
		a.hi = a.hi<<1 | a.lo>>63
		a.lo <<= 1
		if carry == 1 {
			a.lo ^= 1<<7 | 1<<2 | 1<<1 | 1
		}
	}
	return r
}

// elements are some with special shapes and some at random.
func elements(n int) []elem {
	all := []elem{{}, {lo: 1}, {lo: 2}, {hi: 1 << 63}, {^uint64(0), ^uint64(0)},
		{every0, every0}, {every3, every3}, {^uint64(0), 0}, {0, ^uint64(0)}}
	rng := rand.New(rand.NewPCG(128, 7))
	for len(all) < n {
		all = append(all, elem{rng.Uint64(), rng.Uint64()})
	}
	return all
}

func TestMul(t *testing.T) {
	all := elements(60)
	for _, a := range all {
		for _, b := range all {
			if got, want := a.mul(b), slowMul(a, b); got != want {
				t.Fatalf("%x·%x = %x, want %x", a, b, got, want)
			}
		}
		if got, want := a.square(), slowMul(a, a); got != want {
			t.Fatalf("%x² = %x, want %x", a, got, want)
		}
	}
}

func TestInverse(t *testing.T) {
	for _, a := range elements(200) {
		inv := a.inverse()
		if a.isZero() {
			if !inv.isZero() {
				t.Errorf("the inverse of zero is %x", inv)
			}
			continue
		}
		if got := a.mul(inv); got != (elem{lo: 1}) {
			t.Errorf("%x times its inverse is %x", a, got)
		}
	}
}

func TestPow(t *testing.T) {
	for _, a := range elements(20) {
		want := elem{lo: 1}
		for n := range uint64(100) {
			if got := a.pow(n); got != want {
				t.Fatalf("%x^%d = %x, want %x", a, n, got, want)
			}
			want = slowMul(want, a)
		}
	}
}

func TestElemBlocks(t *testing.T) {
	// NIST SP 800-38D, Section 6.3: the first bit of a block is the lowest
	// coefficient.
	var b [16]byte
	b[0], b[15] = 0x80, 0x01
	if got := loadElem(&b); got != (elem{lo: 1, hi: 1 << 63}) {
		t.Errorf("the block %x is %x", b, got)
	}
	for _, a := range elements(20) {
		a.store(&b)
		if got := loadElem(&b); got != a {
			t.Errorf("%x stored and loaded is %x", a, got)
		}
	}
}
