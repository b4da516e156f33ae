package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"

	"github.com/postseal/postseal/pki"
)

// Unusable says, for a program, why a record is passed over.
type Unusable int

// The reasons.
const (
	UnknownUsage    Unusable = iota + 1 // a usage that this package does not know
	UnknownSelector                     // a selector that it does not know
	UnknownMatching                     // a matching type that it does not know
	BadData                             // data that cannot be what the numbers say
)

// An UnusableError says why a record is passed over (RFC 6698, Section 4.1).
type UnusableError struct {
	Reason Unusable
	Record Record
}

// Error returns the rest of a sentence that begins with "the record".
func (e *UnusableError) Error() string {
	r := &e.Record
	switch e.Reason {
	case UnknownUsage:
		return fmt.Sprintf("has the unknown certificate usage %d", uint8(r.Usage))
	case UnknownSelector:
		return fmt.Sprintf("has the unknown selector %d", uint8(r.Selector))
	case UnknownMatching:
		return fmt.Sprintf("has the unknown matching type %d", uint8(r.MatchingType))
	}
	return fmt.Sprintf("has data that is no %v of a certificate (%v)", r.MatchingType, r.Selector)
}

// Check returns nil if r can be used, and else an [*UnusableError]. Whether a
// protocol takes its usage is another question; see [Usable].
func (r Record) Check() error {
	reason := Unusable(0)
	switch {
	case r.Usage > DANEEE:
		reason = UnknownUsage
	case r.Selector > SPKI:
		reason = UnknownSelector
	case r.MatchingType > SHA512:
		reason = UnknownMatching
	case !r.dataFits():
		reason = BadData
	default:
		return nil
	}
	return &UnusableError{Reason: reason, Record: r}
}

func (r Record) dataFits() bool {
	switch {
	case r.MatchingType == SHA256:
		return len(r.Data) == sha256.Size
	case r.MatchingType == SHA512:
		return len(r.Data) == sha512.Size
	case r.Selector == FullCert:
		_, err := pki.ParseCertificate(r.Data)
		return err == nil
	}
	// What is in a key only matters to who uses it. It is a SEQUENCE at least.
	return len(r.Data) > 2 && r.Data[0] == 0x30
}

// Usable returns the records that can be used and have one of the usages, or any
// known usage if none are given. RFC 7672, Section 3.1 and RFC 7673, Section 4
// decide which usages a protocol takes: SMTP takes DANE-TA and DANE-EE alone.
func Usable(records []Record, usages ...Usage) []Record {
	var out []Record
	for _, r := range records {
		if r.Check() == nil && (len(usages) == 0 || slices.Contains(usages, r.Usage)) {
			out = append(out, r)
		}
	}
	return out
}

// Strongest returns the records without those whose hash is weaker than another
// one of the same usage and selector (RFC 7671, Section 9: digest agility).
// Records with the full data always stay. Unusable records are left out first,
// for they must not displace others.
func Strongest(records []Record) []Record {
	usable := Usable(records)
	type kind struct {
		usage    Usage
		selector Selector
	}
	strong := map[kind]bool{}
	for _, r := range usable {
		if r.MatchingType == SHA512 {
			strong[kind{r.Usage, r.Selector}] = true
		}
	}
	return slices.DeleteFunc(usable, func(r Record) bool { return r.MatchingType == SHA256 && strong[kind{r.Usage, r.Selector}] })
}

// Matches reports whether r, by its selector and matching type, is for c. The
// usage is not looked at: it says what follows from a match. An unusable record
// matches nothing.
func (r Record) Matches(c *pki.Certificate) bool {
	if c == nil || r.Check() != nil {
		return false
	}
	want, ok := associate(c, r.Selector, r.MatchingType)
	return ok && bytes.Equal(want, r.Data)
}

// New returns the record for a certificate. Unknown numbers are an
// [*UnusableError].
func New(c *pki.Certificate, usage Usage, selector Selector, matching MatchingType) (Record, error) {
	r := Record{Usage: usage, Selector: selector, MatchingType: matching}
	if data, ok := associate(c, selector, matching); ok {
		r.Data = bytes.Clone(data)
	}
	if err := r.Check(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// associate returns the data of a record for c. It may point into c.
func associate(c *pki.Certificate, selector Selector, matching MatchingType) ([]byte, bool) {
	var part []byte
	switch selector {
	case FullCert:
		part = c.Raw
	case SPKI:
		part = c.RawSPKI
	default:
		return nil, false
	}
	switch matching {
	case Full:
		return part, true
	case SHA256:
		sum := sha256.Sum256(part)
		return sum[:], true
	case SHA512:
		sum := sha512.Sum512(part)
		return sum[:], true
	}
	return nil, false
}
