package ber

import (
	"bufio"
	"errors"
	"io"
)

// bufferSize is the size of the buffer before the source, in octets. It is for
// headers: contents of more octets bypass it.
const bufferSize = 4 << 10

// stepSize is how much of an element is read at a time, in octets.
const stepSize = 32 << 10

// A Reader reads elements one after the other, descending into constructed
// ones with Enter and Leave. The first error is sticky. It is not safe for
// concurrent use.
type Reader struct {
	src      *bufio.Reader
	off      int64   // octets consumed
	ends     []int64 // of the open elements; Indefinite for those without
	bound    int64   // the innermost definite end, or maxOffset
	maxDepth int
	err      error
	room     []byte // for small elements
	levels   [8]int64
}

const maxOffset = 1<<63 - 1

// NewReader returns a Reader over src that goes at most maxDepth elements deep.
func NewReader(src io.Reader, maxDepth int) *Reader {
	r := &Reader{src: bufio.NewReaderSize(src, bufferSize), bound: maxOffset, maxDepth: maxDepth}
	r.ends = r.levels[:0]
	return r
}

// Offset returns how many octets of the input have been consumed.
func (r *Reader) Offset() int64 { return r.off }

// Depth returns the number of elements that have been entered and not left.
func (r *Reader) Depth() int { return len(r.ends) }

func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	return r.err
}

func (r *Reader) syntax(msg string) error {
	return r.fail(&SyntaxError{Offset: r.off, Msg: msg})
}

func (r *Reader) short() error {
	return r.fail(&SyntaxError{Offset: r.off, Msg: "the input ends too early", Err: io.ErrUnexpectedEOF})
}

// source turns an error of the source into a sticky one.
func (r *Reader) source(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.short()
	}
	return r.fail(err)
}

// peek returns the next header and its size without consuming it.
func (r *Reader) peek() (Header, int, error) {
	if r.err != nil {
		return Header{}, 0, r.err
	}
	if n := len(r.ends); n > 0 && r.ends[n-1] != Indefinite && r.off >= r.ends[n-1] {
		return Header{}, 0, io.EOF
	}
	p, err := r.src.Peek(2)
	h, n, herr := parseHeader(p)
	if err == nil && herr == short {
		p, err = r.src.Peek(maxHeader)
		h, n, herr = parseHeader(p)
	}
	if herr == short {
		if err == io.EOF && len(p) == 0 && len(r.ends) == 0 {
			return Header{}, 0, io.EOF
		}
		return Header{}, 0, r.source(err)
	}
	if herr != "" {
		return Header{}, 0, r.syntax(string(herr))
	}
	h.Offset = r.off
	if r.bound-r.off < int64(n) || h.Length > r.bound-r.off-int64(n) {
		return Header{}, 0, r.syntax("an element is longer than the one that holds it")
	}
	if h.Tag == EndOfContents {
		if len(r.ends) == 0 || r.ends[len(r.ends)-1] != Indefinite {
			return Header{}, 0, r.syntax("end-of-contents octets are out of place")
		}
		return h, n, io.EOF
	}
	return h, n, nil
}

// Peek returns the header of the next element of the current one, without
// consuming it. At the end of the current element, or of the input when none
// is open, the error is io.EOF, which is not sticky.
func (r *Reader) Peek() (Header, error) {
	h, _, err := r.peek()
	return h, err
}

func (r *Reader) discard(n int) {
	// The octets have been peeked: they are in the buffer.
	_, _ = r.src.Discard(n)
	r.off += int64(n)
}

// next peeks for an element that must be there.
func (r *Reader) next() (Header, int, error) {
	h, n, err := r.peek()
	if err == io.EOF {
		if len(r.ends) == 0 {
			return h, 0, r.short()
		}
		return h, 0, r.syntax("an element is missing")
	}
	return h, n, err
}

// Expect is Peek for an element that must be there and have the given tag.
func (r *Reader) Expect(tag Tag) (Header, error) {
	h, _, err := r.next()
	if err == nil && h.Tag != tag {
		err = r.syntax("there is " + h.Tag.String() + " where " + tag.String() + " belongs")
	}
	return h, err
}

// Enter descends into the next element, which must be constructed and have the
// given tag.
func (r *Reader) Enter(tag Tag) error {
	h, n, err := r.next()
	if err != nil {
		return err
	}
	if h.Tag != tag || !h.Constructed {
		return r.syntax("there is " + h.Tag.String() + " where a constructed " + tag.String() + " belongs")
	}
	return r.push(h, n)
}

