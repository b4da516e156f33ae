package tls

import (
	"encoding/xml"
	"errors"
	"io"
)

// Namespaces of RFC 6120, Appendix C and Section 4.8.
const (
	nsStream    = "http://etherx.jabber.org/streams"
	nsClient    = "jabber:client"
	nsStartTLS  = "urn:ietf:params:xml:ns:xmpp-tls"
	maxXMLDepth = 16
)

// xmpp is the dialogue of RFC 6120, Section 5.4.
func (c *client) xmpp(w *wire) error {
	w.step = stepGreeting
	err := w.write("<?xml version='1.0'?><stream:stream to='" + c.Domain + "' version='1.0' xml:lang='en' xmlns='" +
		nsClient + "' xmlns:stream='" + nsStream + "'>")
	if err != nil {
		return err
	}
	x := &xmlStream{wire: w, decoder: xml.NewDecoder(w)}
	if err = x.header(); err != nil {
		return err
	}
	w.step = stepCapabilities
	offered, err := x.features()
	if err != nil {
		return err
	}
	if !offered {
		return &NotOfferedError{Protocol: c.Protocol}
	}
	if err = w.send(stepStartTLS, "<starttls xmlns='"+nsStartTLS+"'/>"); err != nil {
		return err
	}
	start, err := x.start()
	if err != nil {
		return err
	}
	switch start.Name {
	case xml.Name{Space: nsStartTLS, Local: "proceed"}:
		return x.skip(nil)
	case xml.Name{Space: nsStartTLS, Local: "failure"}:
		// RFC 6120, Section 5.4.2.2: the server closes the stream.
		return w.fail(ErrRefused, []byte(start.Name.Local))
	}
	return w.fail(ErrSyntax, []byte(start.Name.Local))
}

// An xmlStream reads the XML of a server, and nothing ahead of what it needs.
type xmlStream struct {
	*wire
	decoder *xml.Decoder
	begun   bool // something came before
}

// token returns the next token. RFC 6120, Section 11.1, forbids comments,
// processing instructions, document types and entity references; the decoder
// itself knows none but the predefined entities.
func (x *xmlStream) token() (xml.Token, error) {
	t, err := x.decoder.Token()
	if err != nil {
		var syntax *xml.SyntaxError
		switch {
		case x.err != nil:
			err = x.err // of the connection
		case errors.As(err, &syntax), errors.Is(err, io.EOF):
			err = ErrSyntax
		default:
			err = errors.Join(ErrSyntax, err)
		}
		return nil, x.fail(err, nil)
	}
	switch t := t.(type) {
	case xml.Comment, xml.Directive:
		return nil, x.fail(ErrSyntax, nil)
	case xml.ProcInst:
		if x.begun || t.Target != "xml" {
			return nil, x.fail(ErrSyntax, nil)
		}
	}
	x.begun = true
	return t, nil
}

// start returns the next start tag, past white space.
func (x *xmlStream) start() (xml.StartElement, error) {
	for {
		t, err := x.token()
		if err != nil {
			return xml.StartElement{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if t.Name == (xml.Name{Space: nsStream, Local: "error"}) {
				return t, x.fail(ErrRefused, []byte(t.Name.Local)) // RFC 6120, Section 4.9
			}
			return t, nil
		case xml.CharData:
			if !blank(t) {
				return xml.StartElement{}, x.fail(ErrSyntax, t)
			}
		case xml.EndElement:
			return xml.StartElement{}, x.fail(ErrRefused, nil) // the stream's end
		}
	}
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// header reads the server's stream header (RFC 6120, Section 4.7).
func (x *xmlStream) header() error {
	start, err := x.start()
	if err != nil {
		return err
	}
	if start.Name != (xml.Name{Space: nsStream, Local: "stream"}) {
		return x.fail(ErrSyntax, []byte(start.Name.Local))
	}
	return nil
}

// features reads the stream features and reports whether STARTTLS is one.
func (x *xmlStream) features() (offered bool, err error) {
	start, err := x.start()
	if err != nil {
		return false, err
	}
	if start.Name != (xml.Name{Space: nsStream, Local: "features"}) {
		return false, x.fail(ErrSyntax, []byte(start.Name.Local))
	}
	err = x.skip(func(child xml.Name) {
		offered = offered || child == xml.Name{Space: nsStartTLS, Local: "starttls"}
	})
	return offered, err
}

// skip reads to the end of the element that has been begun, and calls child for
// the elements right below it.
func (x *xmlStream) skip(child func(xml.Name)) error {
	for depth := 1; depth > 0; {
		t, err := x.token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 1 && child != nil {
				child(t.Name)
			}
			if depth++; depth > maxXMLDepth {
				return x.fail(ErrTooLong, nil)
			}
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

// Read is there because a decoder asks for a reader; it uses ReadByte alone.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := w.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}
