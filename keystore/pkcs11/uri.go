package pkcs11

import (
	"slices"
	"strings"
)

// maxURI bounds a URI, in octets.
const maxURI = 8192

// A URI is a parsed "pkcs11:" URI (RFC 7512). It is never changed, and can be
// used by several goroutines. The text forms of it leave the PIN out.
type URI struct {
	path  []attribute // in the order in which they came, known ones and others
	query []attribute
}

type attribute struct{ name, value string }

// Names of the attributes in the path of a URI (RFC 7512, Section 2.3).
const (
	AttrToken               = "token"
	AttrManufacturer        = "manufacturer"
	AttrSerial              = "serial"
	AttrModel               = "model"
	AttrLibraryManufacturer = "library-manufacturer"
	AttrLibraryVersion      = "library-version"
	AttrLibraryDescription  = "library-description"
	AttrObject              = "object"
	AttrType                = "type"
	AttrID                  = "id"
	AttrSlotDescription     = "slot-description"
	AttrSlotManufacturer    = "slot-manufacturer"
	AttrSlotID              = "slot-id"
)

// Names of the attributes in the query of a URI (RFC 7512, Section 2.3).
const (
	QueryPINSource  = "pin-source"
	QueryPINValue   = "pin-value"
	QueryModuleName = "module-name"
	QueryModulePath = "module-path"
)

const scheme = "pkcs11:"

// pathNames and queryNames are the attributes of RFC 7512, in the order in
// which String has them.
var (
	pathNames = []string{AttrLibraryManufacturer, AttrLibraryVersion, AttrLibraryDescription, AttrSlotManufacturer,
		AttrSlotDescription, AttrSlotID, AttrManufacturer, AttrModel, AttrSerial, AttrToken, AttrType, AttrID, AttrObject}
	queryNames = []string{QueryModuleName, QueryModulePath, QueryPINSource, QueryPINValue}
)

// Is reports whether text begins like a PKCS #11 URI, and is therefore not the
// name of a file.
func Is(text string) bool {
	return len(text) >= len(scheme) && strings.EqualFold(text[:len(scheme)], scheme)
}

// ParseURI parses a URI of at most 8,192 octets. The error is a
// [*SyntaxError].
//
// A path attribute may come once only. So may one of those in the query that
// RFC 7512 defines, and pin-source and pin-value exclude each other.
func ParseURI(text string) (*URI, error) {
	switch {
	case !Is(text):
		return nil, &SyntaxError{0, "scheme"}
	case len(text) > maxURI:
		return nil, &SyntaxError{maxURI, "length"}
	}
	u := new(URI)
	path, query, hasQuery := strings.Cut(text[len(scheme):], "?")
	var err error
	if u.path, err = parseAttributes(path, len(scheme), ";", pathReserved); err != nil {
		return nil, err
	}
	at := len(scheme) + len(path) + 1
	if hasQuery {
		if u.query, err = parseAttributes(query, at, "&", queryReserved); err != nil {
			return nil, err
		}
	}
	if err = u.checkPath(); err != nil {
		return nil, err
	}
	if err = u.checkQuery(at); err != nil {
		return nil, err
	}
	return u, nil
}

// What may stand in values beside letters, digits and "-._~" (RFC 7512, Section
// 2.3: pk11-path-res-avail and pk11-query-res-avail).
const (
	pathReserved  = ":[]@!$'()*+,=&"
	queryReserved = ":[]@!$'()*+,=/?|"
)

func parseAttributes(text string, at int, separator, reserved string) ([]attribute, error) {
	if text == "" {
		return nil, nil
	}
	var attrs []attribute
	for part := range strings.SplitSeq(text, separator) {
		name, value, ok := strings.Cut(part, "=")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isNameChar(r) }) {
			return nil, &SyntaxError{at, "attribute"}
		}
		decoded, bad := unescape(value, reserved)
		if bad >= 0 {
			return nil, &SyntaxError{at + len(name) + 1 + bad, "character"}
		}
		attrs = append(attrs, attribute{name, decoded})
		at += len(part) + len(separator)
	}
	return attrs, nil
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// isNameChar is pk11-v-attr-nm-char.
func isNameChar(r rune) bool { return isAlnum(r) || r == '-' || r == '_' }

// unescape decodes a value. If it is malformed, bad is where, and else -1.
func unescape(text, reserved string) (value string, bad int) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '%':
			if i+2 >= len(text) {
				return "", i
			}
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high < 0 || low < 0 {
				return "", i
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		case isUnreserved(c) || strings.IndexByte(reserved, c) >= 0:
			b.WriteByte(c)
		default:
			return "", i
		}
	}
	return b.String(), -1
}

