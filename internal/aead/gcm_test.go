package aead

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// compare drives newStream in parts and holds it against the one-shot cipher.
func compare(t *testing.T, one cipher.AEAD, nonce, msg, aad []byte, c cut, inPlace bool, newStream func() (Stream, error)) {
	t.Helper()
	want := one.Seal(nil, nonce, msg, aad)
	s, err := newStream()
	if err != nil {
		t.Fatal(err)
	}
	ct, tag := seal(t, s, msg, aad, c, inPlace)
	if !bytes.Equal(append(ct, tag...), want) {
		t.Fatalf("sealing %d octets with %d of additional data and a nonce of %d differs from the one-shot cipher",
			len(msg), len(aad), len(nonce))
	}
	if s, err = newStream(); err != nil {
		t.Fatal(err)
	}
	if tag = absorb(t, s, ct[:len(msg)], aad, c); !bytes.Equal(tag, want[len(msg):]) {
		t.Fatalf("absorbing %d octets gives another tag than sealing", len(msg))
	}
	checkOpenAt(t, s, ct[:len(msg)], msg)
	opened := make([]byte, len(msg))
	if inPlace {
		copy(opened, ct)
		drive(t, opened, opened, c, s.Open)
	} else {
		drive(t, opened, ct[:len(msg)], c, s.Open)
	}
	if !bytes.Equal(opened, msg) {
		t.Fatalf("opening %d octets gives other octets", len(msg))
	}
}

// checkOpenAt opens a message at places of all kinds.
func checkOpenAt(t *testing.T, s Stream, ct, msg []byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(msg)), 7))
	for range 4 {
		off := rng.IntN(len(msg) + 1)
		n := rng.IntN(len(msg) - off + 1)
		got := make([]byte, n)
		if err := s.OpenAt(got, ct[off:off+n], int64(off)); err != nil || !bytes.Equal(got, msg[off:off+n]) {
			t.Fatalf("opening %d octets at %d of %d gives other octets: %v", n, off, len(msg), err)
		}
	}
}

// sizes are those around which the code changes its ways, and random ones.
func sizes(rng *rand.Rand, n, most int) []int {
	var all []int
	for _, edge := range []int{0, blockSize, minRun, heldSize, scratchSize, chunk, 2 * chunk} {
		for d := -17; d <= 17; d++ {
			if edge+d >= 0 {
				all = append(all, edge+d)
			}
		}
	}
	for range n {
		all = append(all, int(float64(most)*rng.Float64()*rng.Float64()))
	}
	return all
}

func TestGCMAgainstOneShot(t *testing.T) {
	rng := rand.New(rand.NewPCG(38, 4))
	data := random(rng, 1<<20)
	for i, n := range sizes(rng, 60, len(data)) {
		key := random(rng, []int{16, 24, 32}[i%3])
		nonce := random(rng, 1+rng.IntN(64))
		if i%2 == 0 {
			nonce = random(rng, 12)
		}
		aad := random(rng, rng.IntN(3)*rng.IntN(300))
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		one, err := cipher.NewGCMWithNonceSize(block, len(nonce))
		if err != nil {
			t.Fatal(err)
		}
		for j, c := range []cut{whole, splitting(rng, 100), splitting(rng, 5000), splitting(rng, 1<<18)} {
			if j == 1 && n > 1<<17 {
				continue
			}
			compare(t, one, nonce, data[:n], aad, c, (i+j)%2 == 0, func() (Stream, error) {
				return NewGCM(key, nonce)
			})
		}
	}
}

func TestChaCha20Poly1305AgainstOneShot(t *testing.T) {
	rng := rand.New(rand.NewPCG(84, 39))
	data := random(rng, 1<<20)
	for i, n := range sizes(rng, 10, len(data)) {
		key, nonce := random(rng, 32), random(rng, 12)
		aad := random(rng, rng.IntN(3)*rng.IntN(300))
		one, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		for j, c := range []cut{whole, splitting(rng, 100), splitting(rng, 1<<18)} {
			if j == 1 && n > 1<<17 {
				continue
			}
			compare(t, one, nonce, data[:n], aad, c, (i+j)%2 == 0, func() (Stream, error) {
				return NewChaCha20Poly1305(key, nonce, aad)
			})
		}
	}
}

// nonceFor returns the nonce of 16 octets that makes j the first counter block.
func nonceFor(block cipher.Block, j [16]byte) []byte {
	var zero, out [16]byte
	block.Encrypt(zero[:], zero[:])
	inv := loadElem(&zero).inverse()
	loadElem(&j).mul(inv).add(lengthElem(0, 16)).mul(inv).store(&out)
	return out[:]
}

