package pkcs11

import (
	"strconv"
	"strings"
)

// A Library is what a module says of itself (CK_INFO).
type Library struct {
	Manufacturer string
	Description  string
	Version      Version
}

// A Version is that of a library.
type Version struct{ Major, Minor byte }

// A Slot is a place for a token (CK_SLOT_INFO).
type Slot struct {
	ID           uint64
	Description  string
	Manufacturer string
}

// A TokenInfo tells one token from others.
type TokenInfo struct {
	Library Library
	Slot    Slot

	Label        string
	Manufacturer string
	Model        string
	Serial       string

	// LoginRequired says that the private keys are seen after a login only,
	// and PINPad that the PIN is entered at the token itself.
	LoginRequired, PINPad bool
	// Locked says that the PIN is locked; LastTry that it will be with the next
	// wrong PIN. Tokens may not tell.
	Locked, LastTry bool
}

// URI returns the URI of the token: its label, serial number, manufacturer and
// model, which stay when it is put into another slot.
func (t *TokenInfo) URI() *URI {
	u := new(URI)
	for _, a := range []attribute{{AttrManufacturer, t.Manufacturer}, {AttrModel, t.Model}, {AttrSerial, t.Serial}, {AttrToken, t.Label}} {
		if a.value != "" {
			u.path = append(u.path, a)
		}
	}
	return u
}

// MatchToken reports whether the URI can be of t: every attribute of tokens,
// slots and libraries that it has is that of t. Attributes that it does not
// have match everything (RFC 7512, Section 2.5); one that is not known to
// RFC 7512 matches nothing.
func (u *URI) MatchToken(t *TokenInfo) bool {
	for _, a := range u.path {
		var ok bool
		switch a.name {
		case AttrToken:
			ok = a.value == t.Label
		case AttrManufacturer:
			ok = a.value == t.Manufacturer
		case AttrModel:
			ok = a.value == t.Model
		case AttrSerial:
			ok = a.value == t.Serial
		case AttrLibraryManufacturer:
			ok = a.value == t.Library.Manufacturer
		case AttrLibraryDescription:
			ok = a.value == t.Library.Description
		case AttrLibraryVersion:
			version, _ := parseVersion(a.value)
			ok = version == t.Library.Version
		case AttrSlotDescription:
			ok = a.value == t.Slot.Description
		case AttrSlotManufacturer:
			ok = a.value == t.Slot.Manufacturer
		case AttrSlotID:
			id, _ := decimal(a.value, 64)
			ok = id == t.Slot.ID
		case AttrObject, AttrID, AttrType:
			ok = true
		}
		if !ok {
			return false
		}
	}
	return true
}

// Classes of objects, as the attribute type has them.
const (
	typeCert    = "cert"
	typePrivate = "private"
)

// MatchObject reports whether the URI can be of an object with a label
// (CKA_LABEL), an identifier (CKA_ID) and a type: "cert", "data", "private",
// "public" or "secret-key". What it says of the token is not looked at.
func (u *URI) MatchObject(kind, label string, id []byte) bool {
	return u.matchType(kind) && u.matchName(label, id)
}

func (u *URI) matchType(kind string) bool {
	want, ok := u.Attribute(AttrType)
	return !ok || want == kind
}

func (u *URI) matchName(label string, id []byte) bool {
	wantLabel, hasLabel := u.Attribute(AttrObject)
	wantID, hasID := u.Attribute(AttrID)
	return (!hasLabel || wantLabel == label) && (!hasID || wantID == string(id))
}

// parseVersion reads a library-version: RFC 7512, Section 2.3, "M" MUST be
// taken as "M.0", and both numbers are of one octet.
func parseVersion(text string) (Version, bool) {
	major, rest, dotted := strings.Cut(text, ".")
	m, ok := decimal(major, 8)
	if !ok {
		return Version{}, false
	}
	if !dotted {
		return Version{Major: byte(m)}, true
	}
	n, ok := decimal(rest, 8)
	return Version{byte(m), byte(n)}, ok
}

// decimal reads a number of digits alone.
func decimal(text string, bits int) (uint64, bool) {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return n, err == nil
}
