package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/postseal/postseal/tls"
)

// A Use says what is made of TLSA records.
type Use int

// The uses.
const (
	// Ignore: nobody looks for them.
	Ignore Use = iota
	// IfPublished: where DNSSEC vouches for TLSA records they decide, and else the
	// rest of the policy does (RFC 7672, Section 1.3.3).
	IfPublished
	// Only: where there are no TLSA records there is no connection (RFC 7672,
	// Section 6).
	Only
)

// A Base says what a server has to show where neither DANE nor MTA-STS decides.
type Base int

// The bases.
const (
	// Required: a certificate that is valid by PKIX for one of the server's names
	// (RFC 9525). With Pins, one of the certificates on its path has to be pinned
	// besides.
	Required Base = iota
	// Pinned: the certificate, or its key, is one of Pins. Nothing else vouches for
	// it: who issued it, for which name and until when does not count.
	Pinned
	// Opportunistic: whatever certificate there is, and plaintext where there is no
	// STARTTLS. Whoever can change what is on the wire can have all of it (RFC
	// 7435). Where there are TLSA records that cannot be used, TLS is required all
	// the same.
	Opportunistic
)

// A Policy says whom a connection may be with. The zero value is Required.
type Policy struct {
	// DANE comes first: where it decides, nothing else does.
	DANE Use
	// MTASTS has the policies of domains decide. It is for Target.MX alone; other
	// targets have no such policies.
	MTASTS bool
	// Base decides else.
	Base Base
	// Pins are for Required and Pinned, without DANE and MTASTS.
	Pins []Pin
}

// check finds mistakes.
func (p *Policy) check() error {
	problem := ""
	switch {
	case p.DANE < Ignore || p.DANE > Only || p.Base < Required || p.Base > Opportunistic:
		problem = "has a value that is none of the constants"
	case p.DANE == Only && (p.MTASTS || p.Base != Required):
		problem = "has something beside \"dane-only\", which leaves nothing to it"
	case p.Base == Pinned && len(p.Pins) == 0:
		problem = "has no pin"
	case len(p.Pins) > 0 && (p.DANE != Ignore || p.MTASTS || p.Base == Opportunistic):
		problem = "has pins, which do not go with DANE, MTA-STS and \"opportunistic\""
	default:
		return nil
	}
	return &tls.ConfigError{Field: "Policy", Problem: problem}
}

// The words of policies.
const (
	wordDANE          = "dane"
	wordDANEOnly      = "dane-only"
	wordMTASTS        = "mta-sts"
	wordRequired      = "required"
	wordPinned        = "pinned"
	wordOpportunistic = "opportunistic"
)

// String returns the policy as [Parse] reads it, such as "dane mta-sts required",
// without its pins.
func (p Policy) String() string {
	var words []string
	switch p.DANE {
	case IfPublished:
		words = append(words, wordDANE)
	case Only:
		return wordDANEOnly
	}
	if p.MTASTS {
		words = append(words, wordMTASTS)
	}
	return strings.Join(append(words, [...]string{wordRequired, wordPinned, wordOpportunistic}[min(max(p.Base, 0), Opportunistic)]), " ")
}

// Parse reads a policy: the words "dane", "mta-sts" and one of "required",
// "pinned" and "opportunistic", in this order, or "dane-only" alone; with spaces
// between them. "required" is meant where none of the three is there. The order is
// that in which they decide. Pins are not in it: set them. The error is a
// *tls.ConfigError.
func Parse(text string) (Policy, error) {
	var p Policy
	words := strings.Fields(strings.ToLower(text))
	next := func(word string) bool {
		if len(words) == 0 || words[0] != word {
			return false
		}
		words = words[1:]
		return true
	}
	if next(wordDANEOnly) {
		p.DANE = Only
	} else {
		if next(wordDANE) {
			p.DANE = IfPublished
		}
		p.MTASTS = next(wordMTASTS)
		switch {
		case next(wordPinned):
			p.Base = Pinned
		case next(wordOpportunistic):
			p.Base = Opportunistic
		default:
			next(wordRequired)
		}
	}
	if len(words) > 0 || strings.TrimSpace(text) == "" {
		return Policy{}, &tls.ConfigError{Field: "Policy", Problem: fmt.Sprintf("%q is not understood", text)}
	}
	return p, nil
}

// MarshalText returns what String returns.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes what [Parse] takes.
func (p *Policy) UnmarshalText(text []byte) (err error) {
	*p, err = Parse(string(text))
	return err
}

// A Pin is a key, or a certificate, that is known beforehand. Pins are made by
// [PinKey], [PinCertificate] and [ParsePin], and may be compared.
type Pin struct {
	whole bool // the whole certificate
	sum   [sha256.Size]byte
}

// PinKey pins the key of a certificate: another certificate with the same key is
// as good.
func PinKey(c *x509.Certificate) Pin { return Pin{sum: sha256.Sum256(c.RawSubjectPublicKeyInfo)} }

// PinCertificate pins a certificate.
func PinCertificate(c *x509.Certificate) Pin { return Pin{whole: true, sum: sha256.Sum256(c.Raw)} }

// The beginnings of pins as text.
const (
	prefixKey  = "key-sha256:"
	prefixCert = "cert-sha256:"
)

// ParsePin reads "key-sha256:" or "cert-sha256:" and a SHA-256 hash, of the
// SubjectPublicKeyInfo or of the certificate, as hexadecimal digits, with or
// without colons, or as base64. The error is a *tls.ConfigError.
func ParsePin(text string) (Pin, error) {
	p := Pin{}
	rest, ok := strings.CutPrefix(text, prefixKey)
	if !ok {
		rest, ok = strings.CutPrefix(text, prefixCert)
		p.whole = true
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(rest, ":", ""))
	if err != nil || len(sum) != len(p.sum) {
		sum, err = base64.StdEncoding.DecodeString(rest)
	}
	if !ok || err != nil || len(sum) != len(p.sum) {
		return Pin{}, &tls.ConfigError{Field: "Pins", Problem: fmt.Sprintf("%q is not a pin, such as key-sha256: and 64 hexadecimal digits", text)}
	}
	copy(p.sum[:], sum)
	return p, nil
}

// String returns the pin as ParsePin reads it.
func (p Pin) String() string {
	prefix := prefixKey
	if p.whole {
		prefix = prefixCert
	}
	return prefix + hex.EncodeToString(p.sum[:])
}

// MarshalText returns what String returns.
func (p Pin) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes what [ParsePin] takes.
func (p *Pin) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePin(string(text))
	return err
}

// Matches reports whether a certificate is the one, or has the key, that is
// pinned.
func (p Pin) Matches(c *x509.Certificate) bool {
	part := c.RawSubjectPublicKeyInfo
	if p.whole {
		part = c.Raw
	}
	sum := sha256.Sum256(part)
	return bytes.Equal(sum[:], p.sum[:])
}

var (
	_ encoding.TextUnmarshaler = (*Policy)(nil)
	_ encoding.TextUnmarshaler = (*Pin)(nil)
)
