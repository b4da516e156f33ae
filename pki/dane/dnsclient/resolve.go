package dnsclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/pki/dane"
)

// maxAliases bounds the CNAME records that are followed.
const maxAliases = 10

// A result is an answer before its records have a type.
type result struct {
	records  []dns.RR
	name     string // canonical, fully qualified
	secure   bool
	nxdomain bool
	ttl      time.Duration
	known    bool // ttl is known
}

// least lowers the time that the answer may be kept.
func (r *result) least(seconds uint32) {
	if seconds >= 1<<31 { // RFC 2181, Section 8
		seconds = 0
	}
	if ttl := time.Duration(seconds) * time.Second; !r.known || ttl < r.ttl {
		r.ttl, r.known = ttl, true
	}
}

// resolve finds the records of a type. follow says whether aliases are followed.
func (c *Client) resolve(ctx context.Context, name string, kind uint16, follow bool) (*result, error) {
	clean, err := dane.CleanName(name)
	if err != nil {
		return nil, &dane.LookupError{Name: printable(name), Type: dns.TypeToString[kind], Reason: dane.BadName, Err: err}
	}
	r := &result{name: clean + ".", secure: true}
	aliases := maxAliases
	for {
		m, s, askErr := c.query(ctx, question{name: r.name, kind: kind, checking: true})
		if askErr == nil {
			// RFC 4035, Section 4.9.3; the weakest link decides.
			r.secure = r.secure && m.AuthenticatedData && s.trusted
			var done bool
			if done, askErr = r.take(m, kind, follow, &aliases); done && askErr == nil {
				return r, nil
			}
		}
		if askErr != nil {
			return nil, lookupError(ctx, clean, kind, askErr)
		}
	}
}

// take reads an answer. It reports whether that is all: else the question is to
// be asked again for r.name, where the last alias led to.
func (r *result) take(m *dns.Msg, kind uint16, follow bool, aliases *int) (done bool, err error) {
	start := r.name
	for follow {
		target, ttl, aliasErr := aliasOf(m.Answer, r.name)
		if aliasErr != nil {
			return false, aliasErr
		}
		if target == "" {
			break
		}
		if *aliases--; *aliases < 0 {
			return false, ErrAliases
		}
		r.name = target
		r.least(ttl)
	}
	for _, rr := range m.Answer {
		if h := rr.Header(); h.Rrtype == kind && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == r.name {
			r.records = append(r.records, rr)
			r.least(h.Ttl)
		}
	}
	r.nxdomain = m.Rcode == dns.RcodeNameError
	if len(r.records) > 0 {
		if r.nxdomain {
			return false, errContradiction
		}
		return true, nil
	}
	denied := r.nxdomain
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			r.least(min(soa.Hdr.Ttl, soa.Minttl)) // RFC 2308, Section 5
			denied = true
		}
	}
	// Without a word on the target, the alias may just not have been followed.
	return denied || r.name == start, nil
}

// aliasOf returns what a name is an alias for, in canonical form, or "".
func aliasOf(answer []dns.RR, name string) (target string, ttl uint32, err error) {
	for _, rr := range answer {
		cname, ok := rr.(*dns.CNAME)
		if !ok || cname.Hdr.Class != dns.ClassINET || dns.CanonicalName(cname.Hdr.Name) != name {
			continue
		}
		to := dns.CanonicalName(cname.Target)
		if target != "" && to != target { // RFC 2181, Section 10.1
			return "", 0, errContradiction
		}
		target, ttl = to, cname.Hdr.Ttl
	}
	return target, ttl, nil
}

// query asks the servers one after the other until one answers that there are
// records or none. The error is that of the first server, unless another one
// says that validation failed: that ends the search.
func (c *Client) query(ctx context.Context, q question) (*dns.Msg, server, error) {
	var first error
	for range c.opts.Attempts {
		for _, s := range c.servers {
			m, err := c.exchange(ctx, s, q)
			if err == nil {
				err = c.verdict(ctx, s, q, m)
			}
			if err == nil {
				return m, s, nil
			}
			if errors.As(err, new(*bogusError)) || ctx.Err() != nil {
				return nil, s, err
			}
			if first == nil {
				first = err
			}
		}
	}
	return nil, server{}, first
}

// A bogusError says that validation failed.
type bogusError struct{ err *ResponseError }

func (e *bogusError) Error() string { return e.err.Error() }
func (e *bogusError) Unwrap() error { return e.err }

// verdict is nil if m is an answer to q.
func (c *Client) verdict(ctx context.Context, s server, q question, m *dns.Msg) error {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return c.diagnose(ctx, s, q, newResponseError(s.addr, m))
	case !m.RecursionAvailable:
		return ErrNotRecursive
	}
	return nil
}

// diagnose finds out whether a failure is one of validation.
func (c *Client) diagnose(ctx context.Context, s server, q question, fault *ResponseError) error {
	if fault.Code != dns.RcodeServerFailure || !q.checking {
		return fault
	}
	if fault.bogus() {
		return &bogusError{fault}
	}
	if fault.explained() {
		return fault
	}
	// RFC 4035, Section 3.2.2: with the CD bit, the same question has an answer
	// unless something else is wrong.
	q.checking = false
	if m, err := c.exchange(ctx, s, q); err == nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
		return &bogusError{fault}
	}
	return fault
}

// lookupError describes a failure.
func lookupError(ctx context.Context, name string, kind uint16, err error) error {
	return &dane.LookupError{Name: name, Type: dns.TypeToString[kind], Reason: reason(ctx, err), Err: err}
}

func reason(ctx context.Context, err error) dane.Reason {
	var response *ResponseError
	var format *dns.Error
	var network net.Error
	switch {
	case errors.As(err, new(*bogusError)):
		return dane.Bogus
	case errors.Is(ctx.Err(), context.Canceled):
		return dane.Canceled
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return dane.Timeout
	case errors.As(err, &response):
		switch response.Code {
		case dns.RcodeServerFailure:
			return dane.ServFail
		case dns.RcodeRefused:
			return dane.Refused
		}
		return dane.OtherCode
	case errors.Is(err, ErrNotRecursive):
		return dane.Refused
	case errors.Is(err, ErrAliases):
		return dane.TooMany
	case errors.As(err, &format), errors.Is(err, errMismatch), errors.Is(err, errContradiction), errors.Is(err, errCase):
		return dane.Malformed
	case errors.As(err, &network) && network.Timeout():
		return dane.Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return dane.Network
	}
	return dane.Network
}

// printable returns a name for an error.
func printable(name string) string {
	const most = 255
	if len(name) > most {
		name = name[:most] + "…"
	}
	return name
}
