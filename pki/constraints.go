package pki

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// nameConstraints is the NameConstraints of a CA (RFC 5280, Section 4.2.1.10).
type nameConstraints struct {
	permitted, excluded []subjectName
}

func readNameConstraints(v cryptobyte.String) (*nameConstraints, bool) {
	n := new(nameConstraints)
	var seq cryptobyte.String
	if !v.ReadASN1(&seq, asn1.SEQUENCE) || !v.Empty() {
		return nil, false
	}
	ok := readSubtrees(&seq, &n.permitted, der.Context(0, true)) &&
		readSubtrees(&seq, &n.excluded, der.Context(1, true)) && seq.Empty()
	// RFC 5280, Section 4.2.1.10: the extension must not be an empty sequence.
	return n, ok && len(n.permitted)+len(n.excluded) > 0
}

// readSubtrees reads GeneralSubtrees.
func readSubtrees(s *cryptobyte.String, out *[]subjectName, tag asn1.Tag) bool {
	var list cryptobyte.String
	if !s.ReadOptionalASN1(&list, nil, tag) {
		return false
	}
	for !list.Empty() {
		var tree cryptobyte.String
		if !list.ReadASN1(&tree, asn1.SEQUENCE) {
			return false
		}
		base, ok := readSubjectName(&tree)
		minimum := 0
		// RFC 5280, Section 4.2.1.10: minimum is zero and maximum absent, else
		// the certificate is rejected.
		// RFC 9598, Section 6: constraints are not of the form SmtpUTF8Mailbox.
		ok = ok && base.form != formOther+" "+nameForm(oid.SmtpUTF8Mailbox)
		if !ok || !readSkip(&tree, &minimum, der.Context(0, false)) || minimum != 0 || !tree.Empty() {
			return false
		}
		*out = append(*out, base)
	}
	return true
}

// maxComparisons bounds the comparisons of names with constraints in a
// verification.
const maxComparisons = 250_000

var errComparisons = errors.New("there are too many names and name constraints to compare")

// check applies the constraints of one CA to the names of a certificate below
// it. It counts comparisons, more for long names, down in *budget.
//
// RFC 5280, Section 6.1.3 (b) and (c).
func (n *nameConstraints) check(names *certNames, budget *int) error {
	if names.bad {
		return errors.New("an issuer may issue for certain names only, and those of the certificate cannot be read")
	}
	for i := range names.all {
		name := &names.all[i]
		for j := range n.excluded {
			base := &n.excluded[j]
			if *budget -= 1 + (name.size()+base.size())/64; *budget < 0 {
				return errComparisons
			}
			if base.form == name.form && name.within(base) != outside {
				return errors.New("an issuer may not issue certificates for " + name.String())
			}
		}
		constrained, found := false, false
		for j := range n.permitted {
			base := &n.permitted[j]
			if *budget -= 1 + (name.size()+base.size())/64; *budget < 0 {
				return errComparisons
			}
			if base.form == name.form {
				constrained = true
				if found = name.within(base) == inside; found {
					break
				}
			}
		}
		if constrained && !found {
			return errors.New("an issuer may not issue certificates for " + name.String())
		}
	}
	return nil
}

// A place is where a name is in respect to a constraint of its form.
type place int

const (
	unclear place = iota // forms that cannot be compared count against the name
	inside
	outside
)

func placeOf(in bool) place {
	if in {
		return inside
	}
	return outside
}

// within compares a name with a constraint of the same form.
func (n *subjectName) within(base *subjectName) place {
	switch n.form {
	case formEmail:
		return emailWithin(n.text, base.text)
	case formDNS:
		return dnsWithin(n.text, base.text)
	case formURI:
		return uriWithin(n.text, base.text)
	case formDN:
		return placeOf(hasPrefix(n.rdns, base.rdns))
	case formIP:
		return ipWithin(n.ip, base.ip)
	}
	return unclear
}

// emailWithin matches an address with an rfc822Name constraint: a mailbox, a
// host, or a domain with a leading period (RFC 5280, Section 4.2.1.10). The
// empty one matches every address.
func emailWithin(address, constraint string) place {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 {
		return unclear
	}
	host := asciiDomain(address[at+1:])
	if i := strings.LastIndexByte(constraint, '@'); i >= 0 {
		return placeOf(address[:at] == constraint[:i] && host == asciiDomain(constraint[i+1:]))
	}
	return placeOf(hostWithin(host, asciiDomain(constraint)))
}

// hostWithin: a host means itself, and a domain with a leading period all
// hosts below it.
func hostWithin(host, constraint string) bool {
	if strings.HasPrefix(constraint, ".") {
		return strings.HasSuffix(host, constraint) && len(host) > len(constraint)
	}
	return constraint == "" || host == constraint
}

// dnsWithin: labels may be added on the left. A leading period, which RFC 5280
// does not give a meaning here, asks for at least one.
func dnsWithin(name, constraint string) place {
	if name == "" {
		return unclear
	}
	name, constraint = asciiDomain(strings.TrimSuffix(name, ".")), asciiDomain(strings.TrimSuffix(constraint, "."))
	return placeOf(hostWithin(name, constraint) || strings.HasSuffix(name, "."+constraint))
}

// uriWithin: the constraint is for the host.
//
// RFC 5280, Section 4.2.1.10: a URI without an authority, or whose host is not
// a fully qualified domain name, is rejected.
func uriWithin(text, constraint string) place {
	u, err := url.Parse(text)
	if err != nil {
		return unclear
	}
	host := u.Hostname()
	if _, notName := netip.ParseAddr(host); notName == nil || host == "" || strings.HasPrefix(u.Host, "[") {
		return unclear
	}
	return placeOf(hostWithin(asciiDomain(host), asciiDomain(constraint)))
}

// ipWithin: the constraint is an address and a mask.
func ipWithin(address, constraint []byte) place {
	if len(address) != 4 && len(address) != 16 || len(constraint) != 8 && len(constraint) != 32 {
		return unclear
	}
	if len(constraint) != 2*len(address) {
		return outside
	}
	for i, mask := range constraint[len(address):] {
		if (address[i]^constraint[i])&mask != 0 {
			return outside
		}
	}
	return inside
}
