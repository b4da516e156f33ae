package ber

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// A node is an element to be written in many ways.
type node struct {
	tag   Tag
	value []byte // of a primitive element
	parts []*node
}

func randomNode(r *rand.Rand, depth int) *node {
	tags := []Tag{Integer, OctetString, BitString, OID, Context(0), Context(40), Context(70000)}
	if depth == 0 || r.IntN(3) == 0 {
		n := &node{tag: tags[r.IntN(len(tags))], value: make([]byte, r.IntN(200))}
		for i := range n.value {
			n.value[i] = byte(r.Uint32())
		}
		if n.tag == BitString {
			n.value = append([]byte{0}, n.value...)
		}
		return n
	}
	n := &node{tag: []Tag{Sequence, Set, Context(1)}[r.IntN(3)], parts: []*node{}}
	for range r.IntN(5) {
		n.parts = append(n.parts, randomNode(r, depth-1))
	}
	return n
}

func (n *node) der() []byte {
	if n.parts == nil {
		return append(AppendHeader(nil, n.tag, false, int64(len(n.value))), n.value...)
	}
	var inner []byte
	for _, p := range n.parts {
		inner = append(inner, p.der()...)
	}
	return append(AppendHeader(nil, n.tag, true, int64(len(inner))), inner...)
}

// wrap encloses contents in a header with a length form drawn at random.
func wrap(r *rand.Rand, tag Tag, constructed bool, contents []byte) []byte {
	switch form := r.IntN(3); {
	case form == 0 && constructed:
		out := append(AppendHeader(nil, tag, true, Indefinite), contents...)
		return append(out, 0, 0)
	case form == 1: // long form with leading zeros
		out := AppendHeader(nil, tag, constructed, 0)
		out = append(out[:len(out)-1], 0x85, 0, 0, byte(len(contents)>>16), byte(len(contents)>>8), byte(len(contents)))
		return append(out, contents...)
	}
	return append(AppendHeader(nil, tag, constructed, int64(len(contents))), contents...)
}

func (n *node) ber(r *rand.Rand, depth int) []byte {
	if n.parts == nil {
		if isString(n.tag) && depth > 0 && r.IntN(2) == 0 {
			return wrap(r, n.tag, true, segments(r, n.tag, n.value, depth))
		}
		return wrap(r, n.tag, false, n.value)
	}
	var inner []byte
	for _, p := range n.parts {
		inner = append(inner, p.ber(r, depth)...)
	}
	return wrap(r, n.tag, true, inner)
}

func segments(r *rand.Rand, tag Tag, value []byte, depth int) []byte {
	var out []byte
	skip := stringPrefix(tag)
	value = value[skip:]
	for first := true; first || len(value) > 0; first = false {
		k := r.IntN(len(value) + 1)
		part := append(make([]byte, skip), value[:k]...)
		value = value[k:]
		out = append(out, (&node{tag: tag, value: part}).ber(r, depth-1)...)
	}
	return out
}

func TestNormalize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		n := randomNode(r, 4)
		want := n.der()
		in := n.ber(r, 3)
		got, err := Normalize(in, 32)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("tree %d: %x became %x (%v), want %x", i, in, got, err, want)
		}
		again, err := Normalize(want, 32)
		if err != nil || (len(want) > 0 && &again[0] != &want[0]) {
			t.Fatalf("tree %d: DER was copied or refused: %v", i, err)
		}
	}
}

func TestReaderDER(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 500 {
		n := randomNode(r, 4)
		in := n.ber(r, 3)
		var src io.Reader = bytes.NewReader(append(bytes.Clone(in), 5, 0))
		if i%2 == 0 {
			src = iotest.OneByteReader(src)
		}
		br := NewReader(src, 32)
		got, err := br.DER(1 << 20)
		if err != nil || !bytes.Equal(got, n.der()) {
			t.Fatalf("tree %d: %v", i, err)
		}
		if br.Offset() != int64(len(in)) {
			t.Fatalf("tree %d: offset %d, want %d", i, br.Offset(), len(in))
		}
		br = NewReader(bytes.NewReader(append(bytes.Clone(in), 5, 0)), 32)
		if err = br.Skip(); err != nil {
			t.Fatalf("tree %d: skip: %v", i, err)
		}
		if _, err = br.Expect(Null); err != nil {
			t.Fatalf("tree %d: after skip: %v", i, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		n := randomNode(r, 3)
		in := n.ber(r, 3)
		for cut := range in {
			for name, read := range map[string]func(*Reader) error{
				"raw":  func(br *Reader) error { _, err := br.Raw(1 << 20); return err },
				"skip": (*Reader).Skip,
			} {
				err := read(NewReader(bytes.NewReader(in[:cut]), 32))
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%s of %x cut at %d: %v", name, in, cut, err)
				}
			}
			if _, err := Normalize(in[:cut], 32); err == nil {
				t.Fatalf("normalize of %x cut at %d: no error", in, cut)
			}
		}
	}
}

func TestOctets(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 300 {
		content := make([]byte, r.IntN(100_000))
		for j := range content {
			content[j] = byte(r.Uint32())
		}
		n := &node{tag: OctetString, value: content}
		in := append(n.ber(r, 5), 5, 0)
		for _, src := range []io.Reader{bytes.NewReader(in), iotest.HalfReader(bytes.NewReader(in))} {
			br := NewReader(src, 32)
			o, err := br.Octets(OctetString)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(o)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("string %d: %d octets, want %d: %v", i, len(got), len(content), err)
			}
			if _, err = br.Expect(Null); err != nil {
				t.Fatalf("string %d: behind it: %v", i, err)
			}
		}
	}
}

