package cms

import (
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
)

// A Reader reads one message from a stream of DER or BER. After NewReader, call
// the method that fits [Reader.ContentType]; each message can be read once. A
// Reader is not safe for concurrent use. It needs no Close; what its methods
// return does.
type Reader struct {
	r           *ber.Reader
	limits      Limits
	budget      budget
	contentType OID
	opened      bool
	envelope    *envelope // once Recipients or Decrypt has read it
	envelopeErr error     // or why it could not
}

// NewReader reads the start of a ContentInfo (RFC 5652, Section 3) from src,
// which it buffers: it may read more than the message. Nil limits are the
// defaults. Input that is no ContentInfo is a SyntaxError.
//
//	ContentInfo ::= SEQUENCE {
//	  contentType ContentType,
//	  content [0] EXPLICIT ANY DEFINED BY contentType }
func NewReader(src io.Reader, limits *Limits) (*Reader, error) {
	r := &Reader{limits: limits.withDefaults()}
	r.budget = budget{limits: &r.limits, left: r.limits.Total}
	r.r = ber.NewReader(src, r.limits.Depth)
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "ContentInfo")
	}
	var err error
	if r.contentType, err = r.readOID("contentType"); err != nil {
		return nil, err
	}
	if err = r.r.Enter(ber.Context(0)); err != nil {
		return nil, wire(err, "content of ContentInfo")
	}
	return r, nil
}

// ContentType returns the type of the message.
func (r *Reader) ContentType() OID { return r.contentType }

// open checks that the message is of one of the given types and marks it as
// read.
func (r *Reader) open(method string, types ...OID) error {
	if !slices.Contains(types, r.contentType) {
		return &UnsupportedError{What: method + " of a message of type", OID: r.contentType}
	}
	if r.opened {
		return usage("%s: the message has been read already", method)
	}
	r.opened = true
	return nil
}

// close reads the ends of the ContentInfo. What follows it is left alone: mail
// gateways add line ends.
func (r *Reader) close() error {
	if err := r.r.Leave(); err != nil {
		return wire(err, "ContentInfo")
	}
	return wire(r.r.Leave(), "ContentInfo")
}

func (r *Reader) readOID(field string) (OID, error) {
	raw, err := r.budget.der(r.r, field)
	if err != nil {
		return "", err
	}
	var o OID
	s := cryptobyte.String(raw)
	if !der.ReadOID(&s, &o) {
		return "", &SyntaxError{Offset: r.r.Offset(), Field: field}
	}
	return o, nil
}

func (r *Reader) readAlgorithm(field string) (AlgorithmIdentifier, error) {
	var a AlgorithmIdentifier
	raw, err := r.budget.der(r.r, field)
	if err != nil {
		return a, err
	}
	s := cryptobyte.String(raw)
	if !der.ReadAlgorithm(&s, &a) {
		return a, &SyntaxError{Offset: r.r.Offset(), Field: field}
	}
	return a, nil
}

// readVersion passes over a CMSVersion. It says nothing that the rest of a
// message does not, and is often wrong.
func (r *Reader) readVersion() error {
	if _, err := r.r.Expect(ber.Integer); err != nil {
		return wire(err, "version")
	}
	_, err := r.budget.raw(r.r, "version")
	return err
}

// peekTag returns the tag of the next element; ok is false at the end of the
// element that is open.
func (r *Reader) peekTag(field string) (tag ber.Tag, ok bool, err error) {
	h, err := r.r.Peek()
	if err == io.EOF {
		return 0, false, nil
	}
	return h.Tag, err == nil, wire(err, field)
}

// Data returns the content of a message of type TypeData, which is neither
// signed nor encrypted. Read returns io.EOF only when the message is complete;
// Close drains it and returns the first error.
func (r *Reader) Data() (io.ReadCloser, error) {
	if err := r.open("Data", TypeData); err != nil {
		return nil, err
	}
	octets, err := r.r.Octets(ber.OctetString)
	if err != nil {
		return nil, wire(err, "Data")
	}
	return &contentReader{src: octets, field: "Data", finish: r.close}, nil
}

// encap is an EncapsulatedContentInfo (RFC 5652, Section 5.2) that has been
// opened.
type encap struct {
	contentType OID
	content     io.Reader // nil when the content is detached
}

// readEncap opens an EncapsulatedContentInfo. When the content has been read,
// closeEncap follows.
//
//	EncapsulatedContentInfo ::= SEQUENCE {
//	  eContentType ContentType,
//	  eContent [0] EXPLICIT OCTET STRING OPTIONAL }
func (r *Reader) readEncap() (encap, error) {
	const field = "encapContentInfo"
	var e encap
	if err := r.r.Enter(ber.Sequence); err != nil {
		return e, wire(err, field)
	}
	var err error
	if e.contentType, err = r.readOID("eContentType"); err != nil {
		return e, err
	}
	_, more, err := r.peekTag(field)
	if err != nil || !more {
		return e, err
	}
	if err = r.r.Enter(ber.Context(0)); err != nil {
		return e, wire(err, field)
	}
	tag, more, err := r.peekTag("eContent")
	if err != nil {
		return e, err
	}
	if more && tag != ber.OctetString {
		e.content, err = r.readForeign()
		return e, err
	}
	e.content, err = r.r.Octets(ber.OctetString)
	return e, wire(err, "eContent")
}

// readForeign returns the contents octets of an eContent that is no OCTET
// STRING, as PKCS #7 permits it (RFC 5652, Section 5.2.1).
func (r *Reader) readForeign() (io.Reader, error) {
	raw, err := r.budget.der(r.r, "eContent")
	if err != nil {
		return nil, err
	}
	return contentsOf(raw)
}

func (r *Reader) closeEncap(e encap) error {
	if e.content != nil {
		if err := r.r.Leave(); err != nil {
			return wire(err, "eContent")
		}
	}
	return wire(r.r.Leave(), "encapContentInfo")
}
