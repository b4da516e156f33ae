// Package der has the small DER helpers that cryptobyte lacks: object
// identifiers as [oid.OID], AlgorithmIdentifiers, times, implicit strings and
// sorted SETs.
package der

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/oid"
)

// Context returns the tag [n], constructed or primitive.
func Context(n uint8, constructed bool) asn1.Tag {
	tag := asn1.Tag(n).ContextSpecific()
	if constructed {
		tag = tag.Constructed()
	}
	return tag
}

// ReadOID reads an OBJECT IDENTIFIER.
func ReadOID(s *cryptobyte.String, out *oid.OID) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.OBJECT_IDENTIFIER) {
		return false
	}
	var ok bool
	*out, ok = oid.FromDER(content)
	return ok
}

// AddOID appends an OBJECT IDENTIFIER. An o that is none makes b fail.
func AddOID(b *Builder, o oid.OID) {
	var room [32]byte
	content, ok := o.AppendDER(room[:0])
	if !ok {
		b.SetError(errOID(o))
		return
	}
	b.add(asn1.OBJECT_IDENTIFIER, content)
}

type errOID oid.OID

func (e errOID) Error() string { return "der: not an object identifier: " + string(e) }

// An Algorithm is an AlgorithmIdentifier (RFC 5280, Section 4.1.1.2).
type Algorithm struct {
	OID oid.OID
	// Parameters is the whole element, tag and length included; nil when absent.
	Parameters []byte
}

// null is the parameters field NULL.
var null = []byte{5, 0}

// WithNull returns the AlgorithmIdentifier of o with NULL parameters.
func WithNull(o oid.OID) Algorithm { return Algorithm{OID: o, Parameters: null} }

// NoParameters reports whether the parameters are absent or NULL.
func (a Algorithm) NoParameters() bool {
	return len(a.Parameters) == 0 || bytes.Equal(a.Parameters, null)
}

// Equal reports whether a and b have the same identifier and parameters,
// where absent and NULL parameters are the same.
func (a Algorithm) Equal(b Algorithm) bool {
	return a.OID == b.OID && (bytes.Equal(a.Parameters, b.Parameters) || a.NoParameters() && b.NoParameters())
}

// ReadAlgorithm reads an AlgorithmIdentifier.
func ReadAlgorithm(s *cryptobyte.String, out *Algorithm) bool {
	return ReadAlgorithmTagged(s, out, asn1.SEQUENCE)
}

// ReadAlgorithmTagged reads an AlgorithmIdentifier with an implicit tag.
func ReadAlgorithmTagged(s *cryptobyte.String, out *Algorithm, tag asn1.Tag) bool {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, tag) || !ReadOID(&seq, &out.OID) {
		return false
	}
	out.Parameters = nil
	if seq.Empty() {
		return true
	}
	var params cryptobyte.String
	var any asn1.Tag
	if !seq.ReadAnyASN1Element(&params, &any) || !seq.Empty() {
		return false
	}
	out.Parameters = params
	return true
}

// AddAlgorithm appends an AlgorithmIdentifier.
func AddAlgorithm(b *Builder, a Algorithm) { AddAlgorithmTagged(b, a, asn1.SEQUENCE) }

// AddAlgorithmTagged appends an AlgorithmIdentifier with an implicit tag.
func AddAlgorithmTagged(b *Builder, a Algorithm, tag asn1.Tag) {
	b.AddASN1(tag, func(b *Builder) {
		AddOID(b, a.OID)
		b.AddBytes(a.Parameters)
	})
}

// ReadOctets reads an OCTET STRING with the IMPLICIT tag [n], or the universal
// tag when n is negative. It takes the constructed form too (X.690, Section
// 8.7.3), which remains after an implicit tag even where the rest of a
// structure has been made definite.
func ReadOctets(s *cryptobyte.String, out *[]byte, n int) bool {
	prim, cons := asn1.OCTET_STRING, asn1.OCTET_STRING.Constructed()
	if n >= 0 {
		prim, cons = Context(uint8(n), false), Context(uint8(n), true)
	}
	var content cryptobyte.String
	if s.PeekASN1Tag(prim) {
		if !s.ReadASN1(&content, prim) {
			return false
		}
		*out = content
		return true
	}
	if !s.ReadASN1(&content, cons) {
		return false
	}
	joined := []byte{}
	for !content.Empty() {
		var part cryptobyte.String
		if !content.ReadASN1(&part, asn1.OCTET_STRING) {
			return false
		}
		joined = append(joined, part...)
	}
	*out = joined
	return true
}

// ReadTime reads a UTCTime or GeneralizedTime in the form that RFC 5652,
// Section 11.3 and RFC 5280, Section 4.1.2.5 ask for. It also takes the forms
// without seconds or with an offset, which old software wrote.
func ReadTime(s *cryptobyte.String, out *time.Time) bool {
	var content cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&content, &tag) {
		return false
	}
	var layouts []string
	switch tag {
	case asn1.UTCTime:
		layouts = []string{"060102150405Z", "060102150405Z0700", "0601021504Z", "0601021504Z0700"}
	case asn1.GeneralizedTime:
		layouts = []string{"20060102150405Z", "20060102150405Z0700", "200601021504Z", "200601021504Z0700"}
	default:
		return false
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, string(content))
		if err != nil {
			continue
		}
		// RFC 5280, Section 4.1.2.5.1: years 50 to 99 are of the last century.
		if tag == asn1.UTCTime && t.Year() >= 2050 {
			t = t.AddDate(-100, 0, 0)
		}
		*out = t.UTC()
		return true
	}
	return false
}

// AddTime appends t, to the second, as UTCTime through 2049 and as
// GeneralizedTime from 2050 (RFC 5652, Section 11.3).
func AddTime(b *Builder, t time.Time) {
	t = t.UTC().Truncate(time.Second)
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.addTime(asn1.UTCTime, t, "060102150405Z")
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// AddSetOf appends a SET OF with its elements in DER's order (X.690, Section
// 11.6). elems is sorted in place.
func AddSetOf(b *Builder, tag asn1.Tag, elems [][]byte) {
	slices.SortFunc(elems, bytes.Compare)
	b.AddASN1(tag, func(b *Builder) {
		for _, e := range elems {
			b.AddBytes(e)
		}
	})
}
