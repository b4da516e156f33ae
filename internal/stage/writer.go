package stage

import "io"

// A Writer gathers what is written in blocks. While some are worked on, the next
// one is gathered. It must be stopped. It is not safe for concurrent use.
type Writer struct {
	size  int // of all blocks but the last one
	queue *Queue
	buf   *Block // being gathered
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer {
	return NewWorker(Size, func(p []byte) error {
		n, err := dst.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	}, nil)
}

// NewWorker returns a Writer whose blocks of size octets, of which there may be up
// to Size, go to a [Queue] with work and deliver.
func NewWorker(size int, work func(p []byte) error, deliver Deliver) *Writer {
	return &Writer{size: size, queue: NewQueue(work, deliver), buf: Get()}
}

// Write implements io.Writer. It may return the error of an earlier call.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		at := len(w.buf.Buf)
		n := min(len(p), w.size-at)
		w.buf.Buf = w.buf.Buf[:at+n]
		if dst := w.buf.Buf[at:]; &dst[0] != &p[0] {
			copy(dst, p)
		}
		p = p[n:]
		if len(w.buf.Buf) == w.size {
			if err := w.turn(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

// Lend lends the rest of the block that is being gathered: an empty slice,
// which what is appended to it within its capacity, and given to the very next Write,
// need not leave.
func (w *Writer) Lend() []byte {
	at := len(w.buf.Buf)
	return w.buf.Buf[at:at:w.size]
}

// ReadFrom implements io.ReaderFrom: what is read goes into the blocks, and is
// not copied once more.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	total := int64(0)
	for {
		at := len(w.buf.Buf)
		n, err := src.Read(w.buf.Buf[at:w.size])
		w.buf.Resize(at + n)
		total += int64(n)
		if at+n == w.size {
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

// Buffered returns how many octets are gathered for the next block.
func (w *Writer) Buffered() int { return len(w.buf.Buf) }

// Flush gives all that was gathered away, with tail after it, of up to Room less
// Size octets in the same block, and returns when all is done.
func (w *Writer) Flush(tail ...byte) error {
	w.buf.Buf = append(w.buf.Buf, tail...)
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
