package tls

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A NameError says that a certificate is for none of the names that were wanted.
type NameError struct {
	Wanted []string
	// Has are the names that the certificate has, at most 10 of them, made
	// printable.
	Has []string
	// Err is a x509.HostnameError, or nil.
	Err error
}

// Error names both sides.
func (e *NameError) Error() string {
	has := "no name at all"
	if len(e.Has) > 0 {
		has = strings.Join(e.Has, ", ")
	}
	return fmt.Sprintf("the certificate is for %s, not for %s", has, strings.Join(e.Wanted, " or "))
}

// Unwrap returns the error of crypto/x509.
func (e *NameError) Unwrap() error { return e.Err }

// maxNames is how many names of a certificate stand in an error.
const maxNames = 10

// VerifyName looks for one of several names in a certificate, by the rules of RFC
// 9525, and returns the first that is there. The subject's common name is not
// looked at (Section 2). A name is
//
//   - a domain of A-labels (DNS-ID), for which the certificate may have a
//     wildcard as its whole leftmost label (Section 6.3);
//   - a service of a domain, such as "_imaps.example.org" (SRV-ID, RFC 4985),
//     without wildcards;
//   - an IP address (IP-ID), which must be in the certificate as one.
//
// The error is a *NameError.
func VerifyName(cert *x509.Certificate, names ...string) (string, error) {
	var first error
	services := serviceNames(cert)
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			for _, s := range services {
				if strings.EqualFold(strings.TrimSuffix(s, "."), strings.TrimSuffix(name, ".")) {
					return name, nil
				}
			}
			continue
		}
		err := cert.VerifyHostname(strings.TrimSuffix(name, "."))
		if err == nil {
			return name, nil
		}
		if first == nil && errors.As(err, new(x509.HostnameError)) {
			first = err
		}
	}
	e := &NameError{Wanted: names, Err: first}
	for _, name := range append(describeCertificate(cert).Names, services...) {
		if len(e.Has) < maxNames {
			e.Has = append(e.Has, printable([]byte(name)))
		}
	}
	return "", e
}

// The object identifiers of the extension and of the name in it (RFC 5280,
// Section 4.2.1.6; RFC 4985, Section 2).
var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidDNSSRV         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// serviceNames returns the SRVNames of a certificate. What is malformed is none.
func serviceNames(cert *x509.Certificate) []string {
	var out []string
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		in, names := cryptobyte.String(e.Value), cryptobyte.String(nil)
		if !in.ReadASN1(&names, cryptobyteasn1.SEQUENCE) {
			return nil
		}
		for !names.Empty() {
			var name cryptobyte.String
			var tag cryptobyteasn1.Tag
			if !names.ReadAnyASN1(&name, &tag) {
				return out
			}
			if tag == cryptobyteasn1.Tag(0).ContextSpecific().Constructed() {
				if s, ok := serviceName(name); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// serviceName reads an otherName.
func serviceName(in cryptobyte.String) (string, bool) {
	var id asn1.ObjectIdentifier
	var value, text cryptobyte.String
	if !in.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidDNSSRV) ||
		!in.ReadASN1(&value, cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) ||
		!value.ReadASN1(&text, cryptobyteasn1.IA5String) {
		return "", false
	}
	return string(text), len(text) > 1 && text[0] == '_'
}
