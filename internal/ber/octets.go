package ber

import "io"

// Octets is the contents of one OCTET STRING as a stream, whatever segments it
// came in (X.690, Section 8.7).
type Octets struct {
	r    *Reader
	left int64 // of the primitive segment that is open
	base int   // depth of the Reader when the string is at its end
	done bool
}

// Octets opens the next element, an OCTET STRING with the given tag, primitive
// or constructed. The Reader must not be used before the stream has returned
// io.EOF; it then stands behind the string.
func (r *Reader) Octets(tag Tag) (*Octets, error) {
	h, n, err := r.next()
	if err != nil {
		return nil, err
	}
	if h.Tag != tag {
		return nil, r.syntax("there is " + h.Tag.String() + " where " + tag.String() + " belongs")
	}
	o := &Octets{r: r, base: len(r.ends)}
	return o, o.open(h, n)
}

// open begins a segment.
func (o *Octets) open(h Header, n int) error {
	if h.Constructed {
		return o.r.push(h, n)
	}
	o.r.discard(n)
	o.left = h.Length
	return nil
}

// advance moves to the next segment that is not empty, or to the end.
func (o *Octets) advance() error {
	for o.left == 0 {
		if len(o.r.ends) == o.base {
			o.done = true
			return io.EOF
		}
		h, n, err := o.r.peek()
		switch {
		case err == io.EOF:
			err = o.r.Leave()
		case err == nil && h.Tag != OctetString:
			err = o.r.syntax("there is " + h.Tag.String() + " among the segments of an OCTET STRING")
		case err == nil:
			err = o.open(h, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read implements io.Reader.
func (o *Octets) Read(p []byte) (int, error) {
	if o.done {
		return 0, io.EOF
	}
	if o.r.err != nil {
		return 0, o.r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.advance(); err != nil {
		return 0, err
	}
	// Small segments are gathered, so that what follows works on large blocks.
	total := 0
	for total < len(p) {
		want := int(min(int64(len(p)-total), o.left))
		n, err := o.r.src.Read(p[total : total+want])
		o.r.off += int64(n)
		o.left -= int64(n)
		total += n
		if err != nil {
			return total, o.r.source(err)
		}
		if o.left > 0 || o.r.src.Buffered() < maxHeader {
			break
		}
		if o.advance() != nil {
			break // the error is sticky or io.EOF and comes with the next call
		}
	}
	return total, nil
}
