package stage

import "io"

// A Writer gathers what is written in blocks. While some go to their
// destination, the next one is gathered. It must be stopped.
type Writer struct {
	dst   io.Writer
	queue *Queue
	buf   *Block // being gathered
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer {
	w := &Writer{dst: dst, buf: Get()}
	w.queue = NewQueue(w.write, nil)
	return w
}

// Write implements io.Writer. It may return the error of an earlier call.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), Size-len(w.buf.Buf))
		w.buf.Buf = append(w.buf.Buf, p[:n]...)
		p = p[n:]
		if len(w.buf.Buf) == Size {
			if err := w.turn(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

// ReadFrom implements io.ReaderFrom: what is read goes into the blocks, and is
// not copied once more.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	total := int64(0)
	for {
		at := len(w.buf.Buf)
		n, err := src.Read(w.buf.Buf[at:Size])
		w.buf.Resize(at + n)
		total += int64(n)
		if at+n == Size {
			if werr := w.turn(); werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// turn gives a full block away.
func (w *Writer) turn() error {
	err := w.queue.Add(w.buf)
	w.buf = w.queue.Empty()
	return err
}

func (w *Writer) write(p []byte) error {
	n, err := w.dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Flush writes all that was gathered.
func (w *Writer) Flush() error {
	if len(w.buf.Buf) == 0 {
		return w.queue.Wait()
	}
	err := w.queue.Last(w.buf)
	w.buf = w.queue.Empty()
	return err
}

// Stop waits until nothing is written any more, and frees the blocks. It may be
// called again; nothing else may.
func (w *Writer) Stop() {
	w.queue.Stop()
	Put(w.buf)
	w.buf = nil
}
