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
var relayed = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-224", "SCRAM-SHA-256", "SCRAM-SHA-384",
	"SCRAM-SHA-512", "SCRAM-SHA3-512"}

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
//
// It is whose password or key it is, and never as whom one wants to act: a server
// that takes no notice of the latter would let everybody have everybody's keys.
type Name struct {
	name     string // as far as it is known
	password string
	steps    int
}

// String returns the name, or "" when it could not be seen.
func (l *Name) String() string { return l.name }

// Password returns the password of the name, or "" when the mechanism does not
// show it: PLAIN and LOGIN do.
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
		// RFC 4616: authzid NUL authcid NUL passwd.
		if parts := strings.Split(text, "\x00"); len(parts) == 3 {
			l.name, l.password = parts[1], parts[2]
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
	case mechanism == "OAUTHBEARER" && l.steps == 1:
		// RFC 7628, Section 3.1: the token is for the name in the GS2 header.
		authzid, _ := gs2(text)
		l.name = saslName(strings.TrimPrefix(authzid, "a="))
	case strings.HasPrefix(mechanism, "SCRAM-") && l.steps == 1:
		_, bare := gs2(text)
		for attr := range strings.SplitSeq(bare, ",") {
			if name, isName := strings.CutPrefix(attr, "n="); isName {
				l.name = saslName(name)
				break
			}
		}
	case mechanism == "CRAM-MD5" && l.steps == 1:
		// RFC 2195: the name, a blank, the digest.
		if i := strings.LastIndexByte(text, ' '); i > 0 {
			l.name = text[:i]
		}
	}
}

// gs2 splits the first message of SCRAM (RFC 5802, Section 7) or OAUTHBEARER: the
// authzid of its GS2 header, with "a=" or empty, and what follows the header.
func gs2(text string) (authzid, bare string) {
	flag, rest, ok := strings.Cut(text, ",")
	if !ok || flag == "" {
		return "", ""
	}
	authzid, bare, ok = strings.Cut(rest, ",")
	if !ok {
		return "", ""
	}
	return authzid, bare
}

// saslName decodes a saslname (RFC 5802, Section 5.1).
func saslName(text string) string {
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(text)
}
