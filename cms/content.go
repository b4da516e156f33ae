package cms

import (
	"bytes"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A contentReader is the common part of everything that releases content: the
// verdict comes with the end of the content, and cannot be missed. The first
// error stays.
type contentReader struct {
	src    io.Reader
	field  string          // for errors of the encoding
	sink   func([]byte)    // sees all content; may be nil
	finish func() error    // reads what follows the content and gives the verdict
	cancel func()          // frees what src holds; may be nil; called once
	onEnd  func(err error) // told the verdict once; may be nil
	err    error
}

// Read implements io.Reader. The error is io.EOF only if the verdict is good.
func (c *contentReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.src.Read(p)
	if n > 0 && c.sink != nil {
		c.sink(p[:n])
	}
	switch {
	case err == io.EOF:
		if err = c.finish(); err == nil {
			err = io.EOF
		}
		c.end(err)
	case err != nil:
		c.end(wire(err, c.field))
	}
	if n > 0 {
		return n, nil // the error stays for the next call
	}
	return 0, c.err
}

func (c *contentReader) end(err error) {
	c.err = err
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
	if c.onEnd != nil {
		c.onEnd(err)
		c.onEnd = nil
	}
}

// Close reads the rest of the content and returns the verdict: nil, or the
// first error. It may be called any number of times.
func (c *contentReader) Close() error {
	if c.err == nil {
		var first [64]byte      // most often all has been read
		_, _ = c.Read(first[:]) // the error is kept
	}
	if c.err == nil {
		buf := make([]byte, 16<<10)
		for c.err == nil {
			_, _ = c.Read(buf) // the error is kept
		}
	}
	if c.err == io.EOF {
		return nil
	}
	return c.err
}

// contentsOf returns the contents octets of a DER element.
func contentsOf(element []byte) (io.Reader, error) {
	s := cryptobyte.String(element)
	var contents cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&contents, &tag) || !s.Empty() {
		return nil, malformed("content")
	}
	return bytes.NewReader(contents), nil
}
