package stage

import "io"

// A Writer gathers what is written in blocks. While one goes to its
// destination, the next one is gathered. It must be stopped.
type Writer struct {
	dst  io.Writer
	task Task
	buf  *Block // being gathered
	busy *Block // being written, or free
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst, buf: Get()} }

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

// turn starts to write a full block.
func (w *Writer) turn() error {
	if !Parallel() {
		return w.Flush()
	}
	full := w.buf
	if err := w.task.Go(func() error { return w.write(full.Buf) }); err != nil {
		return err
	}
	w.buf, w.busy = w.busy, full
	if w.buf == nil {
		w.buf = Get()
	}
	w.buf.Resize(0)
	return nil
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
	if err := w.task.Wait(); err != nil || len(w.buf.Buf) == 0 {
		return err
	}
	err := w.write(w.buf.Buf)
	w.buf.Resize(0)
	return err
}

// Stop waits until nothing is written any more, and frees the blocks. It may be
// called again; nothing else may.
func (w *Writer) Stop() {
	_ = w.task.Wait() // Flush has told, or nobody wants to know
	Put(w.buf)
	Put(w.busy)
	w.buf, w.busy = nil, nil
}
