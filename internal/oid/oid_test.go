package oid

import (
	"bytes"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		o   OID
		der []byte
	}{
		{Data, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01}},
		{SHA256, []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}},
		{Ed25519, []byte{0x2b, 0x65, 0x70}},
		{"2.999.3", []byte{0x88, 0x37, 0x03}},
		{"0.0", []byte{0x00}},
		{"2.25.329800735698586629295641978511506172918", []byte{0x69, 0x83, 0xf0, 0x9d, 0xa7, 0xeb, 0xcf, 0xde, 0xe0, 0xc7, 0xa1, 0xa7, 0xb2, 0xc0, 0x94, 0x8c, 0xc8, 0xf9, 0xd7, 0x76}},
	} {
		got, ok := c.o.AppendDER(nil)
		if !ok || !bytes.Equal(got, c.der) {
			t.Errorf("%s: DER %x, want %x", c.o, got, c.der)
		}
		back, ok := FromDER(c.der)
		if !ok || back != c.o {
			t.Errorf("%x: %q, want %q", c.der, back, c.o)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, der := range [][]byte{nil, {0x80, 0x01}, {0x2a, 0x86}, {0x2a, 0x80, 0x01}, bytes.Repeat([]byte{1}, 200)} {
		if o, ok := FromDER(der); ok {
			t.Errorf("%x was read as %q", der, o)
		}
	}
	for _, o := range []OID{"", "1", "1.", "3.1", "1.40", "1.2.", "1..2", "1.2.x", "1.2.-1", "1.2.+1", "1.2.0x1", "1.2._1"} {
		if der, ok := o.AppendDER(nil); ok {
			t.Errorf("%q was written as %x", o, der)
		}
	}
}

func FuzzFromDER(f *testing.F) {
	f.Add([]byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01})
	f.Fuzz(func(t *testing.T, der []byte) {
		o, ok := FromDER(der)
		if !ok {
			return
		}
		if back, ok := o.AppendDER(nil); !ok || !bytes.Equal(back, der) {
			t.Fatalf("%x became %q became %x", der, o, back)
		}
	})
}

// Both ways to encode make the same of everything.
func TestAppendShort(t *testing.T) {
	some := 0
	for _, text := range []string{"", "1", "1.", "1.2", "1.2.", ".1", "1..2", "3.1", "0.39", "0.40", "1.39", "1.40", "2.40", "2.999.1", "2.5.4.3", "1.2.840.113549.1.7.1",
		"1.2.x", "1.2.-1", "1.2.+1", "1.02.3", "1.2.999999999999999999", "1.2.9999999999999999999", "2.999999999999999999", "2.25.329800735698586629295641978511506172918", "1.2.3 "} {
		short, ok := OID(text).appendShort(nil)
		whole, wholeOK := OID(text).appendAny(nil)
		if ok && (!wholeOK || !bytes.Equal(short, whole)) {
			t.Errorf("%q: % x; want % x, %v", text, short, whole, wholeOK)
		}
		if ok {
			some++
		}
	}
	if some < 8 {
		t.Errorf("%d are short", some)
	}
}

// What is looked up is what would be made.
func TestFrequent(t *testing.T) {
	seen := make(map[OID]bool)
	for _, o := range frequent {
		if seen[o] {
			t.Errorf("%s is there twice", o)
		}
		seen[o] = true
		der, ok := o.AppendDER(nil)
		made, madeOK := o.appendAny(nil)
		if !ok || !madeOK || !bytes.Equal(der, made) {
			t.Errorf("%s: % x; want % x", o, der, made)
		}
		if back, backOK := FromDER(der); !backOK || back != o {
			t.Errorf("% x is %s; want %s", der, back, o)
		}
		if back, backOK := FromDER(append(der, 1)); !backOK || back != o+".1" {
			t.Errorf("%s with one arc more is %s", o, back)
		}
	}
}
