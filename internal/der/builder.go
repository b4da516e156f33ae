package der

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/bits"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// A Builder builds DER in one piece of memory. It is used as the Builder of
// package cryptobyte is, of which it has those methods that DER needs; but what
// is within an element is built in place, so that neither an element nor the
// function that fills it costs an allocation. [Marshal] makes one. The first
// error stays, and is that of Marshal.
type Builder struct {
	buf []byte
	err error
}

// builderRoom is what a Builder has room for from the start, in octets: most of
// what is built is smaller. What has grown is not kept.
const builderRoom = 4 << 10

var builders = sync.Pool{New: func() any { return &Builder{buf: make([]byte, 0, builderRoom)} }}

// Marshal runs f on a new builder and returns what it built; nil when that is
// nothing.
func Marshal(f func(b *Builder)) ([]byte, error) {
	b, _ := builders.Get().(*Builder) // nothing else is in there
	f(b)
	var out []byte
	err := b.err
	if err == nil && len(b.buf) > 0 {
		out = bytes.Clone(b.buf)
	}
	b.free()
	return out, err
}

// Write runs f on a new builder and writes what it built to dst, in one call.
func Write(dst io.Writer, f func(b *Builder)) error {
	b, _ := builders.Get().(*Builder) // nothing else is in there
	f(b)
	err := b.err
	if err == nil {
		var n int
		if n, err = dst.Write(b.buf); err == nil && n < len(b.buf) {
			err = io.ErrShortWrite
		}
	}
	b.free()
	return err
}

// free gives a builder back.
func (b *Builder) free() {
	clear(b.buf) // it may have been secret
	if cap(b.buf) == builderRoom {
		b.buf, b.err = b.buf[:0], nil
		builders.Put(b)
	}
}

// SetError makes the Builder fail, unless it has failed before.
func (b *Builder) SetError(err error) {
	if b.err == nil {
		b.err = err
	}
}

// AddBytes appends octets as they are.
func (b *Builder) AddBytes(p []byte) { b.buf = append(b.buf, p...) }

// AddUint8 appends an octet.
func (b *Builder) AddUint8(v uint8) { b.buf = append(b.buf, v) }

