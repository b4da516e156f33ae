package cms

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// An Attribute is a type and its values (RFC 5652, Section 5.3).
//
//	Attribute ::= SEQUENCE {
//	  attrType OBJECT IDENTIFIER,
//	  attrValues SET OF AttributeValue }
type Attribute struct {
	Type   OID
	Values [][]byte // each a whole DER element
}

// Attributes is a set of attributes.
type Attributes []Attribute

// Get returns the value of the attribute of a type, when there is exactly one
// such attribute and it has exactly one value.
func (a Attributes) Get(attrType OID) (value []byte, ok bool) {
	for _, attr := range a {
		if attr.Type != attrType {
			continue
		}
		if ok || len(attr.Values) != 1 {
			return nil, false
		}
		value, ok = attr.Values[0], true
	}
	return value, ok
}

// Has reports whether there is an attribute of a type, of whatever values.
func (a Attributes) Has(attrType OID) bool {
	return slices.ContainsFunc(a, func(attr Attribute) bool { return attr.Type == attrType })
}

// doubled returns the first type that occurs twice. RFC 5652, Section 5.3: a
// set of signed attributes MUST NOT include multiple instances of the types
// that are defined there; no type's definition allows it.
func (a Attributes) doubled() (OID, bool) {
	if len(a) <= 16 {
		for i, attr := range a {
			if a[:i].Has(attr.Type) {
				return attr.Type, true
			}
		}
		return "", false
	}
	seen := make(map[OID]bool, len(a))
	for _, attr := range a {
		if seen[attr.Type] {
			return attr.Type, true
		}
		seen[attr.Type] = true
	}
	return "", false
}

// parseAttributes reads the contents of a SET OF Attribute.
func parseAttributes(contents []byte, limits *Limits) (Attributes, error) {
	s := cryptobyte.String(contents)
	var out Attributes
	for !s.Empty() {
		if len(out) == limits.Attributes {
			return nil, &LimitError{Limit: "number of attributes", Max: int64(limits.Attributes)}
		}
		var seq, set cryptobyte.String
		var attr Attribute
		if !s.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadOID(&seq, &attr.Type) || !seq.ReadASN1(&set, asn1.SET) || !seq.Empty() {
			return nil, malformed("Attribute")
		}
		for !set.Empty() {
			var value cryptobyte.String
			var tag asn1.Tag
			if len(attr.Values) == limits.Attributes {
				return nil, &LimitError{Limit: "number of attribute values", Max: int64(limits.Attributes)}
			}
			if !set.ReadAnyASN1Element(&value, &tag) {
				return nil, malformed("AttributeValue")
			}
			attr.Values = append(attr.Values, value)
		}
		out = append(out, attr)
	}
	return out, nil
}

// encode returns the DER of the attributes as the contents of a SET OF, sorted
// (RFC 5652, Section 5.4: signedAttrs MUST be DER).
func (a Attributes) encode() ([]byte, error) {
	set, err := der.Marshal(func(b *der.Builder) {
		b.AddSetOfFunc(asn1.SET, len(a), func(b *der.Builder, i int) { a[i].add(b) })
	})
	if err != nil {
		return nil, usage("attributes: %v", err)
	}
	return setContents(set), nil
}

// add appends an Attribute.
func (a *Attribute) add(b *der.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
		der.AddOID(b, a.Type)
		b.AddSetOfFunc(asn1.SET, len(a.Values), func(b *der.Builder, i int) { b.AddBytes(a.Values[i]) })
	})
}

// setContents returns the contents octets of a SET in DER that is known to be one.
func setContents(set []byte) []byte {
	s := cryptobyte.String(set)
	var contents cryptobyte.String
	_ = s.ReadASN1(&contents, asn1.SET)
	return contents
}

// sortSet returns the contents of a SET OF with its elements in DER's order.
func sortSet(contents []byte) ([]byte, bool) {
	s := cryptobyte.String(contents)
	var elems [][]byte
	for !s.Empty() {
		var e cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&e, &tag) {
			return nil, false
		}
		elems = append(elems, e)
	}
	slices.SortFunc(elems, bytes.Compare)
	return bytes.Join(elems, nil), true
}

// retag returns a whole element with the given tag around contents.
func retag(tag asn1.Tag, contents []byte) ([]byte, error) {
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(tag, func(b *der.Builder) { b.AddBytes(contents) })
	})
}

// newAttribute returns an attribute with one value.
func newAttribute(attrType OID, build func(b *der.Builder)) (Attribute, error) {
	value, err := der.Marshal(build)
	return Attribute{Type: attrType, Values: [][]byte{value}}, err
}

// SigningTime returns the signing time attribute, which is the signer's word
// alone (RFC 5652, Section 11.3). It is zero when there is none.
func (a Attributes) SigningTime() time.Time {
	value, ok := a.Get(oid.AttrSigningTime)
	var t time.Time
	s := cryptobyte.String(value)
	if !ok || !der.ReadTime(&s, &t) || !s.Empty() {
		return time.Time{}
	}
	return t
}
