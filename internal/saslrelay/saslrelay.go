// Package saslrelay is about authentication (RFC 4422) that passes through: which
// mechanisms can, and who it is that logs in.
package saslrelay

import (
	"slices"
	"strings"
)

// relayed are the mechanisms that can be passed on. Those with channel binding
// (-PLUS), with a security layer (GSSAPI), or by certificate (EXTERNAL) end at
// the connection that they are for.
var relayed = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"}

// Offered returns those mechanisms of an upstream, in upper case, that a client
// may see. A client that sees SCRAM without PLUS says that it would have bound the
// channel, which a server that has PLUS takes for an attack: SCRAM is left out
// then (RFC 5802, Section 6).
func Offered(upstream []string) []string {
	plus := slices.ContainsFunc(upstream, func(m string) bool { return strings.HasSuffix(m, "-PLUS") })
	var out []string
	for _, m := range upstream {
		if slices.Contains(relayed, m) && !(plus && strings.HasPrefix(m, "SCRAM-")) {
			out = append(out, m)
		}
	}
	return out
}

// A Name finds out who logs in, where that can be seen. The zero value is ready.
type Name struct {
	name     string // as far as it is known
	password string
	steps    int
}

// String returns the name, or "" when it could not be seen.
func (l *Name) String() string { return l.name }

// Password returns the password, or "" when the mechanism does not show it: PLAIN
// and LOGIN do. What a PLAIN client sends when it acts as another than whose
// password it has is no password of the name, and is not returned.
func (l *Name) Password() string { return l.password }

// chooses are the mechanisms whose first response names the account.
var chooses = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}

// Choosing returns the mechanisms that serve where the upstream is chosen by the
// name of the account: the client's first response has it.
func Choosing() []string { return slices.Clone(chooses) }

// Begin returns the challenge before the client's first response, as the upstream
// would send it.
func Begin(mechanism string) string {
	if mechanism == "LOGIN" {
		return "Username:"
	}
	return ""
}

// See takes a response of the client, nil for none. The mechanism is in upper
// case.
func (l *Name) See(mechanism string, response []byte) {
	if response == nil {
		return
	}
	text := string(response)
	l.steps++
	switch {
	case mechanism == "PLAIN" && l.steps == 1:
		// RFC 4616: authzid NUL authcid NUL passwd. What the server acts as is the
		// first, where it is given.
		if parts := strings.Split(text, "\x00"); len(parts) == 3 {
			l.name, l.password = parts[1], parts[2]
			if parts[0] != "" && parts[0] != parts[1] {
				l.name, l.password = parts[0], ""
			}
		}
	case mechanism == "LOGIN" && l.steps == 1:
		l.name = text
	case mechanism == "LOGIN" && l.steps == 2:
		l.password = text
	case mechanism == "XOAUTH2" && l.steps == 1:
		for field := range strings.SplitSeq(text, "\x01") {
			if user, ok := strings.CutPrefix(field, "user="); ok {
				l.name = user
			}
		}
	case (mechanism == "OAUTHBEARER" || strings.HasPrefix(mechanism, "SCRAM-")) && l.steps == 1:
		l.name = gs2Name(text)
	case mechanism == "CRAM-MD5" && l.steps == 1:
		// RFC 2195: the name, a blank, the digest.
		if i := strings.LastIndexByte(text, ' '); i > 0 {
			l.name = text[:i]
		}
	}
}

// gs2Name returns the name in the first message of SCRAM (RFC 5802, Section 7)
// or OAUTHBEARER (RFC 7628, Section 3.1): that of the GS2 header, or "n=".
func gs2Name(text string) string {
	flag, rest, ok := strings.Cut(text, ",")
	if !ok || flag == "" {
		return ""
	}
	authzid, bare, ok := strings.Cut(rest, ",")
	if !ok {
		return ""
	}
	name := strings.TrimPrefix(authzid, "a=")
	if authzid == "" {
		for attr := range strings.SplitSeq(bare, ",") {
			if n, isName := strings.CutPrefix(attr, "n="); isName {
				name = n
				break
			}
		}
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
}
