package policy

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A Rule is what has decided about a server.
type Rule int

// The rules.
const (
	RulePKIX          Rule = iota + 1 // path and name, by the authorities that are trusted here
	RulePinned                        // a pin, and for Required path and name besides
	RuleDANE                          // TLSA records
	RuleMTASTS                        // MTA-STS in mode "enforce": path, name, and the host is in the policy
	RuleEncrypted                     // TLS, with no proof of who it is: there are TLSA records that cannot decide
	RuleOpportunistic                 // TLS with anybody, or plaintext
	RulePlaintext                     // no TLS, as the target says
)

var ruleNames = [...]string{RulePKIX: "pkix", RulePinned: "pinned", RuleDANE: "dane", RuleMTASTS: "mta-sts",
	RuleEncrypted: "encrypted", RuleOpportunistic: "opportunistic", RulePlaintext: "plaintext"}

// String returns the rule's name: "pkix", "pinned", "dane", "mta-sts", "encrypted",
// "opportunistic" or "plaintext".
func (r Rule) String() string {
	if r < 1 || int(r) >= len(ruleNames) {
		return fmt.Sprintf("Rule(%d)", int(r))
	}
	return ruleNames[r]
}

// MarshalText returns the rule's name.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// authenticates reports whether a rule leaves no doubt who the server is.
func (r Rule) authenticates() bool { return r >= RulePKIX && r <= RuleMTASTS }

// A Verdict says what became of a connection, and why. It has JSON names, and
// everything that it quotes of others is printable.
type Verdict struct {
	Host string `json:"host"` // its name, or address if it has none
	Port uint16 `json:"port"`
	Rule Rule   `json:"rule"`
	// Why are sentences: what was found and how it led to Rule, in the order in
	// which it was looked for.
	Why           []string `json:"why"`
	Encrypted     bool     `json:"encrypted"`
	Authenticated bool     `json:"authenticated"`
	// Name is the name that was found in the certificate; empty where names do
	// not count.
	Name string `json:"name,omitempty"`
	// TLSA is the record that vouches for the server, and TLSAName where it is. Where
	// Rule is not RuleDANE it vouches for the host alone, which nobody says is one of
	// the domain.
	TLSA     *dane.Record `json:"-"`
	TLSAName string       `json:"tlsa_name,omitempty"`
	Pin      *Pin         `json:"pin,omitempty"` // that matched
	// Path leads from the server's certificate to what vouches for it.
	Path []*x509.Certificate `json:"-"`
	// Testing is what would have been refused if MTA-STS were not in mode "testing":
	// an *Error, or nil.
	Testing error `json:"-"`
}

// MarshalJSON adds what has no form in JSON of its own as text.
func (v *Verdict) MarshalJSON() ([]byte, error) {
	type plain Verdict
	out := struct {
		*plain
		TLSA    string   `json:"tlsa,omitempty"`
		Path    []string `json:"path,omitempty"`
		Testing string   `json:"testing,omitempty"`
	}{plain: (*plain)(v)}
	if v.TLSA != nil {
		out.TLSA = v.TLSA.String()
	}
	for _, c := range v.Path {
		out.Path = append(out.Path, printable(c.Subject.String()))
	}
	if v.Testing != nil {
		out.Testing = v.Testing.Error()
	}
	return json.Marshal(out)
}

// String explains the verdict in one paragraph.
func (v *Verdict) String() string {
	return fmt.Sprintf("%s, %v: %s", net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port))), v.Rule, strings.Join(v.Why, "; "))
}

func (v *Verdict) because(format string, args ...any) {
	v.Why = append(v.Why, printable(fmt.Sprintf(format, args...)))
}

// Reason says, for a program, why there is no connection.
type Reason int

// The reasons.
const (
	NoSuchHost      Reason = iota + 1 // the domain takes no mail, has no such service, or the host no address
	LookupFailed                      // the DNS gave no answer
	Bogus                             // the DNS gave an answer whose signatures are wrong
	NoTLSA                            // the policy is dane-only, and there are no TLSA records to be used
	NotInPolicy                       // the MTA-STS policy does not name the host
	NotReached                        // no connection
	NoStartTLS                        // the server does not offer STARTTLS, or refuses it
	Dialogue                          // the dialogue before TLS failed in another way
	Handshake                         // the handshake failed in another way than those below
	TLSAMismatch                      // no TLSA record is for the certificate
	PinMismatch                       // no pin is for the certificate
	NameMismatch                      // the certificate is for another name
	CertificateTime                   // the certificate has expired, or is not valid yet
	NotTrusted                        // nobody vouches for the certificate
)

