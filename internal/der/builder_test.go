package der

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/oid"
)

// TestBuilder compares each method with that of package cryptobyte.
func TestBuilder(t *testing.T) {
	compare := func(name string, ours func(b *Builder), theirs func(b *cryptobyte.Builder)) {
		t.Helper()
		got, err := Marshal(ours)
		var b cryptobyte.Builder
		theirs(&b)
		want, wantErr := b.Bytes()
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: % x, %v; want % x, %v", name, got, err, want, wantErr)
		}
	}
	for _, n := range []int{0, 1, 126, 127, 128, 129, 255, 256, 4000, 5000, 65535, 65536, 1 << 20} {
		p := []byte(strings.Repeat("x", n))
		compare("octets", func(b *Builder) { b.AddASN1OctetString(p) }, func(b *cryptobyte.Builder) { b.AddASN1OctetString(p) })
		compare("bits", func(b *Builder) { b.AddASN1BitString(p) }, func(b *cryptobyte.Builder) { b.AddASN1BitString(p) })
		compare("nested", func(b *Builder) {
			b.AddUint8(7)
			b.AddASN1(asn1.SEQUENCE, func(b *Builder) {
				b.AddASN1(Context(1, true), func(b *Builder) { b.AddBytes(p); b.AddUint32(0x01020304) })
				b.AddASN1Boolean(true)
				b.AddASN1Boolean(false)
				b.AddASN1NULL()
			})
		}, func(b *cryptobyte.Builder) {
			b.AddUint8(7)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(Context(1, true), func(b *cryptobyte.Builder) { b.AddBytes(p); b.AddUint32(0x01020304) })
				b.AddASN1Boolean(true)
				b.AddASN1Boolean(false)
				b.AddASN1NULL()
			})
		})
	}
	for _, v := range []int64{0, 1, -1, 127, 128, 129, 255, 256, -127, -128, -129, -255, -256, -257, 1 << 31, -1 << 31, 1<<63 - 1, -1 << 63} {
		compare("int64", func(b *Builder) { b.AddASN1Int64(v) }, func(b *cryptobyte.Builder) { b.AddASN1Int64(v) })
		compare("enum", func(b *Builder) { b.AddASN1Enum(v) }, func(b *cryptobyte.Builder) { b.AddASN1Enum(v) })
		n := new(big.Int).Mul(big.NewInt(v), big.NewInt(v))
		for _, big := range []*big.Int{big.NewInt(v), n, new(big.Int).Neg(n)} {
			compare("big", func(b *Builder) { b.AddASN1BigInt(big) }, func(b *cryptobyte.Builder) { b.AddASN1BigInt(big) })
		}
	}
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1<<31, 999).In(time.FixedZone("", 7200)), time.Date(2051, 1, 2, 3, 4, 5, 6, time.UTC)} {
		compare("time", func(b *Builder) { b.AddASN1GeneralizedTime(at) }, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(at.UTC()) })
	}
	compare("year", func(b *Builder) { b.AddASN1GeneralizedTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) },
		func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) })
	compare("tag", func(b *Builder) { b.AddASN1(0x1f, func(*Builder) {}) }, func(b *cryptobyte.Builder) { b.AddASN1(0x1f, func(*cryptobyte.Builder) {}) })
}

// The first error is that of Marshal, and the next Marshal knows nothing of it.
func TestMarshalError(t *testing.T) {
	first := errors.New("first")
	out, err := Marshal(func(b *Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *Builder) { b.SetError(first) })
		b.SetError(errors.New("second"))
		AddOID(b, "x")
	})
	if err != first || out != nil {
		t.Errorf("% x, %v", out, err)
	}
	if out, err = Marshal(func(*Builder) {}); err != nil || out != nil {
		t.Errorf("nothing is % x, %v", out, err)
	}
}

// What is built costs one allocation, that of the result.
func TestMarshalAllocations(t *testing.T) {
	p := make([]byte, 300)
	got := testing.AllocsPerRun(100, func() {
		_, _ = Marshal(func(b *Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *Builder) {
				AddAlgorithm(b, Algorithm{OID: oid.SHA256})
				b.AddASN1(asn1.SET, func(b *Builder) { b.AddASN1OctetString(p); AddTime(b, time.Unix(0, 0)) })
			})
		})
	})
	if got > 2 { // the pool may have been emptied
		t.Errorf("%v allocations", got)
	}
}

// A set that is built in place is the same as one of given elements.
func TestSetOfFunc(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		elems := make([][]byte, n)
		for i := range elems {
			elems[i], _ = Marshal(func(b *Builder) { b.AddASN1OctetString(make([]byte, rnd.IntN(300))); b.AddASN1Int64(rnd.Int64()) })
		}
		got, err := Marshal(func(b *Builder) { b.AddSetOfFunc(asn1.SET, n, func(b *Builder, i int) { b.AddBytes(elems[i]) }) })
		want, wantErr := Marshal(func(b *Builder) { AddSetOf(b, asn1.SET, elems) })
		if err != nil || wantErr != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d elements: % x, %v; want % x, %v", n, got, err, want, wantErr)
		}
	}
}

// TestWrite: Write writes what Marshal returns, and nothing after an error.
func TestWrite(t *testing.T) {
	build := func(b *Builder) { b.AddASN1OctetString([]byte("octets")) }
	want, err := Marshal(build)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err = Write(&out, build); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%x: %v", out.Bytes(), err)
	}
	out.Reset()
	bad := errors.New("bad")
	if err = Write(&out, func(b *Builder) { build(b); b.SetError(bad) }); err != bad || out.Len() > 0 {
		t.Errorf("%x: %v", out.Bytes(), err)
	}
	if err = Write(&out, build); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("after an error: %x: %v", out.Bytes(), err)
	}
}
