package relay

import (
	"bytes"
	"testing"
)

func record(contentType byte, size int) []byte {
	return append([]byte{contentType, 3, 3, byte(size >> 8), byte(size)}, make([]byte, size)...)
}

// TestFramer takes a stream of records in pieces of every size.
func TestFramer(t *testing.T) {
	sizes := []int{0, 1, 4, 5, 300, 0, 16384 + 256, 7}
	var stream []byte
	ends := make(map[int]bool)
	for _, size := range sizes {
		stream = append(stream, record(typeApplication, size)...)
		ends[len(stream)] = true
	}
	for piece := 1; piece < 40; piece++ {
		var f framer
		seen := 0
		for at := 0; at < len(stream); {
			n := f.take(stream[at:min(at+piece, len(stream))])
			if n < 1 || n > piece {
				t.Fatalf("pieces of %d: %d octets were taken", piece, n)
			}
			if at += n; f.boundary() != ends[at] {
				t.Fatalf("pieces of %d: boundary is %v after %d octets", piece, f.boundary(), at)
			}
			if f.boundary() {
				seen++
			}
		}
		if seen != len(sizes) || f.lost {
			t.Errorf("pieces of %d: %d records", piece, seen)
		}
	}
}

// TestFramerLost gives it what is not a stream of records.
func TestFramerLost(t *testing.T) {
	for _, text := range []string{"EHLO there\r\n", "\x17\x02\x00\x00\x00", "\x17\x03\x03\xff\xff", "\x19\x03\x03\x00\x01x"} {
		var f framer
		f.takeAll([]byte(text))
		if !f.lost || f.boundary() {
			t.Errorf("%q was taken for a record", text)
		}
		if n := f.take([]byte("more")); n != 4 {
			t.Errorf("%d octets were taken", n)
		}
	}
}

func TestWholeApplication(t *testing.T) {
	whole := record(typeApplication, 100)
	for n := range whole {
		if wholeApplication(whole[:n]) {
			t.Errorf("%d octets are no record", n)
		}
	}
	handshake := record(22, 100)
	if !wholeApplication(whole) || !wholeApplication(append(bytes.Clone(whole), 'x')) || wholeApplication(handshake) {
		t.Error("wrong about a whole record")
	}
}
