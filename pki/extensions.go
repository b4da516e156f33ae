package pki

import (
	"crypto/x509"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Extended key usages of RFC 5280, Section 4.2.1.12, for certificates of which
// only crypto/x509's fields are known.
var ekuByX509 = map[x509.ExtKeyUsage]oid.OID{
	x509.ExtKeyUsageAny:             oid.EKUAny,
	x509.ExtKeyUsageServerAuth:      "1.3.6.1.5.5.7.3.1",
	x509.ExtKeyUsageClientAuth:      "1.3.6.1.5.5.7.3.2",
	x509.ExtKeyUsageCodeSigning:     "1.3.6.1.5.5.7.3.3",
	x509.ExtKeyUsageEmailProtection: oid.EKUEmailProtection,
	x509.ExtKeyUsageTimeStamping:    "1.3.6.1.5.5.7.3.8",
	x509.ExtKeyUsageOCSPSigning:     "1.3.6.1.5.5.7.3.9",
}

// harmless are extensions that say nothing about a certificate by itself,
// critical or not: path validation and revocation read them.
var harmless = []oid.OID{
	"2.5.29.30", // nameConstraints
	"2.5.29.31", // cRLDistributionPoints
	"2.5.29.32", // certificatePolicies
	"2.5.29.33", // policyMappings
	"2.5.29.36", // policyConstraints
	"2.5.29.54", // inhibitAnyPolicy
}

// parseExtensions reads Extensions (RFC 5280, Section 4.1).
func (c *Certificate) parseExtensions(list cryptobyte.String) {
	seen := make(map[oid.OID]bool)
	for !list.Empty() {
		var ext, critical, value cryptobyte.String
		var id oid.OID
		var present bool
		if !list.ReadASN1(&ext, asn1.SEQUENCE) {
			c.problem("extensions")
			return
		}
		if !der.ReadOID(&ext, &id) || !ext.ReadOptionalASN1(&critical, &present, asn1.BOOLEAN) ||
			!ext.ReadASN1(&value, asn1.OCTET_STRING) {
			c.problem("extensions")
			continue
		}
		isCritical := present && !(len(critical) == 1 && critical[0] == 0)
		c.Extensions = append(c.Extensions, Extension{OID: id, Critical: isCritical, Value: value})
		// RFC 5280, Section 4.2: not more than one instance of an extension.
		if seen[id] {
			c.problem("extension " + id.String())
			continue
		}
		seen[id] = true
		known, ok := c.parseExtension(id, value)
		if known && !ok {
			c.problem("extension " + id.String())
		}
		// RFC 5280, Section 4.2: a critical extension has to be understood.
		understood := known && ok && (id != oid.ExtSubjectAltName || c.sanRead)
		if isCritical && !understood && !slices.Contains(harmless, id) {
			c.UnhandledCritical = append(c.UnhandledCritical, id)
		}
	}
}

// parseExtension reads the value of an extension. ok tells whether one that is
// known could be read.
func (c *Certificate) parseExtension(id oid.OID, v cryptobyte.String) (known, ok bool) {
	switch id {
	case oid.ExtSubjectKeyID:
		var content cryptobyte.String
		ok = v.ReadASN1(&content, asn1.OCTET_STRING)
		c.SubjectKeyID = content
	case oid.ExtAuthorityKeyID:
		var seq, keyID cryptobyte.String
		var present bool
		ok = v.ReadASN1(&seq, asn1.SEQUENCE) && seq.ReadOptionalASN1(&keyID, &present, der.Context(0, false))
		if ok && present {
			c.AuthorityKeyID = keyID
		}
	case oid.ExtKeyUsage:
		c.KeyUsage, ok = readKeyUsage(v)
		c.HasKeyUsage = true // also when it cannot be read: then it allows nothing
	case oid.ExtExtKeyUsage:
		ok = c.readExtKeyUsage(v)
	case oid.ExtBasicConstraints:
		var seq, ca cryptobyte.String
		var present bool
		ok = v.ReadASN1(&seq, asn1.SEQUENCE) && seq.ReadOptionalASN1(&ca, &present, asn1.BOOLEAN)
		c.IsCA = ok && present && len(ca) == 1 && ca[0] != 0
	case oid.ExtSubjectAltName:
		ok = c.readAltNames(v)
	default:
		return false, false
	}
	return true, ok
}

// readKeyUsage reads a KeyUsage (RFC 5280, Section 4.2.1.3). Bit n of the
// result is bit n of the BIT STRING, as in crypto/x509.
func readKeyUsage(v cryptobyte.String) (x509.KeyUsage, bool) {
	var bits cryptobyte.String
	if !v.ReadASN1(&bits, asn1.BIT_STRING) || len(bits) == 0 || bits[0] > 7 {
		return 0, false
	}
	octets := bits[1:]
	var usage x509.KeyUsage
	for n := range 9 {
		if n/8 < len(octets) && octets[n/8]&(0x80>>(n%8)) != 0 {
			usage |= 1 << n
		}
	}
	return usage, true
}

// readExtKeyUsage reads an ExtKeyUsageSyntax (RFC 5280, Section 4.2.1.12). One
// that cannot be read allows nothing: it leaves a list with an empty identifier.
func (c *Certificate) readExtKeyUsage(v cryptobyte.String) bool {
	var seq cryptobyte.String
	ok := v.ReadASN1(&seq, asn1.SEQUENCE)
	for ok && !seq.Empty() {
		var content cryptobyte.String
		if !seq.ReadASN1(&content, asn1.OBJECT_IDENTIFIER) {
			ok = false
			break
		}
		usage, _ := oid.FromDER(content) // one that is too long for us is some other usage
		c.ExtKeyUsage = append(c.ExtKeyUsage, usage)
	}
	if !ok && len(c.ExtKeyUsage) == 0 {
		c.ExtKeyUsage = []oid.OID{""}
	}
	return ok
}

// readAltNames reads the mail addresses in GeneralNames (RFC 5280, Section
// 4.2.1.6).
func (c *Certificate) readAltNames(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !v.ReadASN1(&seq, asn1.SEQUENCE) {
		return false
	}
	understood, ok := false, true
	for !seq.Empty() {
		var content cryptobyte.String
		var tag asn1.Tag
		if !seq.ReadAnyASN1(&content, &tag) {
			return false
		}
		switch tag {
		case der.Context(1, false): // rfc822Name
			// QUIRK: RFC 5280 has US-ASCII here, but addresses in UTF-8 are found.
			if !utf8.Valid(content) {
				ok = false
				continue
			}
			c.addEmail(string(content))
			understood = true
		case der.Context(0, true): // otherName
			var id oid.OID
			if !der.ReadOID(&content, &id) {
				return false
			}
			if id != oid.SmtpUTF8Mailbox {
				continue
			}
			// RFC 9598, Section 3: SmtpUTF8Mailbox ::= UTF8String
			var value, text cryptobyte.String
			if !content.ReadASN1(&value, der.Context(0, true)) || !value.ReadASN1(&text, asn1.UTF8String) || !utf8.Valid(text) {
				ok = false
				continue
			}
			c.addEmail(string(text))
			understood = true
		case der.Context(2, false), der.Context(4, true), der.Context(6, false), der.Context(7, false):
			understood = true // dNSName, directoryName, URI, iPAddress: not about mail
		}
	}
	c.sanRead = understood
	return ok
}

// addSubjectEmails adds the addresses in the subject's name.
//
// RFC 8550, Section 3: emailAddress in the DN is to be read, too.
func (c *Certificate) addSubjectEmails() {
	rdns, _ := readName(c.RawSubject)
	for _, rdn := range rdns {
		for i := range rdn {
			if text, ok := rdn[i].text(); ok && rdn[i].typ == oid.DNEmailAddress {
				c.addEmail(text)
			}
		}
	}
}

// maxEmails bounds the addresses of a certificate, for the comparisons below.
const maxEmails = 1000

func (c *Certificate) addEmail(address string) {
	if !isMailbox(address) {
		c.problem("email address")
		return
	}
	// The form with A-labels and that with U-labels may both be looked for.
	double := func(e string) bool { return sameAddress(e, address) && isASCII(e) == isASCII(address) }
	if len(c.Emails) < maxEmails && !slices.ContainsFunc(c.Emails, double) {
		c.Emails = append(c.Emails, address)
	}
}
