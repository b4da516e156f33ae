package ber

import "io"

// A Writer writes elements to a stream. The first error is sticky and is
// returned by every later call. It is not safe for concurrent use.
type Writer struct {
	dst io.Writer
	buf []byte
	err error
}

// SegmentSize is the size of the segments of a string of unknown length, in
// octets.
const SegmentSize = 32 << 10

// NewWriter returns a Writer to dst. Flush must be called at the end.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Write appends octets that are encoded already, or contents.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(w.buf)+len(p) > bufferSize {
		if w.Flush() != nil {
			return 0, w.err
		}
		if len(p) >= bufferSize {
			_, w.err = w.dst.Write(p)
			return len(p), w.err
		}
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// Flush hands everything to the destination.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.dst.Write(w.buf)
		w.buf = w.buf[:0]
	}
	return w.err
}

// Header writes identifier and length octets of a constructed element, whose
// contents are to follow. After Indefinite, End closes it.
func (w *Writer) Header(tag Tag, length int64) error {
	var h [maxHeader]byte
	_, err := w.Write(AppendHeader(h[:0], tag, true, length))
	return err
}

// End writes end-of-contents octets.
func (w *Writer) End() error {
	_, err := w.Write([]byte{0, 0})
	return err
}

// An OctetsWriter writes one OCTET STRING.
type OctetsWriter struct {
	w       *Writer
	left    int64 // of a string of known size; Indefinite else
	segment []byte
}

// Octets begins an OCTET STRING with the given tag: primitive when size is
// known, else constructed from segments of SegmentSize, or fewer octets for the
// last one. size is in octets or Indefinite.
func (w *Writer) Octets(tag Tag, size int64) *OctetsWriter {
	var h [maxHeader]byte
	o := &OctetsWriter{w: w, left: size}
	_, _ = w.Write(AppendHeader(h[:0], tag, size == Indefinite, size)) // the error is sticky
	return o
}

// Write implements io.Writer. More octets than the known size are
// io.ErrShortWrite.
func (o *OctetsWriter) Write(p []byte) (int, error) {
	if o.left != Indefinite {
		if int64(len(p)) > o.left {
			return 0, io.ErrShortWrite
		}
		o.left -= int64(len(p))
		return o.w.Write(p)
	}
	total := len(p)
	for len(p) > 0 {
		if len(o.segment) == 0 && len(p) >= SegmentSize {
			o.emit(p[:SegmentSize])
			p = p[SegmentSize:]
			continue
		}
		n := min(SegmentSize-len(o.segment), len(p))
		o.segment = append(o.segment, p[:n]...)
		p = p[n:]
		if len(o.segment) == SegmentSize {
			o.emit(o.segment)
			o.segment = o.segment[:0]
		}
	}
	if o.w.err != nil {
		return 0, o.w.err
	}
	return total, nil
}

func (o *OctetsWriter) emit(segment []byte) {
	var h [maxHeader]byte
	_, _ = o.w.Write(AppendHeader(h[:0], OctetString, false, int64(len(segment))))
	_, _ = o.w.Write(segment)
}

// Close ends the string. It does not flush the Writer. When fewer octets than
// the known size were written, the error is io.ErrUnexpectedEOF.
func (o *OctetsWriter) Close() error {
	if o.left > 0 {
		return io.ErrUnexpectedEOF
	}
	if o.left == Indefinite {
		if len(o.segment) > 0 {
			o.emit(o.segment)
			o.segment = nil
		}
		return o.w.End()
	}
	return o.w.err
}
