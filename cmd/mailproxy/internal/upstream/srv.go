package upstream

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A Resolver looks up SRV records. *dnsclient.Client is one.
type Resolver interface {
	LookupSRV(ctx context.Context, name string) (*dane.Answer[dane.SRV], error)
}

// maxPlaces bounds how many servers are tried.
const maxPlaces = 4

// services are the names of a protocol's services, and the mode that each stands
// for. RFC 8314, Section 5.1: implicit TLS comes first.
var services = map[string][]struct {
	name string
	mode tls.Mode
}{
	config.SMTP:  {{"_submissions", tls.Implicit}, {"_submission", tls.StartTLS}},
	config.IMAP4: {{"_imaps", tls.Implicit}, {"_imap", tls.StartTLS}},
}

// bySRV finds the servers of a domain by its SRV records (RFC 6186, Section 3).
// targets are hosts that may be named without DNSSEC.
func (f *Finder) bySRV(ctx context.Context, domain string, targets []string, ca string) ([]Place, error) {
	var places []Place
	var foreign bool
	var errs []error
	for _, service := range services[f.listener.Protocol] {
		answer, err := f.resolver.LookupSRV(ctx, service.name+"._tcp."+domain)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, r := range order(answer.Records) {
			// RFC 6186, Section 3.4; RFC 2782: a target of "." is none.
			if r.Target == "." || r.Port == 0 {
				continue
			}
			// RFC 7817, Section 3: the domain as DNS-ID and as SRV-ID. The host only
			// where somebody vouches for its being the right one: DNSSEC, or who
			// wrote the configuration.
			names := []string{domain, service.name + "." + domain}
			switch {
			case answer.Secure || slices.ContainsFunc(targets, func(t string) bool { return strings.EqualFold(t, r.Target) }):
				names = append([]string{r.Target}, names...)
			case !within(r.Target, domain):
				// RFC 6186, Section 6: the user would be asked. Although the
				// certificate has to be one of the domain's, nobody is asked here.
				foreign = true
				continue
			}
			places = append(places, Place{Address: net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port))), Mode: service.mode, Names: names, roots: f.roots[ca]})
		}
	}
	switch {
	case len(places) > 0:
		return places[:min(len(places), maxPlaces)], nil
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	case foreign:
		return nil, ErrTarget
	}
	return nil, ErrNoService
}

// within reports whether a host is a domain or below it.
func within(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(domain)
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// order sorts records as RFC 2782 has it: by priority, and among equals by chance,
// with their weights.
func order(records []dane.SRV) []dane.SRV {
	out := slices.Clone(records)
	slices.SortStableFunc(out, func(a, b dane.SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	for start := 0; start < len(out); {
		end := start
		for end < len(out) && out[end].Priority == out[start].Priority {
			end++
		}
		shuffle(out[start:end])
		start = end
	}
	return out
}

func shuffle(records []dane.SRV) {
	for i := range records {
		rest := records[i:]
		total := 0
		for _, r := range rest {
			total += int(r.Weight) + 1 // those of weight 0 have a small chance
		}
		pick := rand.IntN(total)
		for j, r := range rest {
			if pick -= int(r.Weight) + 1; pick < 0 {
				rest[0], rest[j] = rest[j], rest[0]
				break
			}
		}
	}
}
