package mimeraw

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"strconv"
	"sync"

	"github.com/segmentio/asm/base64"
)

// Base64Error is the error of the base64 reader for a character that has no
// place where it stands.
type Base64Error struct {
	Offset int64 // of the character in the source, in octets
}

// Error implements error.
func (e *Base64Error) Error() string {
	return "mimeraw: illegal base64 at offset " + strconv.FormatInt(e.Offset, 10)
}

// base64Window is how much of a line is looked at, in octets, to find out
// whether it is base64 or something foreign.
const base64Window = 1 << 10

// Classes of octets that are not digits of base64.
const (
	b64Illegal = 0xff
	b64Space   = 0xfe
	b64Pad     = 0xfd
)

// badQuantum is set in the sum of four digits when one of them is none.
const badQuantum = 1 << 31

// base64Class holds the value of each digit, or its class.
var base64Class = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Illegal
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	for _, c := range []byte(" \t\r\n\v\f") {
		t[c] = b64Space
	}
	t['='] = b64Pad
	return t
}()

// base64Digits holds the digits shifted to their four places in a quantum.
var base64Digits = func() (t [4][256]uint32) {
	for place := range t {
		for c, v := range base64Class {
			t[place][c] = badQuantum
			if v < 64 {
				t[place][c] = uint32(v) << (18 - 6*place)
			}
		}
	}
	return t
}()

// NewBase64Reader returns a reader that decodes base64 (RFC 2045, Section 6.8)
// as it is found in mail:
//
//   - white space may stand anywhere and lines may have any length;
//   - the padding at the end may be missing; bits that it leaves over are
//     ignored;
//   - after padding, a line (or its rest) that looks like base64 starts anew,
//     because gateways join encoded texts; anything else there ends the data;
//   - after data, a line that starts with "--" ends it.
//
// Any other character is a *[Base64Error]. A single digit at the end, of which no
// octet can be made, is [io.ErrUnexpectedEOF]. Errors of src are passed on as
// they are, after what was decoded before them. The reader may read more from
// src than it decodes.
func NewBase64Reader(src io.Reader) *Base64Reader {
	return &Base64Reader{src: src, newLine: true}
}

// A Base64Reader decodes base64; see [NewBase64Reader]. It is not safe for
// concurrent use. Its memory is given back when Read has returned an error, or by
// Free.
type Base64Reader struct {
	src    io.Reader
	buf    *[blockSize]byte // nil before the first Read, and at the end
	used   int              // octets of buf that were ever in use
	in     []byte           // not decoded yet, part of buf
	offset int64            // of in[0] in the source
	srcErr error            // given out when in is used up

	acc     uint32 // digits of an incomplete quantum
	n       int    // how many
	data    bool   // there was a digit
	padded  bool   // the last character that was not white space was padding
	newLine bool   // no character but white space on this line

	width   int   // of the last line that vectors have decoded
	plainAt int64 // offset from which on vectors may be tried

	small  [48]byte // decoded octets for callers with small buffers
	smallN []byte   // what is left of them
	err    error
}

// minDecode is the smallest buffer that is decoded into directly.
const minDecode = 32

// Read implements io.Reader.
func (r *Base64Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.smallN) > 0 {
		n := copy(p, r.smallN)
		r.smallN = r.smallN[n:]
		return n, nil
	}
	dst := p
	if len(p) < minDecode {
		dst = r.small[:]
	}
	n := 0
	for n == 0 && r.err == nil {
		n, r.err = r.decode(dst)
		if n == 0 && r.err == nil {
			r.err = r.refill()
		}
	}
	if r.err != nil {
		r.free()
	}
	if n == 0 {
		return 0, r.err
	}
	if len(p) < minDecode {
		r.smallN = r.small[:n]
		n = copy(p, r.smallN)
		r.smallN = r.smallN[n:]
	}
	return n, nil
}

// Free gives the memory of a reader back whose source has not been read to its
// end. Nothing can be read any more: Read returns [fs.ErrClosed], or the error that
// it has returned before.
func (r *Base64Reader) Free() {
	if r.err == nil {
		r.err, r.smallN = fs.ErrClosed, nil
	}
	r.free()
}

