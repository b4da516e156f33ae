// Package ber reads and writes the Basic Encoding Rules of X.690 as a stream:
// indefinite lengths at every level, strings in segments of any size and
// nesting, lengths in any form. Nothing is allocated by a declared length, and
// depth and the size of what is held in memory are bounded.
package ber

import "fmt"

// A Tag is the class and number of an element. Whether the element is
// constructed is not part of it.
type Tag uint32

// Tags of the universal class.
const (
	EndOfContents Tag = 0
	Integer       Tag = 2
	BitString     Tag = 3
	OctetString   Tag = 4
	Null          Tag = 5
	OID           Tag = 6
	Sequence      Tag = 16
	Set           Tag = 17
)

const (
	classShift  = 29
	classMask   = 3 << classShift
	contextBits = 2 << classShift
	maxNumber   = 1<<28 - 1
)

// Context returns the context-specific tag [n].
func Context(n uint32) Tag { return contextBits | Tag(n) }

func (t Tag) class() byte    { return byte(t >> classShift) }
func (t Tag) number() uint32 { return uint32(t &^ classMask) }

// String names t as in an ASN.1 module.
func (t Tag) String() string {
	switch t {
	case EndOfContents:
		return "end-of-contents"
	case Integer:
		return "INTEGER"
	case BitString:
		return "BIT STRING"
	case OctetString:
		return "OCTET STRING"
	case Null:
		return "NULL"
	case OID:
		return "OBJECT IDENTIFIER"
	case Sequence:
		return "SEQUENCE"
	case Set:
		return "SET"
	}
	class := [...]string{"UNIVERSAL ", "APPLICATION ", "", "PRIVATE "}[t.class()&3]
	return fmt.Sprintf("[%s%d]", class, t.number())
}

// Indefinite is the length of an element that ends with end-of-contents octets.
const Indefinite int64 = -1

// A Header is the identifier and length octets of an element.
type Header struct {
	Tag         Tag
	Constructed bool
	Length      int64 // of the contents in octets, or Indefinite
	Offset      int64 // of the first identifier octet, from the start of the input
}

// A SyntaxError says that the input is not BER, or not of the shape asked for.
type SyntaxError struct {
	Offset int64 // where in the input, in octets
	Msg    string
	Err    error // io.ErrUnexpectedEOF when the input ends too early; else nil
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at octet %d", e.Msg, e.Offset) }

func (e *SyntaxError) Unwrap() error { return e.Err }

// A LimitError says that the input exceeds a limit.
type LimitError struct {
	What string
	Max  int64
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s exceeds the limit of %d", e.What, e.Max) }
