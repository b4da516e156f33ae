package smtpproxy

// dotBuffer is how much of a message is written at once, in octets.
const dotBuffer = 64 << 10

// dotted is text in lines that end in CRLF: bare CR and LF become that, since
// nothing else may stand in mail (RFC 5321, Section 2.3.8), and dots at the
// beginning of lines are doubled (Section 4.5.2). No content can end it.
type dotted struct {
	out   []byte
	inner bool // the last octet was not the end of a line
	cr    bool // a CR was held back
}

// put adds an octet: at most three are written for it.
func (d *dotted) put(c byte) {
	if d.cr || c == '\n' {
		d.out, d.inner = append(d.out, '\r', '\n'), false
	}
	if d.cr = c == '\r'; d.cr || c == '\n' {
		return
	}
	if c == '.' && !d.inner {
		d.out = append(d.out, '.')
	}
	d.out, d.inner = append(d.out, c), true
}

// end adds the last line end, where it is missing, and the dot.
func (d *dotted) end() {
	if d.inner || d.cr {
		d.out = append(d.out, '\r', '\n')
	}
	d.out = append(d.out, ".\r\n"...)
}

// A dotWriter writes the text of DATA to an upstream.
type dotWriter struct {
	u    *upstream
	text dotted
}

// Write implements io.Writer.
func (w *dotWriter) Write(p []byte) (int, error) {
	for i, c := range p {
		w.text.put(c)
		if len(w.text.out) >= dotBuffer-8 {
			if err := w.flush(); err != nil {
				return i, err
			}
		}
	}
	return len(p), nil
}

func (w *dotWriter) flush() error {
	err := w.u.write(w.text.out)
	w.text.out = w.text.out[:0]
	return err
}

// end ends the text.
func (w *dotWriter) end() error {
	w.text.end()
	return w.flush()
}
