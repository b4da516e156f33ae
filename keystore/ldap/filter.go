package ldap

import (
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/net/idna"

	"github.com/postseal/postseal/keystore"
)

// DefaultFilter finds people by the attributes in which directories have mail
// addresses.
const DefaultFilter = "(|(mail={address})(proxyAddresses=smtp:{address})(mailLocalAddress={address})" +
	"(mailAlternateAddress={address})(otherMailbox={address})(rfc822Mailbox={address}))"

// The placeholders of a template.
var placeholders = []string{"{address}", "{local}", "{domain}"}

// maxFilter bounds a template, in octets.
const maxFilter = 4096

// A filter is a template that has been looked at.
type filter struct{ template string }

// newFilter checks that a template is a filter whatever stands for the
// placeholders: they stand in values alone. The error is a *ConfigError.
func newFilter(template string) (*filter, error) {
	f := &filter{template}
	wrong := func(problem string) error { return &ConfigError{"Filter", problem} }
	if len(template) > maxFilter {
		return nil, wrong("is too long")
	}
	found := false
	for at := 0; at < len(template); at++ {
		if template[at] != '{' {
			continue
		}
		name, ok := placeholderAt(template[at:])
		if !ok {
			return nil, wrong("has a { that does not begin one of " + strings.Join(placeholders, ", "))
		}
		// RFC 4515, Section 3: what precedes the value ends with an equals sign,
		// and has no parenthesis in it; in a value neither is special to us.
		item := template[strings.LastIndexByte(template[:at], '(')+1 : at]
		if !strings.Contains(item, "=") || strings.Contains(item, ")") {
			return nil, wrong("has " + name + " outside of a value")
		}
		found = found || name != "{domain}"
		at += len(name) - 1
	}
	if !found {
		return nil, wrong("has neither {address} nor {local} in it: it would find anybody")
	}
	if _, err := goldap.CompileFilter(f.fill("a*(b)\\@example.org")); err != nil {
		return nil, wrong("is not a filter such as (mail={address})")
	}
	return f, nil
}

func placeholderAt(text string) (string, bool) {
	for _, name := range placeholders {
		if strings.HasPrefix(text, name) {
			return name, true
		}
	}
	return "", false
}

// fill puts an address in, escaped (RFC 4515, Section 3).
func (f *filter) fill(address string) string {
	at := strings.LastIndexByte(address, '@')
	return strings.NewReplacer("{address}", goldap.EscapeFilter(address), "{local}", goldap.EscapeFilter(address[:at]),
		"{domain}", goldap.EscapeFilter(address[at+1:])).Replace(f.template)
}

// of returns the filter for an address. A domain with U-labels is looked for with
// A-labels, too: the attribute mail is ASCII alone (RFC 4524, Section 2.16). The
// error is that of keystore.NormalizeAddress.
func (f *filter) of(address string) (string, error) {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return "", err
	}
	out := f.fill(normal)
	at := strings.LastIndexByte(normal, '@')
	if domain, idnaErr := idna.Lookup.ToASCII(normal[at+1:]); idnaErr == nil && domain != normal[at+1:] {
		out = "(|" + out + f.fill(normal[:at+1]+domain) + ")"
	}
	return out, nil
}
