package mtasts

import (
	"errors"
	"strings"
)

// What is wrong with a TXT record.
var (
	// ErrNoRecord: there is no MTA-STS record.
	ErrNoRecord = errors.New("there is no MTA-STS record")
	// ErrManyRecords: there are several, which counts as none (RFC 8461, Section
	// 3.1).
	ErrManyRecords = errors.New("there are several MTA-STS records")
	// ErrRecordSyntax: the record is malformed, which counts as none.
	ErrRecordSyntax = errors.New("the MTA-STS record is malformed")
)

// RecordName returns the name of the TXT record of a domain.
func RecordName(domain string) string { return "_mta-sts." + domain }

// ParseRecord returns the id of the policy from the strings of TXT records, of
// which others than those of MTA-STS are passed over (RFC 8461, Section 3.1). The
// error is [ErrNoRecord], [ErrManyRecords] or [ErrRecordSyntax].
func ParseRecord(texts []string) (id string, err error) {
	var found []string
	for _, t := range texts {
		if rest, ok := strings.CutPrefix(t, "v=STSv1"); ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
			found = append(found, rest)
		}
	}
	switch len(found) {
	case 0:
		return "", ErrNoRecord
	case 1:
	default:
		return "", ErrManyRecords
	}
	fields := strings.Split(found[0], ";")[1:]
	for i, f := range fields {
		f = strings.Trim(f, " \t")
		name, value, ok := strings.Cut(f, "=")
		switch {
		case f == "" && i == len(fields)-1:
		case !ok || !fieldName(name) || value == "" || strings.ContainsFunc(value, notFieldValue):
			return "", ErrRecordSyntax
		case name == "id" && id != "":
			// Section 3.1: of fields that come twice, the first one counts.
		case name == "id" && (len(value) > 32 || strings.ContainsFunc(value, notAlphanumeric)):
			return "", ErrRecordSyntax
		case name == "id":
			id = value
		}
	}
	if id == "" {
		return "", ErrRecordSyntax
	}
	return id, nil
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func fieldName(s string) bool {
	return s != "" && len(s) <= 32 && !notAlphanumeric(rune(s[0])) &&
		!strings.ContainsFunc(s, func(r rune) bool { return notAlphanumeric(r) && r != '_' && r != '-' && r != '.' })
}

func notFieldValue(r rune) bool { return r <= 0x20 || r >= 0x7f || r == ';' || r == '=' }