// The counter has 32 bits and wraps without a carry into the other 96.
func TestGCMCounterWraps(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 96))
	key := random(rng, 16)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	one, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		t.Fatal(err)
	}
	msg := random(rng, 3*chunk)
	for _, before := range []uint32{0, 1, 2, 7, 8, 9, 100, chunk / 16, chunk/16 + 1, 2*chunk/16 + 3} {
		var j [16]byte
		copy(j[:], random(rng, 12))
		for i := 8; i < 12; i++ {
			j[i] = 0xff // so that a carry would be seen
		}
		binary.BigEndian.PutUint32(j[12:], 0xffffffff-before)
		nonce := nonceFor(block, j)
		s, err := newGCM(block, nonce)
		if err != nil {
			t.Fatal(err)
		}
		if s.j0 != j {
			t.Fatalf("the first counter block is %x, want %x", s.j0, j)
		}
		for _, c := range []cut{whole, splitting(rng, 50), splitting(rng, 3000), splitting(rng, chunk)} {
			compare(t, one, nonce, msg, nil, c, false, func() (Stream, error) { return NewGCM(key, nonce) })
		}
	}
}

// Far into a message that nobody has the time to seal, both directions must agree
// with the counter of the definition.
func TestGCMFarPositions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 36))
	block, err := aes.NewCipher(random(rng, 32))
	if err != nil {
		t.Fatal(err)
	}
	msg := random(rng, 5000)
	for _, at := range []int64{1 << 20, 1<<31 - 32, 1 << 32, 1<<35 + 16, gcmLimit - 5008, gcmLimit - 5008 + 8} {
		at &^= 15
		s, err := newGCM(block, random(rng, 13))
		if err != nil {
			t.Fatal(err)
		}
		s.fed, s.opened = at, at
		n := int(min(int64(len(msg)), gcmLimit-at))
		want := make([]byte, 0, n+16)
		for i := 0; i < n; i += 16 {
			ctr := s.j0
			last := binary.BigEndian.Uint32(ctr[12:])
			binary.BigEndian.PutUint32(ctr[12:], last+1+uint32((at+int64(i))/16))
			block.Encrypt(ctr[:], ctr[:])
			want = append(want, ctr[:]...)
		}
		want = want[:n]
		for i := range want {
			want[i] ^= msg[i]
		}
		got := make([]byte, n)
		if err = s.Seal(got, msg[:n]); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("sealing at %d went wrong: %v", at, err)
		}
		if err = s.Open(got, got); err != nil || !bytes.Equal(got, msg[:n]) {
			t.Fatalf("opening at %d went wrong: %v", at, err)
		}
	}
}

// zeroHash is AES but for the block of zeros, which it maps to itself, so that the
// hash key of GCM is zero.
type zeroHash struct{ cipher.Block }

func (z zeroHash) Encrypt(dst, src []byte) {
	if bytes.Equal(src[:16], make([]byte, 16)) {
		clear(dst[:16])
		return
	}
	z.Block.Encrypt(dst, src)
}

func TestGCMZeroHashKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(0, 0))
	aesBlock, err := aes.NewCipher(random(rng, 16))
	if err != nil {
		t.Fatal(err)
	}
	block, nonce := zeroHash{aesBlock}, random(rng, 12)
	one, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []cut{whole, splitting(rng, 700)} {
		compare(t, one, nonce, random(rng, 5000), []byte("aad"), c, false, func() (Stream, error) {
			return newGCM(block, nonce)
		})
	}
}

func TestGCMDoesNotAllocatePerCall(t *testing.T) {
	s, err := NewGCM(make([]byte, 16), make([]byte, 12))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewGCM(make([]byte, 16), make([]byte, 12))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100_003)
	n := testing.AllocsPerRun(20, func() {
		for _, part := range [][]byte{buf, buf[:1000], buf[:5]} {
			if s.Seal(part, part) != nil || r.Absorb(part) != nil || r.Open(part, part) != nil {
				t.Fatal("a call failed")
			}
		}
	})
	if n != 0 {
		t.Errorf("sealing, absorbing and opening allocated %v times", n)
	}
}

func TestConstructorsRefuse(t *testing.T) {
	for _, n := range []int{0, 8, 15, 17, 33, 64} {
		if _, err := NewGCM(make([]byte, n), make([]byte, 12)); !errors.Is(err, ErrKeySize) {
			t.Errorf("NewGCM with a key of %d octets: %v", n, err)
		}
		if _, err := NewChaCha20Poly1305(make([]byte, n), make([]byte, 12), nil); !errors.Is(err, ErrKeySize) {
			t.Errorf("NewChaCha20Poly1305 with a key of %d octets: %v", n, err)
		}
	}
	if _, err := NewGCM(make([]byte, 16), nil); !errors.Is(err, ErrNonceSize) {
		t.Errorf("NewGCM without a nonce: %v", err)
	}
	for _, n := range []int{0, 8, 11, 13, 24} {
		if _, err := NewChaCha20Poly1305(make([]byte, 32), make([]byte, n), nil); !errors.Is(err, ErrNonceSize) {
			t.Errorf("NewChaCha20Poly1305 with a nonce of %d octets: %v", n, err)
		}
	}
}
