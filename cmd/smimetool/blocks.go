package main

import (
	"io"

	"github.com/postseal/postseal/internal/stage"
)

// A blockWriter gathers what is written in blocks. While one goes to its
// destination, the next one is gathered.
type blockWriter struct {
	dst  io.Writer
	task stage.Task
	buf  *stage.Block // being gathered
	busy *stage.Block // being written, or free
}

func newBlockWriter(dst io.Writer) *blockWriter { return &blockWriter{dst: dst, buf: stage.Get()} }

// Write implements io.Writer. It may return the error of an earlier call.
func (w *blockWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), stage.Size-len(w.buf.Buf))
		w.buf.Buf = append(w.buf.Buf, p[:n]...)
		p = p[n:]
		if len(w.buf.Buf) == stage.Size {
			if err := w.turn(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

// turn starts to write a full block.
func (w *blockWriter) turn() error {
	if !stage.Parallel() {
		return w.Flush()
	}
	full := w.buf
	if err := w.task.Go(func() error { return w.write(full.Buf) }); err != nil {
		return err
	}
	w.buf, w.busy = w.busy, full
	if w.buf == nil {
		w.buf = stage.Get()
	}
	w.buf.Resize(0)
	return nil
}

func (w *blockWriter) write(p []byte) error {
	n, err := w.dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// Flush writes all that was gathered.
func (w *blockWriter) Flush() error {
	if err := w.task.Wait(); err != nil || len(w.buf.Buf) == 0 {
		return err
	}
	err := w.write(w.buf.Buf)
	w.buf.Resize(0)
	return err
}

// stop waits until nothing is written any more, and frees the blocks. It may be
// called again; nothing else may.
func (w *blockWriter) stop() {
	_ = w.task.Wait() // Flush has told, or nobody wants to know
	stage.Put(w.buf)
	stage.Put(w.busy)
	w.buf, w.busy = nil, nil
}
