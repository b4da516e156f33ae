package dnsclient

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/pki/dane"
)

// errRecord says that a record cannot be read.
var errRecord = errors.New("a record is malformed")

// lookup resolves a name and converts the records. All lookups follow aliases, but
// that of CNAME. Errors are of type [*dane.LookupError].
func lookup[T any](ctx context.Context, c *Client, name string, kind uint16, convert func(dns.RR) (T, bool)) (*dane.Answer[T], error) {
	r, err := c.resolve(ctx, name, kind, kind != dns.TypeCNAME)
	if err != nil {
		return nil, err
	}
	answer := &dane.Answer[T]{Secure: r.secure, NXDomain: r.nxdomain, Name: hostName(r.name), TTL: r.ttl}
	for _, rr := range r.records {
		record, ok := convert(rr)
		if !ok {
			return nil, &dane.LookupError{Name: hostName(name), Type: dns.TypeToString[kind], Reason: dane.Malformed, Err: errRecord}
		}
		answer.Records = append(answer.Records, record)
	}
	return answer, nil
}

// hostName returns a name in lower case and without its last dot, but for the
// root, which is ".".
func hostName(name string) string {
	name = dns.CanonicalName(name)
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

func association(usage, selector, matching uint8, data string) (dane.Record, bool) {
	octets, err := hex.DecodeString(data)
	return dane.Record{Usage: dane.Usage(usage), Selector: dane.Selector(selector), MatchingType: dane.MatchingType(matching), Data: octets}, err == nil
}

// LookupTLSA implements dane.Resolver.
func (c *Client) LookupTLSA(ctx context.Context, name string) (*dane.Answer[dane.Record], error) {
	return lookup(ctx, c, name, dns.TypeTLSA, func(rr dns.RR) (dane.Record, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return dane.Record{}, false
		}
		return association(t.Usage, t.Selector, t.MatchingType, t.Certificate)
	})
}

// LookupSMIMEA implements dane.Resolver.
func (c *Client) LookupSMIMEA(ctx context.Context, name string) (*dane.Answer[dane.Record], error) {
	return lookup(ctx, c, name, dns.TypeSMIMEA, func(rr dns.RR) (dane.Record, bool) {
		t, ok := rr.(*dns.SMIMEA)
		if !ok {
			return dane.Record{}, false
		}
		return association(t.Usage, t.Selector, t.MatchingType, t.Certificate)
	})
}

// LookupMX implements dane.Resolver.
func (c *Client) LookupMX(ctx context.Context, name string) (*dane.Answer[dane.MX], error) {
	return lookup(ctx, c, name, dns.TypeMX, func(rr dns.RR) (dane.MX, bool) {
		t, ok := rr.(*dns.MX)
		if !ok {
			return dane.MX{}, false
		}
		return dane.MX{Preference: t.Preference, Host: hostName(t.Mx)}, true
	})
}

// LookupA implements dane.Resolver.
func (c *Client) LookupA(ctx context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return lookup(ctx, c, name, dns.TypeA, func(rr dns.RR) (netip.Addr, bool) {
		t, ok := rr.(*dns.A)
		if !ok {
			return netip.Addr{}, false
		}
		addr, ok := netip.AddrFromSlice(t.A)
		return addr.Unmap(), ok
	})
}

// LookupAAAA implements dane.Resolver.
func (c *Client) LookupAAAA(ctx context.Context, name string) (*dane.Answer[netip.Addr], error) {
	return lookup(ctx, c, name, dns.TypeAAAA, func(rr dns.RR) (netip.Addr, bool) {
		t, ok := rr.(*dns.AAAA)
		if !ok {
			return netip.Addr{}, false
		}
		return netip.AddrFromSlice(t.AAAA)
	})
}

// LookupSRV implements dane.Resolver.
func (c *Client) LookupSRV(ctx context.Context, name string) (*dane.Answer[dane.SRV], error) {
	return lookup(ctx, c, name, dns.TypeSRV, func(rr dns.RR) (dane.SRV, bool) {
		t, ok := rr.(*dns.SRV)
		if !ok {
			return dane.SRV{}, false
		}
		return dane.SRV{Priority: t.Priority, Weight: t.Weight, Port: t.Port, Target: hostName(t.Target)}, true
	})
}

// LookupTXT implements dane.Resolver.
func (c *Client) LookupTXT(ctx context.Context, name string) (*dane.Answer[string], error) {
	return lookup(ctx, c, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		t, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return unescape(strings.Join(t.Txt, ""))
	})
}

// LookupCNAME implements dane.Resolver. Of a name below a DNAME record, resolvers
// make the CNAME record up, and some (Unbound 1.17) then fail to validate it.
func (c *Client) LookupCNAME(ctx context.Context, name string) (*dane.Answer[string], error) {
	answer, err := lookup(ctx, c, name, dns.TypeCNAME, func(rr dns.RR) (string, bool) {
		t, ok := rr.(*dns.CNAME)
		if !ok {
			return "", false
		}
		return hostName(t.Target), true
	})
	if err == nil && len(answer.Records) > 1 { // RFC 2181, Section 10.1
		return nil, &dane.LookupError{Name: hostName(name), Type: "CNAME", Reason: dane.Malformed, Err: errContradiction}
	}
	return answer, err
}

// unescape returns the octets of the text form of a string, where others than
// printable ASCII are \DDD and some are \X.
func unescape(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			continue
		}
		rest := s[i+1:]
		switch {
		case len(rest) >= 3 && isDigit(rest[0]) && isDigit(rest[1]) && isDigit(rest[2]):
			n := int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
			if n > 255 {
				return "", false
			}
			out.WriteByte(byte(n))
			i += 3
		case len(rest) > 0:
			out.WriteByte(rest[0])
			i++
		default:
			return "", false
		}
	}
	return out.String(), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
