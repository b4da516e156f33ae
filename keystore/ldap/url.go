package ldap

import (
	"net"
	"net/url"
	"strings"

	"github.com/postseal/postseal/tls"
)

// Ports.
const (
	portLDAP  = "389"
	portLDAPS = "636"
)

// ParseURL returns the options that an LDAP URL (RFC 4516) says:
//
//	ldaps://HOST[:PORT]/BASE[?[ATTRIBUTES][?[SCOPE][?[FILTER][?EXTENSIONS]]]]
//
// With the scheme ldaps, TLS begins the connection; with ldap it is StartTLS.
// FILTER may have the placeholders of [Options].Filter. ATTRIBUTES has to be
// empty: which are asked for is not for the URL to say. EXTENSIONS may have
// "bindname=DN", the DN with percent-encoding, which needs Options.Password. A
// password cannot stand in an URL, which others see. The error is a
// [*ConfigError]; it does not repeat the URL.
func ParseURL(text string) (*Options, error) {
	wrong := func(problem string) error { return &ConfigError{"URL", problem} }
	u, err := url.Parse(text)
	if err != nil {
		return nil, wrong("is not one such as ldaps://ldap.example.org/ou=people,dc=example,dc=org")
	}
	o, port := &Options{Mode: tls.Implicit}, portLDAPS
	switch strings.ToLower(u.Scheme) {
	case "ldaps":
	case "ldap":
		o.Mode, port = tls.StartTLS, portLDAP
	default:
		return nil, wrong("begins with neither ldaps:// nor ldap://")
	}
	switch {
	case u.User != nil:
		return nil, wrong("has a user or a password in it, where others can see it")
	case u.Fragment != "":
		return nil, wrong("has a # in it, which is written %23")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, wrong("has no host")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	o.Address = net.JoinHostPort(u.Hostname(), port)
	o.Base = strings.TrimPrefix(u.Path, "/")
	parts := append(strings.SplitN(u.RawQuery, "?", 5), "", "", "", "")
	if len(parts) > 8 {
		return nil, wrong("has too many question marks")
	}
	for i := range parts {
		if i == 3 {
			continue // its parts are decoded one by one
		}
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return nil, wrong("has a % that is none of its own")
		}
	}
	if parts[0] != "" {
		return nil, wrong("names attributes, which are not for it to say: two ? follow the base")
	}
	scope, ok := map[string]Scope{"": Subtree, "sub": Subtree, "one": OneLevel, "base": BaseOnly}[strings.ToLower(parts[1])]
	if !ok {
		return nil, wrong("has a scope that is none of base, one and sub")
	}
	o.Scope, o.Filter = scope, parts[2]
	return o, o.extensions(parts[3])
}

// extensions reads the last part of an URL. RFC 4516, Section 2: a critical one
// that is not known makes the URL unusable, and one that is not critical is
// passed over.
func (o *Options) extensions(list string) error {
	for item := range strings.SplitSeq(list, ",") {
		extension, critical := strings.CutPrefix(item, "!")
		name, escaped, _ := strings.Cut(extension, "=")
		value, err := url.PathUnescape(escaped)
		switch {
		case err != nil:
			return &ConfigError{"URL", "has a % that is none of its own"}
		case strings.EqualFold(name, "bindname"):
			o.BindDN = value
		case critical:
			return &ConfigError{"URL", "has a critical extension that is not known"}
		}
	}
	return nil
}

// url names the directory for people.
func (o *Options) url() string {
	u := url.URL{Scheme: "ldap", Host: o.Address, Path: "/" + o.Base}
	standard := portLDAP
	if o.Mode == tls.Implicit {
		u.Scheme, standard = "ldaps", portLDAPS
	}
	if host, port, err := net.SplitHostPort(o.Address); err == nil && port == standard {
		u.Host = host
		if strings.Contains(host, ":") {
			u.Host = "[" + host + "]"
		}
	}
	return u.String()
}