// AddUint32 appends four octets, the most significant first.
func (b *Builder) AddUint32(v uint32) {
	b.buf = append(b.buf, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

var errTag = errors.New("der: a tag of several octets")

// AddASN1 appends an element with the contents that f appends.
func (b *Builder) AddASN1(tag asn1.Tag, f func(b *Builder)) {
	start := b.begin(tag)
	f(b)
	b.end(start)
}

// begin appends an identifier and a length of one octet, which end puts right.
func (b *Builder) begin(tag asn1.Tag) int {
	if tag&0x1f == 0x1f {
		b.SetError(errTag)
	}
	b.buf = append(b.buf, byte(tag), 0)
	return len(b.buf)
}

// end ends the element whose contents begin at start.
func (b *Builder) end(start int) {
	n := len(b.buf) - start
	if n < 0x80 {
		b.buf[start-1] = byte(n)
		return
	}
	// X.690, Section 8.1.3.5: the long form, moving the contents.
	more := (bits.Len(uint(n)) + 7) / 8
	var room [8]byte
	b.buf = append(b.buf, room[:more]...)
	copy(b.buf[start+more:], b.buf[start:start+n])
	b.buf[start-1] = 0x80 | byte(more)
	for i := more - 1; i >= 0; i-- {
		b.buf[start+i] = byte(n)
		n >>= 8
	}
}

// add appends an element with the given contents.
func (b *Builder) add(tag asn1.Tag, contents []byte) {
	start := b.begin(tag)
	b.buf = append(b.buf, contents...)
	b.end(start)
}

// AddSetOfFunc appends a SET OF whose n elements f appends one by one, and puts
// them into DER's order (X.690, Section 11.6).
func (b *Builder) AddSetOfFunc(tag asn1.Tag, n int, f func(b *Builder, i int)) {
	start := b.begin(tag)
	var room [16]int
	ends, sorted := room[:0], true
	for i, before := 0, start; i < n; i++ {
		from := len(b.buf)
		f(b, i)
		sorted = sorted && bytes.Compare(b.buf[before:from], b.buf[from:]) <= 0
		before, ends = from, append(ends, len(b.buf))
	}
	if !sorted {
		whole, elems := bytes.Clone(b.buf[start:]), make([][]byte, n)
		at := start
		for i, end := range ends {
			elems[i], at = whole[at-start:end-start], end
		}
		slices.SortFunc(elems, bytes.Compare)
		b.buf = b.buf[:start]
		for _, e := range elems {
			b.buf = append(b.buf, e...)
		}
		clear(whole)
	}
	b.end(start)
}

// AddASN1OctetString appends an OCTET STRING.
func (b *Builder) AddASN1OctetString(p []byte) { b.add(asn1.OCTET_STRING, p) }

// AddASN1BitString appends a BIT STRING of whole octets.
func (b *Builder) AddASN1BitString(p []byte) {
	start := b.begin(asn1.BIT_STRING)
	b.buf = append(b.buf, 0)
	b.buf = append(b.buf, p...)
	b.end(start)
}

// AddASN1Int64 appends an INTEGER.
func (b *Builder) AddASN1Int64(v int64) { b.addInt(asn1.INTEGER, v) }

// AddASN1Enum appends an ENUMERATED.
func (b *Builder) AddASN1Enum(v int64) { b.addInt(asn1.ENUM, v) }

func (b *Builder) addInt(tag asn1.Tag, v int64) {
	n := 1
	for i := v; i > 0x7f || i < -0x80; i >>= 8 {
		n++
	}
	start := b.begin(tag)
	for ; n > 0; n-- {
		b.buf = append(b.buf, byte(v>>(8*(n-1))))
	}
	b.end(start)
}

// AddASN1BigInt appends an INTEGER.
func (b *Builder) AddASN1BigInt(v *big.Int) {
	start := b.begin(asn1.INTEGER)
	switch {
	case v.Sign() < 0:
		// X.690, Section 8.3: two's complement, which is that of -v-1 inverted.
		octets := new(big.Int).Not(v).Bytes()
		for i := range octets {
			octets[i] ^= 0xff
		}
		if len(octets) == 0 || octets[0]&0x80 == 0 {
			b.buf = append(b.buf, 0xff)
		}
		b.buf = append(b.buf, octets...)
	default:
		octets := v.Bytes()
		if len(octets) == 0 || octets[0]&0x80 != 0 {
			b.buf = append(b.buf, 0)
		}
		b.buf = append(b.buf, octets...)
	}
	b.end(start)
}

// AddASN1Boolean appends a BOOLEAN.
func (b *Builder) AddASN1Boolean(v bool) {
	octet := byte(0)
	if v {
		octet = 0xff // X.690, Section 11.1
	}
	b.buf = append(b.buf, byte(asn1.BOOLEAN), 1, octet)
}

// AddASN1NULL appends a NULL.
func (b *Builder) AddASN1NULL() { b.AddBytes(null) }

// AddASN1GeneralizedTime appends a GeneralizedTime, to the second, in UTC as RFC
// 5280, Section 4.1.2.5.2 has it. The year must be of four digits.
func (b *Builder) AddASN1GeneralizedTime(t time.Time) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		b.SetError(fmt.Errorf("der: the year %d has not four digits", y))
		return
	}
	b.addTime(asn1.GeneralizedTime, t, "20060102150405Z")
}

func (b *Builder) addTime(tag asn1.Tag, t time.Time, layout string) {
	start := b.begin(tag)
	b.buf = t.AppendFormat(b.buf, layout)
	b.end(start)
}
