package smimea

import (
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// Name returns the name of the SMIMEA records of a mail address (RFC 8162, Section
// 3). The domain may have U-labels. The local part is converted to Unicode
// Normalization Form C; the case of its letters is kept. The only error is
// [ErrAddress].
func Name(address string) (string, error) {
	local, domain, err := split(address)
	if err != nil {
		return "", err
	}
	name, err := dane.SMIMEAName(local + "@" + domain)
	if err != nil {
		return "", ErrAddress
	}
	return name, nil
}

// split returns the two parts of an address in the forms that are looked for: the
// local part in form C, the domain in A-labels and lower case.
func split(address string) (local, domain string, err error) {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return "", "", ErrAddress
	}
	at := strings.LastIndexByte(normal, '@')
	local, domain = norm.NFC.String(normal[:at]), normal[at+1:]
	if strings.ContainsFunc(domain, func(r rune) bool { return r >= 0x80 }) {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", "", ErrAddress
		}
	}
	if domain, err = dane.CleanName(domain); err != nil {
		return "", "", ErrAddress
	}
	return local, domain, nil
}

// hasAddress reports whether c is for an address, also if only one of them has
// U-labels.
func hasAddress(c *pki.Certificate, address string) bool {
	if c.HasEmail(address) {
		return true
	}
	local, domain, err := split(address)
	if err != nil {
		return false
	}
	for _, have := range c.Emails {
		if l, d, haveErr := split(have); haveErr == nil && l == local && d == domain {
			return true
		}
	}
	return false
}