func (r *Base64Reader) free() {
	r.in = nil
	if r.buf != nil {
		clear(r.buf[:r.used]) // it may have been secret
		scratches.Put(r.buf)
		r.buf = nil
	}
}

// refill reads more of the source behind what is left in the buffer.
func (r *Base64Reader) refill() error {
	if r.srcErr != nil {
		return nil // decode acts on it
	}
	if r.buf == nil {
		r.buf, _ = scratches.Get().(*[blockSize]byte) // nothing else is in there
	}
	left := copy(r.buf[:], r.in)
	r.in = r.buf[:left]
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[left:])
		r.in = r.buf[:left+n]
		r.used = max(r.used, left+n)
		r.srcErr = err
		if n > 0 || err != nil {
			return nil
		}
	}
	return io.ErrNoProgress
}

// decode decodes into dst, which has room for minDecode octets or more. It
// returns 0 and no error when it needs more of the source.
func (r *Base64Reader) decode(dst []byte) (n int, err error) {
	for {
		if len(dst)-n < 8 {
			return n, nil
		}
		if r.n == 0 && !r.padded {
			r.lines(dst, &n)
			r.bulk(dst, &n)
			if len(dst)-n < 8 {
				return n, nil
			}
		}
		if len(r.in) == 0 {
			if r.srcErr != nil {
				return r.finish(dst, n)
			}
			return n, nil
		}
		more, stepErr := r.step(dst, &n)
		if stepErr != nil {
			return n, stepErr
		}
		if more {
			return n, nil
		}
	}
}

// minLines is what is worth to be decoded by vectors, in octets.
const minLines = 512

// lines decodes whole lines by vectors, as many as there are and have room in
// dst. The code for vectors is slow at line ends, so these are taken out first.
// What is not plain it leaves to the others.
func (r *Base64Reader) lines(dst []byte, n *int) {
	if len(r.in) < minLines || len(dst)-*n < minLines || r.offset < r.plainAt {
		return
	}
	scratch, _ := scratches.Get().(*[blockSize]byte) // nothing else is in there
	in, room := r.in, (len(dst)-*n)/3*4
	text := r.gather(scratch[:0], &in, room)
	defer func() {
		clear(text)
		scratches.Put(scratch)
	}()
	size := len(text) / 4 * 3
	if len(text) == 0 {
		return
	}
	// What is decoded to fewer octets had white space or padding in it. All of it
	// is left to the others then, or it would be looked at again and again.
	if got, err := base64.StdEncoding.Decode(dst[*n:*n+size], text); err != nil || got != size {
		r.plainAt = r.offset + int64(len(r.in)-len(in))
		return
	}
	*n += size
	r.offset += int64(len(r.in) - len(in))
	r.in = in
	r.data, r.newLine = true, true
}

// scratches are memory for readers and writers, overwritten as far as it was used.
var scratches = sync.Pool{New: func() any { return new([blockSize]byte) }}

// gather takes whole lines from in, of whole quanta and of no more than room
// octets in all, and appends them to text without their ends, as far as it has
// room itself.
func (r *Base64Reader) gather(text []byte, in *[]byte, room int) []byte {
	rest := *in
	room = min(room, cap(text))
	for {
		w := r.width
		if len(rest) < w+2 || w == 0 || rest[w] != '\r' || rest[w+1] != '\n' {
			i := bytes.IndexByte(rest, '\n')
			if i > 0 && rest[i-1] == '\r' {
				i--
			}
			if i <= 0 || i%4 != 0 {
				break
			}
			w = i
		}
		if len(text)+w > room {
			break
		}
		text = append(text, rest[:w]...)
		rest = rest[w:]
		if rest[0] == '\r' {
			rest = rest[1:]
		}
		rest, r.width = rest[1:], w
	}
	*in = rest
	return text
}

