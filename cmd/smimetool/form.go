package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/internal/mimeraw"
)

// A form is how octets of a CMS file are written.
type form string

const (
	formDER    form = "der" // or BER
	formPEM    form = "pem"
	formBase64 form = "base64"
	formMail   form = "mail" // or other text
)

// formFlag is --form, of the output.
type formFlag struct{ form form }

func (f *formFlag) register(cmd *cobra.Command) {
	f.form = formDER
	cmd.Flags().Var(f, "form", "write the output as `FORM`: der or pem")
	complete(cmd, "form", []string{"der", "pem"})
}

// String implements pflag.Value.
func (f *formFlag) String() string { return string(f.form) }

// Type implements pflag.Value.
func (f *formFlag) Type() string { return "FORM" }

// Set implements pflag.Value.
func (f *formFlag) Set(s string) error {
	switch form(s) {
	case formDER, formPEM:
		f.form = form(s)
		return nil
	}
	return errors.New("the forms are: der, pem")
}

// sniffSize is how much of the input is looked at to find out its form.
const sniffSize = 8 << 10

// inputSize is the size of the buffer behind a file, in octets.
const inputSize = 128 << 10

var pemBegin = []byte("-----BEGIN ")

// sniff finds out the form of the input without consuming any of it. br holds
// at least sniffSize octets.
func sniff(br *bufio.Reader) (form, error) {
	head, err := br.Peek(sniffSize)
	if err != nil && err != io.EOF {
		return "", err
	}
	if isContentInfo(head) {
		return formDER, nil
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(text, pemBegin):
		return formPEM, nil
	case isBase64(text):
		return formBase64, nil
	case len(head) > 0 && head[0] == 0x30 && !isText(head):
		return formDER, nil // or what was DER once; the reader will tell
	}
	return formMail, nil
}

// isContentInfo reports whether head starts like a SEQUENCE with an OBJECT
// IDENTIFIER in it.
func isContentInfo(head []byte) bool {
	if len(head) < 3 || head[0] != 0x30 {
		return false
	}
	skip := 2
	if head[1] > 0x80 && head[1] <= 0x88 {
		skip += int(head[1] - 0x80)
	}
	return len(head) > skip && head[skip] == 0x06
}

// isBase64 reports whether text starts with a line of base64 of a ContentInfo.
func isBase64(text []byte) bool {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimRight(line, "\r \t")
	start := line[:min(len(line), 16)/4*4]
	raw := make([]byte, 12)
	n, err := base64.StdEncoding.Decode(raw, start)
	return err == nil && isContentInfo(raw[:n]) && bytes.IndexFunc(line, notBase64) < 0
}

func notBase64(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != '='
}

// isText reports whether there are no control characters in head but those of
// text.
func isText(head []byte) bool {
	return bytes.IndexFunc(head, func(r rune) bool { return r < 0x20 && r != '\t' && r != '\r' && r != '\n' }) < 0
}

// readCMS returns the octets of a CMS file in any form.
func readCMS(in *input) (io.Reader, error) {
	br := bufio.NewReaderSize(in, inputSize)
	f, err := sniff(br)
	if err != nil {
		return nil, err
	}
	switch f {
	case formPEM:
		if _, err = skipPEMBegin(br); err != nil {
			return nil, err
		}
		return newBase64(br), nil
	case formBase64:
		return newBase64(br), nil
	case formMail:
		if _, peekErr := br.Peek(1); peekErr == io.EOF {
			return nil, inFile(in.name, &wrongLayerError{"CMS", "an empty input", ""})
		}
		return nil, inFile(in.name, &wrongLayerError{"CMS", "text, or a mail message",
			"mail is for: smimetool open, verify, decrypt, show"})
	}
	return br, nil
}

// A base64Source decodes base64, and says of errors in it that they are not
// those of the system.
type base64Source struct{ src io.Reader }

func newBase64(src io.Reader) io.Reader { return base64Source{mimeraw.NewBase64Reader(src)} }

// Read implements io.Reader.
func (b base64Source) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if bad, ok := errors.AsType[*mimeraw.Base64Error](err); ok {
		err = &structureError{fmt.Errorf("not base64 at octet %d", bad.Offset)}
	} else if err == io.ErrUnexpectedEOF {
		err = &structureError{errors.New("the base64 is cut off")}
	}
	return n, err
}

// skipPEMBegin reads through the line that starts a PEM block, and returns the
// block's label.
func skipPEMBegin(br *bufio.Reader) (string, error) {
	for {
		line, err := br.ReadSlice('\n')
		if i := bytes.Index(line, pemBegin); i >= 0 {
			label, _, _ := bytes.Cut(line[i+len(pemBegin):], []byte("-----"))
			return string(label), nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return "", err
		}
	}
}

// pemLine is the length of a line (RFC 7468, Section 2).
const pemLine = 64

// A pemWriter writes one PEM block.
type pemWriter struct {
	lines lineWriter
	enc   io.WriteCloser
	label string
}

func newPEMWriter(dst io.Writer, label string) (*pemWriter, error) {
	w := &pemWriter{lines: lineWriter{dst: dst}, label: label}
	w.enc = base64.NewEncoder(base64.StdEncoding, &w.lines)
	_, err := io.WriteString(dst, "-----BEGIN "+label+"-----\n")
	return w, err
}

// Write implements io.Writer.
func (w *pemWriter) Write(p []byte) (int, error) { return w.enc.Write(p) }

// Close ends the block.
func (w *pemWriter) Close() error {
	if err := w.enc.Close(); err != nil {
		return err
	}
	end := "-----END " + w.label + "-----\n"
	if w.lines.column > 0 {
		end = "\n" + end
	}
	_, err := io.WriteString(w.lines.dst, end)
	return err
}

// A lineWriter breaks text into lines.
type lineWriter struct {
	dst    io.Writer
	column int
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := l.dst.Write(p[:min(len(p), pemLine-l.column)])
		written += n
		if err != nil {
			return written, err
		}
		p, l.column = p[n:], l.column+n
		if l.column == pemLine {
			if _, err = l.dst.Write([]byte{'\n'}); err != nil {
				return written, err
			}
			l.column = 0
		}
	}
	return written, nil
}

// nopCloser is a writer whose end needs nothing.
type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// encoder returns a writer of f's form to dst. Its Close does not close dst.
func (f *formFlag) encoder(dst io.Writer) (io.WriteCloser, error) {
	if f.form == formPEM {
		return newPEMWriter(dst, "CMS") // RFC 7468, Section 9
	}
	return nopCloser{dst}, nil
}
