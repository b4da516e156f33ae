package dnsclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Errors of [New].
var (
	// ErrNoServers says that there is no server to ask.
	ErrNoServers = errors.New("no DNS server is known")
	// ErrServer says that the address of a server is not valid.
	ErrServer = errors.New("not the address and port of a DNS server")
)

// Causes within a dane.LookupError.
var (
	// ErrAliases says that an alias leads on and on.
	ErrAliases = errors.New("too many aliases")
	// ErrNotRecursive says that a server does not ask others.
	ErrNotRecursive = errors.New("the server is not a resolver")
	// errMismatch says that an answer is not for the question.
	errMismatch = errors.New("the answer is for another question")
	// errContradiction says that an answer contradicts itself.
	errContradiction = errors.New("the answer contradicts itself")
)

// A ResponseError is an answer with an error code.
type ResponseError struct {
	Server netip.AddrPort
	Code   int             // the RCODE, with the upper bits of EDNS (RFC 6891, Section 6.1.3)
	Extra  []ExtendedError // at most 8; a resolver that is not trusted may say anything here
}

// An ExtendedError is an extended DNS error (RFC 8914).
type ExtendedError struct {
	Code uint16
	// Text is that of the resolver, for people; it is cut after 200 octets.
	Text string
}

// String returns the code in words, and the text in quotes.
func (e ExtendedError) String() string {
	s, ok := dns.ExtendedErrorCodeToString[e.Code]
	if !ok {
		s = "extended error " + strconv.Itoa(int(e.Code))
	}
	if e.Text != "" {
		s += " " + strconv.QuoteToASCII(e.Text)
	}
	return s
}

// Error returns a sentence such as "127.0.0.1:53 answered SERVFAIL (DNSSEC
// Bogus)".
func (e *ResponseError) Error() string {
	code, ok := dns.RcodeToString[e.Code]
	if !ok {
		code = "code " + strconv.Itoa(e.Code)
	}
	s := fmt.Sprintf("%v answered %s", e.Server, code)
	if len(e.Extra) == 0 {
		return s
	}
	words := make([]string, len(e.Extra))
	for i, x := range e.Extra {
		words[i] = x.String()
	}
	return s + " (" + strings.Join(words, ", ") + ")"
}

const (
	maxExtended     = 8
	maxExtendedText = 200
)

// newResponseError describes an answer that is an error.
func newResponseError(server netip.AddrPort, m *dns.Msg) *ResponseError {
	e := &ResponseError{Server: server, Code: m.Rcode}
	opt := m.IsEdns0()
	if opt == nil {
		return e
	}
	for _, o := range opt.Option {
		ede, ok := o.(*dns.EDNS0_EDE)
		if !ok {
			continue
		}
		text := ede.ExtraText
		if len(text) > maxExtendedText {
			text = text[:maxExtendedText]
		}
		e.Extra = append(e.Extra, ExtendedError{Code: ede.InfoCode, Text: text})
		if len(e.Extra) == maxExtended {
			break
		}
	}
	return e
}

// bogus reports whether an extended error says that validation failed (RFC 8914,
// Sections 4.7 to 4.13).
func (e *ResponseError) bogus() bool {
	for _, x := range e.Extra {
		if x.Code >= dns.ExtendedErrorCodeDNSBogus && x.Code <= dns.ExtendedErrorCodeNSECMissing ||
			x.Code == dns.ExtendedErrorCodeSignatureExpiredBeforeValid {
			return true
		}
	}
	return false
}

// explained reports whether the resolver gave a reason that is not about DNSSEC.
func (e *ResponseError) explained() bool {
	for _, x := range e.Extra {
		switch x.Code {
		case dns.ExtendedErrorCodeNotReady, dns.ExtendedErrorCodeNoReachableAuthority, dns.ExtendedErrorCodeNetworkError:
			return true
		}
	}
	return false
}
