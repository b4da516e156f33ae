package dane

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Usage is a certificate usage (RFC 6698, Section 2.1.1).
type Usage uint8

// The usages, by their acronyms (RFC 7218, Section 2.1).
const (
	PKIXTA    Usage = 0   // a CA that must be in a path that is valid without DANE, too
	PKIXEE    Usage = 1   // a certificate that must be valid without DANE, too
	DANETA    Usage = 2   // a trust anchor
	DANEEE    Usage = 3   // the certificate itself; nothing else vouches for it
	PrivUsage Usage = 255 // for private use
)

// String returns the acronym, such as "DANE-EE", or the number.
func (u Usage) String() string {
	switch u {
	case PKIXTA:
		return "PKIX-TA"
	case PKIXEE:
		return "PKIX-EE"
	case DANETA:
		return "DANE-TA"
	case DANEEE:
		return "DANE-EE"
	case PrivUsage:
		return "PrivCert"
	}
	return strconv.Itoa(int(u))
}

// A Selector says which part of a certificate is matched (RFC 6698, Section 2.1.2).
type Selector uint8

// The selectors (RFC 7218, Section 2.2).
const (
	FullCert     Selector = 0   // the whole certificate
	SPKI         Selector = 1   // its SubjectPublicKeyInfo
	PrivSelector Selector = 255 // for private use
)

// String returns the acronym, "Cert" or "SPKI", or the number.
func (s Selector) String() string {
	switch s {
	case FullCert:
		return "Cert"
	case SPKI:
		return "SPKI"
	case PrivSelector:
		return "PrivSel"
	}
	return strconv.Itoa(int(s))
}

// A MatchingType says what of the selected part is in the record (RFC 6698,
// Section 2.1.3).
type MatchingType uint8

// The matching types (RFC 7218, Section 2.3).
const (
	Full         MatchingType = 0   // all of it
	SHA256       MatchingType = 1   // its SHA-256 hash
	SHA512       MatchingType = 2   // its SHA-512 hash
	PrivMatching MatchingType = 255 // for private use
)

// String returns the acronym, such as "SHA2-256", or the number.
func (m MatchingType) String() string {
	switch m {
	case Full:
		return "Full"
	case SHA256:
		return "SHA2-256"
	case SHA512:
		return "SHA2-512"
	case PrivMatching:
		return "PrivMatch"
	}
	return strconv.Itoa(int(m))
}

// A Record is what a TLSA or SMIMEA record says; both have the same form (RFC
// 6698, Section 2.1; RFC 8162, Section 2).
type Record struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
	// Data is the "certificate association data".
	Data []byte
}

// maxData is the most that the data of a record can have, in octets: RDLENGTH
// has 16 bits.
const maxData = 1<<16 - 1 - 3

// ErrSyntax says that octets or text are not a TLSA or SMIMEA record.
var ErrSyntax = errors.New("not a TLSA or SMIMEA record")

// ParseRecord reads RDATA (RFC 6698, Section 2.1). The record has a copy of the
// data. The only error is [ErrSyntax]; unknown numbers and empty data are none, and
// make the record unusable.
func ParseRecord(rdata []byte) (Record, error) {
	if len(rdata) < 3 || len(rdata) > maxData+3 {
		return Record{}, ErrSyntax
	}
	return Record{Usage: Usage(rdata[0]), Selector: Selector(rdata[1]), MatchingType: MatchingType(rdata[2]),
		Data: slices.Clone(rdata[3:])}, nil
}

// RData returns r as RDATA, or [ErrSyntax] if the data has more than 65,532
// octets.
func (r Record) RData() ([]byte, error) {
	if len(r.Data) > maxData {
		return nil, ErrSyntax
	}
	return append([]byte{byte(r.Usage), byte(r.Selector), byte(r.MatchingType)}, r.Data...), nil
}

// String returns the presentation form, such as "3 1 1 0a1b…", with all of the
// data (RFC 6698, Section 2.2).
func (r Record) String() string {
	return fmt.Sprintf("%d %d %d %s", uint8(r.Usage), uint8(r.Selector), uint8(r.MatchingType), hex.EncodeToString(r.Data))
}

// Short is String with at most 32 octets of the data, for people; "…" stands for
// the rest.
func (r Record) Short() string {
	const most = 32
	if len(r.Data) <= most {
		return r.String()
	}
	r.Data = r.Data[:most]
	return r.String() + "…"
}

// ParseText reads the presentation form (RFC 6698, Section 2.2): three numbers or
// acronyms of RFC 7218 in any case, and hexadecimal digits, which may have white
// space and, around all, parentheses. The only error is [ErrSyntax].
func ParseText(s string) (Record, error) {
	if len(s) > 4*maxData {
		return Record{}, ErrSyntax
	}
	fields := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(s))
	if len(fields) < 4 {
		return Record{}, ErrSyntax
	}
	var numbers [3]uint8
	for i, names := range [...]map[string]uint8{usageNames, selectorNames, matchingNames} {
		n, ok := number(fields[i], names)
		if !ok {
			return Record{}, ErrSyntax
		}
		numbers[i] = n
	}
	data, err := hex.DecodeString(strings.Join(fields[3:], ""))
	if err != nil || len(data) == 0 || len(data) > maxData {
		return Record{}, ErrSyntax
	}
	return Record{Usage: Usage(numbers[0]), Selector: Selector(numbers[1]), MatchingType: MatchingType(numbers[2]), Data: data}, nil
}

// The acronyms of RFC 7218 in lower case.
var (
	usageNames    = map[string]uint8{"pkix-ta": 0, "pkix-ee": 1, "dane-ta": 2, "dane-ee": 3, "privcert": 255}
	selectorNames = map[string]uint8{"cert": 0, "spki": 1, "privsel": 255}
	matchingNames = map[string]uint8{"full": 0, "sha2-256": 1, "sha2-512": 2, "privmatch": 255}
)

func number(s string, names map[string]uint8) (uint8, bool) {
	if n, ok := names[strings.ToLower(s)]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil
}
