package smtpproxy

import (
	"bytes"
	"errors"
	"io"

	"github.com/emersion/go-smtp"
)

// message gives the text of DATA, without what SMTP adds to it, to a writer, and
// reads it to its end also when the writer fails or there are more octets than
// most, which is smtp.ErrDataTooLarge. go-smtp is left with a text that is empty:
// it reads octet by octet. It is for when a reply of 354 has been written.
func (f *front) message(w io.Writer, most int64) error {
	b := getBuffer()
	text := textFilter{text: dotted{out: b.out, plain: true}}
	defer func() {
		b.written(&text.text)
		b.free()
	}()
	var failed error
	for ended := false; !ended; {
		raw := f.pending
		f.pending = nil
		if len(raw) == 0 && f.err == nil {
			n, err := f.fill(b.in, f.soon())
			b.usedIn = max(b.usedIn, n)
			if raw = b.in[:n]; n == 0 {
				f.err = noEnd(err)
			}
		}
		if f.got += int64(len(raw)); f.got > 2*f.max+surplus {
			f.err = errSurplus
		}
		if f.err != nil {
			return f.err
		}
		var out, rest []byte
		if out, rest, ended = text.filter(raw); len(rest) > 0 {
			f.pending = bytes.Clone(rest)
		}
		if most -= int64(len(out)); most < 0 && failed == nil {
			failed = smtp.ErrDataTooLarge
		}
		if failed == nil && len(out) > 0 {
			_, failed = w.Write(out)
		}
	}
	f.ready, f.ended = []byte(".\r\n"), true
	return failed
}

// noEnd is an error of reading for those to whom the end of a connection would look
// as that of a message.
func noEnd(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A text is the message of DATA as a reader that writes itself.
type text struct {
	io.Reader
	front *front
	most  int64
}

// WriteTo implements io.WriterTo.
func (t *text) WriteTo(w io.Writer) (int64, error) {
	return 0, t.front.message(w, t.most) // how much it was nobody asks
}