func (r *Reader) push(h Header, n int) error {
	if len(r.ends) >= r.maxDepth {
		return r.fail(&LimitError{What: "nesting of elements", Max: int64(r.maxDepth)})
	}
	r.discard(n)
	end := Indefinite
	if h.Length != Indefinite {
		end = r.off + h.Length
		r.bound = end
	}
	r.ends = append(r.ends, end)
	return nil
}

// Leave goes up from the current element, which must be at its end.
func (r *Reader) Leave() error {
	_, n, err := r.peek()
	switch {
	case err == nil:
		return r.syntax("an element has more parts than it may have")
	case err != io.EOF:
		return err
	case len(r.ends) == 0:
		return r.syntax("no element is open")
	}
	top := len(r.ends) - 1
	if r.ends[top] == Indefinite {
		r.discard(n)
	}
	r.ends = r.ends[:top]
	r.bound = maxOffset
	for i := top - 1; i >= 0; i-- {
		if r.ends[i] != Indefinite {
			r.bound = r.ends[i]
			break
		}
	}
	return nil
}

// Raw reads the next element whole, as it was received. An element of more
// than limit octets is a *LimitError.
func (r *Reader) Raw(limit int64) ([]byte, error) {
	h, n, err := r.next()
	if err != nil {
		return nil, err
	}
	var buf []byte
	base := len(r.ends)
	for {
		if h.Length > limit-int64(len(buf))-int64(n) {
			return nil, r.fail(&LimitError{What: "size of an element", Max: limit})
		}
		if buf == nil && h.Length != Indefinite {
			buf = r.roomFor(n + int(min(h.Length, stepSize)))
		}
		p, _ := r.src.Peek(n)
		buf = append(buf, p...)
		if h.Length == Indefinite {
			if err = r.push(h, n); err != nil {
				return nil, err
			}
		} else {
			r.discard(n)
			if buf, err = r.append(buf, h.Length); err != nil {
				return nil, err
			}
		}
		// Go up from the elements that end here.
		for len(r.ends) > base {
			h, n, err = r.peek()
			if err != io.EOF {
				break
			}
			buf = append(buf, 0, 0)
			if err = r.Leave(); err != nil {
				return nil, err
			}
		}
		if len(r.ends) == base {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if int64(len(buf)) > limit {
		return nil, r.fail(&LimitError{What: "size of an element", Max: limit})
	}
	return buf, nil
}

const (
	smallElement = 64  // octets up to which elements share a piece of memory
	sharedRoom   = 256 // of that memory
)

// roomFor returns empty memory for size octets. It is the caller's: no octet is
// given out twice.
func (r *Reader) roomFor(size int) []byte {
	if size > smallElement {
		return make([]byte, 0, size)
	}
	if len(r.room) < size {
		r.room = make([]byte, sharedRoom)
	}
	buf := r.room[:0:size]
	r.room = r.room[size:]
	return buf
}

// append reads n octets of contents in steps, so that a declared length alone
// allocates nothing.
func (r *Reader) append(buf []byte, n int64) ([]byte, error) {
	for n > 0 {
		step := int(min(n, stepSize))
		start := len(buf)
		if cap(buf)-start < step {
			grown := make([]byte, start, max(2*start, start+step))
			copy(grown, buf)
			buf = grown
		}
		buf = buf[:start+step]
		got, err := io.ReadFull(r.src, buf[start:])
		r.off += int64(got)
		if err != nil {
			return nil, r.source(err)
		}
		n -= int64(step)
	}
	return buf, nil
}

// DER reads the next element whole and returns it with definite lengths in
// their shortest form and with strings in one piece; see Normalize.
func (r *Reader) DER(limit int64) ([]byte, error) {
	raw, err := r.Raw(limit)
	if err != nil {
		return nil, err
	}
	start := r.off - int64(len(raw))
	out, err := Normalize(raw, r.maxDepth)
	if se, ok := errors.AsType[*SyntaxError](err); ok {
		se.Offset += start
	}
	if err != nil {
		return nil, r.fail(err)
	}
	return out, nil
}

// Skip passes over the next element, of any size.
func (r *Reader) Skip() error {
	base := len(r.ends)
	for {
		h, n, err := r.next()
		if err != nil {
			return err
		}
		if h.Length == Indefinite {
			err = r.push(h, n)
		} else {
			r.discard(n)
			err = r.skip(h.Length)
		}
		if err != nil {
			return err
		}
		for len(r.ends) > base {
			if _, _, err = r.peek(); err != io.EOF {
				break
			}
			if err = r.Leave(); err != nil {
				return err
			}
		}
		if len(r.ends) == base {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) skip(n int64) error {
	for n > 0 {
		got, err := r.src.Discard(int(min(n, 1<<30)))
		r.off += int64(got)
		n -= int64(got)
		if err != nil {
			return r.source(err)
		}
	}
	return nil
}
