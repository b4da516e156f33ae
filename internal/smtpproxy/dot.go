package smtpproxy

// dotBuffer is how much of a message is written at once, in octets.
const dotBuffer = 64 << 10

// A dotWriter makes the text of DATA: bare CR and LF become CRLF, since nothing
// else may stand in it (RFC 5321, Section 2.3.8), and dots at the beginning of
// lines are doubled (Section 4.5.2). No content can end the text before its end.
type dotWriter struct {
	u      *upstream
	buf    []byte
	inLine bool // the last octet was not the end of a line
	cr     bool // a CR was held back
}

// Write implements io.Writer.
func (w *dotWriter) Write(p []byte) (int, error) {
	for i, c := range p {
		if w.cr || c == '\n' {
			w.buf = append(w.buf, '\r', '\n')
			w.inLine = false
		}
		wasCR := w.cr
		w.cr = c == '\r'
		if c == '\n' && wasCR || c == '\n' || w.cr {
			continue
		}
		if c == '.' && !w.inLine {
			w.buf = append(w.buf, '.')
		}
		w.buf, w.inLine = append(w.buf, c), true
		if len(w.buf) >= dotBuffer-4 {
			if err := w.flush(); err != nil {
				return i, err
			}
		}
	}
	return len(p), nil
}

func (w *dotWriter) flush() error {
	err := w.u.write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// end writes the last line end, where it is missing, and the dot.
func (w *dotWriter) end() error {
	if w.inLine || w.cr {
		w.buf = append(w.buf, '\r', '\n')
	}
	w.buf = append(w.buf, ".\r\n"...)
	return w.flush()
}
