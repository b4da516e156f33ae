package pki

import (
	"bytes"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A CRLEntry is one revoked certificate of a CRL (RFC 5280, Section 5.3).
type CRLEntry struct {
	// Serial is the content of the INTEGER, as in [Certificate.Serial].
	Serial []byte
	// RevokedAt is the revocationDate, zero when it could not be read.
	RevokedAt time.Time
	// Reason is the reasonCode; absent or unreadable ones are unspecified.
	Reason RevocationReason
	// Invalid is the invalidityDate, zero when absent.
	Invalid time.Time
	// Issuers are the Names of the certificate's issuer: those of the last
	// certificateIssuer so far, or else the list's issuer.
	Issuers [][]byte
}

// rawEntry is an entry as far as it has to be read to be found.
type rawEntry struct {
	serial, rest cryptobyte.String // rest begins at revocationDate
	issuers      [][]byte          // nil when there is no certificateIssuer
	last         CRLEntry          // reason and invalidity
}

// next reads an entry. Only its extensions cost more than a few comparisons,
// and most entries have a reason at most.
func (c *CRL) next(list *cryptobyte.String, e *rawEntry) bool {
	var seq, date cryptobyte.String
	var tag asn1.Tag
	*e = rawEntry{}
	if !list.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&e.serial, asn1.INTEGER) {
		return false
	}
	e.rest = seq
	return seq.ReadAnyASN1(&date, &tag) && (tag == asn1.UTCTime || tag == asn1.GeneralizedTime)
}

// extensions returns the content of an entry's crlEntryExtensions.
func (e *rawEntry) extensions() (list cryptobyte.String, ok bool) {
	rest := e.rest
	var date cryptobyte.String
	var tag asn1.Tag
	if !rest.ReadAnyASN1(&date, &tag) {
		return nil, false
	}
	if rest.Empty() {
		return nil, true
	}
	return list, rest.ReadASN1(&list, asn1.SEQUENCE) && rest.Empty()
}

// The contents of the identifiers of the extensions of entries (RFC 5280,
// Section 5.3), and of the older one for the kind of hold.
const (
	rawReasonCode        = "\x55\x1d\x15"
	rawHoldInstruction   = "\x55\x1d\x17"
	rawInvalidityDate    = "\x55\x1d\x18"
	rawCertificateIssuer = "\x55\x1d\x1d"
)

// readExtensions reads an entry's extensions; each is given to unknown if it is
// critical and not known.
func (e *rawEntry) readExtensions(unknown func(oid.OID)) bool {
	list, ok := e.extensions()
	for ok && !list.Empty() {
		var x rawExtension
		if x, ok = readRawExtension(&list); !ok {
			break
		}
		v := x.value
		switch string(x.id) {
		case rawReasonCode:
			var code int
			if v.ReadASN1Enum(&code) {
				e.last.Reason = RevocationReason(code)
			}
		case rawInvalidityDate:
			der.ReadTime(&v, &e.last.Invalid)
		case rawCertificateIssuer:
			var seq cryptobyte.String
			var names []altName
			if ok = v.ReadASN1(&seq, asn1.SEQUENCE); ok {
				names, ok = readGeneralNames(seq)
			}
			e.issuers = directoryNames(names)
			ok = ok && len(e.issuers) > 0
		case rawHoldInstruction:
		default:
			if x.critical && unknown != nil {
				id, _ := oid.FromDER(x.id)
				unknown(id)
			}
		}
	}
	return ok
}

// walk checks the shape of all entries.
func (c *CRL) walk() error {
	list := c.revoked
	var e rawEntry
	for !list.Empty() {
		if !c.next(&list, &e) {
			return crlError("revokedCertificates")
		}
		// RFC 5280, Section 5.3: a list with such an extension must not be used.
		if !e.readExtensions(c.addUnhandled) {
			return crlError("crlEntryExtensions")
		}
		c.named = c.named || e.issuers != nil
		c.Entries++
	}
	return nil
}

// All calls yield for every entry, in the list's order, until yield returns
// false. It is meant for range.
func (c *CRL) All() func(yield func(CRLEntry) bool) {
	return func(yield func(CRLEntry) bool) {
		issuers := [][]byte{c.RawIssuer}
		c.each(func(e *rawEntry) bool {
			if e.issuers != nil {
				issuers = e.issuers
			}
			return yield(e.entry(issuers))
		}, func(*rawEntry) bool { return true })
	}
}

// each calls yield for the entries that match, and for those that name an
// issuer, which counts for the ones that follow.
func (c *CRL) each(yield func(*rawEntry) bool, match func(*rawEntry) bool) {
	list := c.revoked
	var e rawEntry
	for !list.Empty() && c.next(&list, &e) {
		found := match(&e)
		if !found && !c.named {
			continue
		}
		if !e.readExtensions(nil) || (found || e.issuers != nil) && !yield(&e) {
			return
		}
	}
}

func (e *rawEntry) entry(issuers [][]byte) CRLEntry {
	out := e.last
	out.Serial, out.Issuers = e.serial, issuers
	rest := e.rest
	der.ReadTime(&rest, &out.RevokedAt)
	return out
}

// Lookup returns the last entry for the certificate with a serial number (as in
// [Certificate.Serial]) and an issuer (a Name, whole element). It reads through
// the list and needs no memory for it. Serial numbers are compared as numbers.
//
// RFC 5280, Section 5.3.3: an entry without certificateIssuer has that of the
// entry before it, and the first ones that of the list.
func (c *CRL) Lookup(serial, issuer []byte) (CRLEntry, bool) {
	serial = trimInteger(serial)
	match := func(e *rawEntry) bool { return bytes.Equal(trimInteger(e.serial), serial) }
	issuers := [][]byte{c.RawIssuer}
	ours := NamesEqual(c.RawIssuer, issuer)
	var out CRLEntry
	found := false
	c.each(func(e *rawEntry) bool {
		if e.issuers != nil {
			issuers, ours = e.issuers, false
			for _, name := range issuers {
				ours = ours || NamesEqual(name, issuer)
			}
		}
		if ours && match(e) {
			out, found = e.entry(issuers), true
		}
		return true
	}, match)
	return out, found
}

// trimInteger takes away what DER does not allow: octets at the beginning that
// do not change the number.
func trimInteger(b []byte) []byte {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}