// isUnreserved is RFC 3986, Section 2.3.
func isUnreserved(c byte) bool { return isAlnum(rune(c)) || strings.IndexByte("-._~", c) >= 0 }

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// escape encodes a value; plain lets the unreserved characters stay.
func escape(b *strings.Builder, value string, plain bool, reserved string) {
	const digits = "0123456789ABCDEF"
	for i := range len(value) {
		if c := value[i]; plain && isUnreserved(c) || strings.IndexByte(reserved, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

// checkPath checks what RFC 7512, Section 2.3, demands of single attributes.
func (u *URI) checkPath() error {
	seen := make(map[string]bool, len(u.path))
	for _, a := range u.path {
		// RFC 7512, Section 2.3: a URI MUST NOT contain duplicate attributes of
		// the same name in its path.
		if seen[a.name] {
			return &SyntaxError{len(scheme), "attribute that is there twice"}
		}
		seen[a.name] = true
		ok := true
		switch a.name {
		case AttrType:
			ok = slices.Contains([]string{typeCert, typePrivate, "data", "public", "secret-key"}, a.value)
		case AttrSlotID:
			_, ok = decimal(a.value, 64)
		case AttrLibraryVersion:
			_, ok = parseVersion(a.value)
		}
		if !ok {
			return &SyntaxError{len(scheme), "value of " + a.name}
		}
	}
	return nil
}

func (u *URI) checkQuery(at int) error {
	seen := make(map[string]bool, len(u.query))
	for _, a := range u.query {
		if seen[a.name] && slices.Contains(queryNames, a.name) {
			return &SyntaxError{at, "attribute that is there twice"}
		}
		seen[a.name] = true
	}
	// RFC 7512, Section 2.4: a URI with both SHOULD be refused.
	if seen[QueryPINSource] && seen[QueryPINValue] {
		return &SyntaxError{at, "pin-source and pin-value together"}
	}
	return nil
}

// Attribute returns the value of an attribute in the path, decoded, and whether
// it is there. One that is there and empty differs from one that is not.
func (u *URI) Attribute(name string) (value string, ok bool) { return find(u.path, name) }

// Query returns the value of an attribute in the query, decoded, the first of
// that name. It is the one way to the PIN in a URI.
func (u *URI) Query(name string) (value string, ok bool) { return find(u.query, name) }

func find(attrs []attribute, name string) (string, bool) {
	for _, a := range attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// String returns the URI with its known attributes in a fixed order, the
// others after them, and all that needs it encoded. It has no pin-value: where
// there was one, the text is not the whole URI. An id is encoded as a whole, so
// that the text can be longer than what was parsed, and than [ParseURI] takes.
func (u *URI) String() string {
	return textOf(ordered(u.path, pathNames), ordered(u.query, queryNames))
}

// GoString is String, so that no form of package fmt shows the PIN.
func (u *URI) GoString() string { return u.String() }

// Name returns the URI without its query, to be shown to people: it says what
// is named and not how to get at it. Its attributes are in the order in which
// they came, so that who wrote the URI knows it again.
func (u *URI) Name() string { return textOf(u.path, nil) }

func textOf(path, query []attribute) string {
	var b strings.Builder
	b.WriteString(scheme)
	separator := ""
	for _, a := range path {
		b.WriteString(separator)
		b.WriteString(a.name + "=")
		if a.name == AttrID {
			// RFC 7512, Section 2.3: the whole value of id SHOULD be encoded.
			escape(&b, a.value, false, "")
		} else {
			escape(&b, a.value, true, pathReserved)
		}
		separator = ";"
	}
	separator = "?"
	for _, a := range query {
		if a.name == QueryPINValue {
			continue
		}
		b.WriteString(separator)
		b.WriteString(a.name + "=")
		escape(&b, a.value, true, queryReserved)
		separator = "&"
	}
	return b.String()
}

// ordered returns attributes with those of the names first, in their order.
func ordered(attrs []attribute, names []string) []attribute {
	out := make([]attribute, 0, len(attrs))
	for _, name := range names {
		if value, ok := find(attrs, name); ok {
			out = append(out, attribute{name, value})
		}
	}
	for _, a := range attrs {
		if !slices.Contains(names, a.name) {
			out = append(out, a)
		}
	}
	return out
}