func TestWriter(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, size := range []int{0, 1, 127, 128, SegmentSize - 1, SegmentSize, SegmentSize + 1, 3*SegmentSize + 5} {
		content := make([]byte, size)
		for j := range content {
			content[j] = byte(r.Uint32())
		}
		for _, known := range []int64{Indefinite, int64(size)} {
			var out bytes.Buffer
			w := NewWriter(&out)
			_ = w.Header(Sequence, Indefinite)
			o := w.Octets(Context(0), known)
			for rest := content; len(rest) > 0; {
				k := min(1+r.IntN(2*SegmentSize), len(rest))
				if _, err := o.Write(rest[:k]); err != nil {
					t.Fatal(err)
				}
				rest = rest[k:]
			}
			if err := errors.Join(o.Close(), w.End(), w.Flush()); err != nil {
				t.Fatal(err)
			}
			br := NewReader(&out, 8)
			if err := br.Enter(Sequence); err != nil {
				t.Fatal(err)
			}
			in, err := br.Octets(Context(0))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("size %d known %d: %v", size, known, err)
			}
			if err = br.Leave(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := NewWriter(io.Discard)
	o := w.Octets(OctetString, 3)
	if _, err := o.Write([]byte("four")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("too much: %v", err)
	}
	if err := o.Close(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too little: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, in := range map[string][]byte{
		"reserved length":          {0x30, 0xff},
		"huge length":              {0x04, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"primitive and indefinite": {0x04, 0x80, 0, 0},
		"stray end of contents":    {0, 0},
		"end with contents":        {0x30, 0x80, 0, 1, 0},
		"child beyond parent":      {0x30, 0x03, 0x04, 0x02, 1, 2},
		"padded tag":               {0x9f, 0x80, 0x01, 0},
		"tag too large":            {0x9f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0},
		"empty bit string segment": {0x23, 0x02, 0x03, 0x00},
	} {
		if _, err := Normalize(in, 8); err == nil {
			t.Errorf("%s: normalized", name)
		}
		r := NewReader(bytes.NewReader(in), 8)
		if _, err := r.DER(1 << 10); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x30, 0x80}, 100), bytes.Repeat([]byte{0, 0}, 100)...)
	var le *LimitError
	if _, err := Normalize(deep, 32); !errors.As(err, &le) {
		t.Errorf("normalize: %v", err)
	}
	if _, err := NewReader(bytes.NewReader(deep), 32).Raw(1 << 20); !errors.As(err, &le) {
		t.Errorf("raw: %v", err)
	}
	if err := NewReader(bytes.NewReader(deep), 32).Skip(); !errors.As(err, &le) {
		t.Errorf("skip: %v", err)
	}
	strings := append(bytes.Repeat([]byte{0x24, 0x80}, 100), bytes.Repeat([]byte{0, 0}, 100)...)
	o, err := NewReader(bytes.NewReader(strings), 32).Octets(OctetString)
	if err == nil {
		_, err = io.ReadAll(o)
	}
	if !errors.As(err, &le) {
		t.Errorf("octets: %v", err)
	}
	big := append([]byte{0x04, 0x83, 0x10, 0, 0}, make([]byte, 1<<20)...)
	if _, err = NewReader(bytes.NewReader(big), 32).Raw(1 << 10); !errors.As(err, &le) {
		t.Errorf("size: %v", err)
	}
	// A declared length allocates nothing.
	claim := []byte{0x04, 0x86, 0x10, 0, 0, 0, 0, 0, 1, 2, 3}
	allocs := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			_, _ = NewReader(bytes.NewReader(claim), 32).Raw(1 << 60)
		}
	}).AllocedBytesPerOp()
	if allocs > 4*stepSize {
		t.Errorf("%d octets were allocated for a claim", allocs)
	}
}

func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20 {
		f.Add(randomNode(r, 4).ber(r, 3))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		der, err := Normalize(in, 32)
		raw, rawErr := NewReader(bytes.NewReader(in), 32).Raw(1 << 20)
		if err == nil {
			if rawErr != nil || !bytes.Equal(raw, in) {
				t.Fatalf("normalized but not read: %v", rawErr)
			}
			again, nerr := Normalize(der, 32)
			if nerr != nil || !bytes.Equal(again, der) {
				t.Fatalf("%x is not stable: %x %v", der, again, nerr)
			}
		}
		skipper := NewReader(bytes.NewReader(in), 32)
		if serr := skipper.Skip(); (serr == nil) != (rawErr == nil) || (serr == nil && skipper.Offset() != int64(len(raw))) {
			t.Fatalf("raw %v, skip %v", rawErr, serr)
		}
		o, err := NewReader(bytes.NewReader(in), 32).Octets(OctetString)
		if err != nil {
			return
		}
		got, err := io.ReadAll(o)
		if err != nil {
			return
		}
		want := append(AppendHeader(nil, OctetString, false, int64(len(got))), got...)
		n, err := Normalize(raw, 64)
		if err != nil || !bytes.Equal(n, want) {
			t.Fatalf("the stream has %x, the element %x (%v)", want, n, err)
		}
	})
}

// Small elements that share a piece of memory are their caller's, each for itself.
func TestSmallElements(t *testing.T) {
	var in []byte
	for i := range 100 {
		in = append(in, 4, 3, byte(i), byte(i), byte(i))
	}
	r := NewReader(bytes.NewReader(in), 8)
	var all [][]byte
	for range 100 {
		element, err := r.Raw(5)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, element)
	}
	for i, element := range all {
		_ = append(element, 0xff)
		if !bytes.Equal(element, in[5*i:5*i+5]) {
			t.Fatalf("element %d is %x", i, element)
		}
	}
}