// bulk decodes whole quanta as long as nothing else comes. It leaves room for
// at least one octet less than 8 in dst.
func (r *Base64Reader) bulk(dst []byte, n *int) {
	in, at := r.in, *n
	d := &base64Digits
	for len(in) >= 8 && len(dst)-at >= 8 {
		hi := d[0][in[0]] | d[1][in[1]] | d[2][in[2]] | d[3][in[3]]
		lo := d[0][in[4]] | d[1][in[5]] | d[2][in[6]] | d[3][in[7]]
		if (hi|lo)&badQuantum != 0 {
			break
		}
		binary.BigEndian.PutUint64(dst[at:], uint64(hi)<<40|uint64(lo)<<16)
		at += 6
		in = in[8:]
	}
	for len(in) >= 4 && len(dst)-at >= 3 {
		v := d[0][in[0]] | d[1][in[1]] | d[2][in[2]] | d[3][in[3]]
		if v&badQuantum != 0 {
			break
		}
		dst[at], dst[at+1], dst[at+2] = byte(v>>16), byte(v>>8), byte(v)
		at += 3
		in = in[4:]
	}
	if used := len(r.in) - len(in); used > 0 {
		r.offset += int64(used)
		r.in = in
		r.data, r.newLine = true, false
	}
	*n = at
}

// step takes one character. It returns more when it must see what follows.
func (r *Base64Reader) step(dst []byte, n *int) (more bool, err error) {
	c := r.in[0]
	v := base64Class[c]
	switch {
	case v == b64Space:
		if c == '\n' {
			r.newLine = true
		}
	case r.padded && v != b64Pad:
		known, foreign := r.looksForeign()
		if !known {
			return true, nil
		}
		if foreign {
			return false, io.EOF
		}
		r.padded = false
		return false, nil // the same character again, as a digit
	case v < 64:
		r.acc = r.acc<<6 | uint32(v)
		r.data, r.newLine = true, false
		if r.n++; r.n == 4 {
			dst[*n], dst[*n+1], dst[*n+2] = byte(r.acc>>16), byte(r.acc>>8), byte(r.acc)
			*n += 3
			r.acc, r.n = 0, 0
		}
	case v == b64Pad && r.n != 1 && r.data:
		*n = r.flush(dst, *n)
		r.padded, r.newLine = true, false
	case c == '-' && r.newLine && r.data:
		if len(r.in) == 1 && r.srcErr == nil {
			return true, nil
		}
		if len(r.in) > 1 && r.in[1] == '-' {
			*n, err = r.end(dst, *n, io.EOF)
			return false, err
		}
		return false, &Base64Error{Offset: r.offset}
	default:
		return false, &Base64Error{Offset: r.offset}
	}
	r.in = r.in[1:]
	r.offset++
	return false, nil
}

// looksForeign says whether what follows padding is something else than base64:
// whether its line, as far as it is looked at, holds anything but digits,
// padding and white space at the end.
func (r *Base64Reader) looksForeign() (known, foreign bool) {
	space := false
	for i, c := range r.in {
		if c == '\n' || i == base64Window {
			return true, false
		}
		v := base64Class[c]
		switch {
		case v == b64Space:
			space = true
		case v == b64Illegal || space:
			return true, true
		}
	}
	return r.srcErr != nil, false
}

// flush decodes an incomplete quantum of two or three digits, or none.
func (r *Base64Reader) flush(dst []byte, n int) int {
	switch r.n {
	case 2:
		dst[n] = byte(r.acc >> 4)
		n++
	case 3:
		dst[n], dst[n+1] = byte(r.acc>>10), byte(r.acc>>2)
		n += 2
	}
	r.acc, r.n = 0, 0
	return n
}

// end finishes the data; err is what a reader sees when it is complete.
func (r *Base64Reader) end(dst []byte, n int, err error) (int, error) {
	if r.n == 1 && err == io.EOF {
		return n, io.ErrUnexpectedEOF
	}
	return r.flush(dst, n), err
}

// finish ends the data with the source. After an error other than io.EOF an
// incomplete quantum is not decoded.
func (r *Base64Reader) finish(dst []byte, n int) (int, error) {
	if r.srcErr != io.EOF {
		return n, r.srcErr
	}
	return r.end(dst, n, io.EOF)
}