// reasonNames are, where RFC 8460, Section 4.3 has one, its "result types".
var reasonNames = [...]string{NoSuchHost: "no-such-host", LookupFailed: "lookup-failed", Bogus: "dnssec-invalid", NoTLSA: "dane-required",
	NotInPolicy: "mx-not-in-policy", NotReached: "not-reached", NoStartTLS: "starttls-not-supported", Dialogue: "dialogue-failed",
	Handshake: "handshake-failed", TLSAMismatch: "tlsa-mismatch", PinMismatch: "pin-mismatch", NameMismatch: "certificate-host-mismatch",
	CertificateTime: "certificate-expired", NotTrusted: "certificate-not-trusted"}

// String returns the reason as a word. Where RFC 8460, Section 4.3 has a result type
// for it, it is that, and where there is none, a report of RFC 8460 would have
// "validation-failure".
func (r Reason) String() string {
	if r < 1 || int(r) >= len(reasonNames) {
		return fmt.Sprintf("Reason(%d)", int(r))
	}
	return reasonNames[r]
}

// MarshalText returns what String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// An Error says why there is no connection. Nothing was sent but what comes before
// the end of a handshake.
type Error struct {
	Reason Reason
	// Server is host and port, or the domain if it did not come to a host.
	Server string
	// Rule is what has decided; zero if it did not come to that.
	Rule Rule
	// Why leads to the failure, as in [Verdict].
	Why []string
	// Err is what failed.
	Err error
	// Others are the errors of other servers, and addresses, that were tried.
	Others []error
}

// Error returns a sentence about what failed first.
func (e *Error) Error() string {
	s := e.Server + ": " + printable(e.Err.Error())
	if e.Rule != 0 {
		s = fmt.Sprintf("%s (%v): %s", e.Server, e.Rule, printable(e.Err.Error()))
	}
	if len(e.Others) > 0 {
		s += fmt.Sprintf("; %d more failed", len(e.Others))
	}
	return s
}

// Unwrap returns the cause and the other errors.
func (e *Error) Unwrap() []error { return append([]error{e.Err}, e.Others...) }

// Temporary reports whether it makes sense to try again later: always, but where
// no server was found that could be tried.
func (e *Error) Temporary() bool {
	for _, other := range e.Others {
		if o, ok := errors.AsType[*Error](other); ok && o.Temporary() {
			return true
		}
	}
	return e.Reason != NoSuchHost
}

// A NoServiceError says that a domain has no servers: it does not exist, takes no
// mail (RFC 7505), or has no such service.
type NoServiceError struct {
	Name    string
	Problem string
}

// Error returns a sentence.
func (e *NoServiceError) Error() string { return e.Name + " " + e.Problem }

// A PolicyError says which rule of a policy a server has broken.
type PolicyError struct{ Problem string }

// Error returns a sentence.
func (e *PolicyError) Error() string { return e.Problem }

// reasonOf finds the reason in an error of a handshake or of certificates.
func reasonOf(err error) Reason {
	var verify *dane.VerifyError
	var invalid x509.CertificateInvalidError
	var policy *Error
	switch {
	case errors.As(err, &policy):
		return policy.Reason
	case errors.As(err, &verify) && (verify.Fault == dane.NoMatch || verify.Fault == dane.NoUsable):
		return TLSAMismatch
	case errors.As(err, new(*tls.NameError)):
		return NameMismatch
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertificateTime
	case errors.Is(err, tls.ErrStartTLSNotOffered), errors.Is(err, tls.ErrRefused), errors.Is(err, tls.ErrPreauth):
		return NoStartTLS
	case errors.As(err, new(*tls.HandshakeError)):
		return Handshake
	case errors.As(err, new(*tls.ProtocolError)), errors.As(err, new(*tls.InjectionError)):
		return Dialogue
	}
	return NotTrusted
}

// printable makes what others said fit for a terminal and a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
