package policy

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

// A Host is a server of a [Plan], and what it has to show.
type Host struct {
	// Name is a domain name in A-labels, or an IP address.
	Name string
	Port uint16
	// Addresses are in the order in which they are tried; none if the system is to
	// be asked for them.
	Addresses []netip.Addr
	Rule      Rule
	// Why says what led to Rule.
	Why []string
	// Names are those of which the certificate has to have one, where names count;
	// see [tls.VerifyName].
	Names []string
	// ServerName is what the server is asked for (SNI); empty for an address.
	ServerName string
	// TLSA are the records that DNSSEC vouches for, the unusable ones too, and
	// TLSAName where they are.
	TLSA     []dane.Record
	TLSAName string
	// Err is an *Error if the server must not be connected to.
	Err error

	also    []string // DANE has to match besides, with these names
	pins    []Pin
	testing bool   // MTA-STS in mode testing
	outside string // then, and in mode enforce: why the host is not in the policy, or ""
	roots   *x509.CertPool
	usages  []dane.Usage
}

// Address returns host and port.
func (h *Host) Address() string { return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port))) }

func (h *Host) because(format string, args ...any) {
	h.Why = append(h.Why, printable(fmt.Sprintf(format, args...)))
}

// fail keeps a host from being connected to.
func (h *Host) fail(reason Reason, err error) {
	h.Err = &Error{Reason: reason, Server: h.Address(), Rule: h.Rule, Why: slices.Clone(h.Why), Err: err}
}

// failLookup does so since something could not be looked up.
func (h *Host) failLookup(err error) {
	h.because("%v", err)
	h.fail(lookupReason(err), err)
}

// lookupReason is for errors of a dane.Resolver.
func lookupReason(err error) Reason {
	lookup, ok := errors.AsType[*dane.LookupError](err)
	switch {
	case errors.As(err, new(*NoServiceError)):
		return NoSuchHost
	case ok && lookup.Reason == dane.Bogus:
		return Bogus
	case ok && lookup.Reason == dane.BadName:
		return NoSuchHost
	}
	return LookupFailed
}

// resolve finds the addresses of a host. base is the name that the last alias
// leads to, or "" if DNSSEC does not vouch for it, and own says whether DNSSEC
// vouches for where the host's own name leads.
func (h *Host) resolve(ctx context.Context, r dane.Resolver) (base string, own bool, err error) {
	six, err := r.LookupAAAA(ctx, h.Name)
	if err != nil {
		return "", false, err
	}
	four, err := r.LookupA(ctx, h.Name)
	if err != nil {
		return "", false, err
	}
	// RFC 8305, Section 4: both families in turn, so that neither hides the other.
	for i := range max(len(six.Records), len(four.Records)) {
		for _, list := range [][]netip.Addr{six.Records, four.Records} {
			if i < len(list) && len(h.Addresses) < maxAddresses {
				h.Addresses = append(h.Addresses, list[i])
			}
		}
	}
	secure := six.Secure && four.Secure
	base = four.Name
	if len(four.Records) == 0 {
		base = six.Name
	}
	if secure || base == h.Name {
		if !secure {
			base = ""
		}
		return base, secure, nil
	}
	// RFC 7672, Section 2.1.3: a secure alias for a name that is not.
	alias, err := r.LookupCNAME(ctx, h.Name)
	if err != nil {
		return "", false, err
	}
	return "", alias.Secure && len(alias.Records) > 0, nil
}

// findTLSA looks for TLSA records under the names of a host: that where its last
// alias leads to, and its own (RFC 7672, Section 2.2.3; RFC 7671, Section 7). It
// returns the one under which DNSSEC vouches for some, or "".
func (h *Host) findTLSA(ctx context.Context, r dane.Resolver, expanded string, own bool) (base string, err error) {
	if !own {
		// RFC 7672, Section 2.1.2: then TLSA records are not even asked for.
		h.because("DNSSEC does not vouch for the addresses of %s, so DANE does not apply", h.Name)
		return "", nil
	}
	candidates := []string{h.Name}
	if expanded != "" && expanded != h.Name {
		candidates = []string{expanded, h.Name}
	}
	for _, candidate := range candidates {
		name, err := dane.TLSAName(candidate, "tcp", h.Port)
		if err != nil {
			return "", err
		}
		answer, err := r.LookupTLSA(ctx, name)
		switch {
		case err != nil:
			return "", err
		case len(answer.Records) == 0:
			h.because("there are no TLSA records at %s", name)
		case !answer.Secure:
			h.because("there are TLSA records at %s that DNSSEC does not vouch for, so they do not count", name)
		case len(answer.Records) > maxRecords:
			return "", &dane.LookupError{Name: name, Type: "TLSA", Reason: dane.TooMany}
		default:
			h.TLSA, h.TLSAName = answer.Records, name
			return candidate, nil
		}
	}
	return "", nil
}

// Limits of what the DNS says.
const (
	maxHosts     = 16  // servers of a domain, after their preference
	maxAddresses = 16  // of a server
	maxRecords   = 256 // TLSA records of a server
)

// Judge says whether a server that has been connected to is one by the policy. The
// state is that of a connection after its handshake, whose certificates nobody has
// looked at. The error is an *Error.
func (h *Host) Judge(state *cryptotls.ConnectionState, now time.Time) (*Verdict, error) {
	v := &Verdict{Host: h.Name, Port: h.Port, Rule: h.Rule, Why: slices.Clone(h.Why), TLSAName: h.TLSAName, Encrypted: true}
	err := h.judge(v, state.PeerCertificates, now)
	if err != nil {
		e := &Error{Reason: reasonOf(err), Server: h.Address(), Rule: h.Rule, Err: err}
		v.because("%v", err)
		e.Why = v.Why
		return nil, e
	}
	v.Authenticated = h.Rule.authenticates()
	if h.testing {
		h.test(v, state.PeerCertificates, now)
	}
	return v, nil
}

func (h *Host) judge(v *Verdict, chain []*x509.Certificate, now time.Time) error {
	if len(h.also) > 0 {
		if err := h.judgeDANE(v, h.also, chain, now); err != nil {
			return err
		}
		v.Name = ""
	}
	switch h.Rule {
	case RuleDANE:
		return h.judgeDANE(v, h.Names, chain, now)
	case RulePKIX, RuleMTASTS:
		return h.judgePKIX(v, chain, now)
	case RulePinned:
		return h.judgePinned(v, chain, now)
	}
	if len(h.also) > 0 {
		v.because("nobody vouches for the host to be one of the domain")
	} else {
		v.because("the certificate does not count")
	}
	return nil
}

func (h *Host) judgeDANE(v *Verdict, names []string, chain []*x509.Certificate, now time.Time) error {
	match, err := dane.Verify(h.TLSA, chain, &dane.VerifyOptions{Usages: h.usages, Roots: h.roots, Time: now,
		Name: func(c *x509.Certificate) (nameErr error) {
			v.Name, nameErr = tls.VerifyName(c, names...)
			return nameErr
		}})
	if err != nil {
		v.Name = ""
		return err
	}
	v.TLSA, v.Path = &match.Record, match.Path
	if match.Record.Usage == dane.DANEEE {
		v.because("the TLSA record %s is for the server's own certificate, whose names and dates do not count", match.Record.Short())
		return nil
	}
	v.because("the TLSA record %s (%v) vouches for the certificate, which is for %s", match.Record.Short(), match.Record.Usage, v.Name)
	return nil
}

// judgePKIX looks for a path, and then for a name (RFC 9525).
func (h *Host) judgePKIX(v *Verdict, chain []*x509.Certificate, now time.Time) error {
	paths, err := h.paths(chain, now)
	if err != nil {
		return err
	}
	if v.Name, err = tls.VerifyName(chain[0], h.Names...); err != nil {
		return err
	}
	v.Path = paths[0]
	v.because("the certificate is for %s, and %s vouches for it", v.Name, paths[0][len(paths[0])-1].Subject)
	return nil
}

// errNoCertificate says so.
var errNoCertificate = errors.New("the server has shown no certificate")

func (h *Host) paths(chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errNoCertificate
	}
	pool := x509.NewCertPool()
	for _, c := range chain[1:] {
		pool.AddCert(c)
	}
	return chain[0].Verify(x509.VerifyOptions{Roots: h.roots, Intermediates: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// judgePinned looks for a pin: of the certificate itself, or, where there are names,
// of one on its path.
func (h *Host) judgePinned(v *Verdict, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errNoCertificate
	}
	paths := [][]*x509.Certificate{chain[:1:1]}
	if len(h.Names) > 0 {
		if err := h.judgePKIX(v, chain, now); err != nil {
			return err
		}
		var err error
		if paths, err = h.paths(chain, now); err != nil {
			return err
		}
	}
	for _, path := range paths {
		for _, c := range path {
			if i := slices.IndexFunc(h.pins, func(p Pin) bool { return p.Matches(c) }); i >= 0 {
				v.Pin, v.Path = &h.pins[i], path
				v.because("%v is pinned", h.pins[i])
				return nil
			}
		}
	}
	return &Error{Reason: PinMismatch, Server: h.Address(), Err: &PolicyError{"no pin is for the certificate that the server has shown, which has " + PinKey(chain[0]).String()}}
}

// test holds a connection against a policy in mode "testing".
func (h *Host) test(v *Verdict, chain []*x509.Certificate, now time.Time) {
	strict := *h
	strict.Rule, strict.Names, strict.also = RuleMTASTS, []string{h.Name}, nil
	err := strict.judge(&Verdict{}, chain, now)
	if h.outside != "" {
		err = &Error{Reason: NotInPolicy, Server: h.Address(), Err: &PolicyError{h.outside}}
	}
	if err == nil {
		v.because("MTA-STS in mode enforce would be kept")
		return
	}
	h.wouldFail(v, err)
}

func (h *Host) wouldFail(v *Verdict, err error) {
	v.Testing = &Error{Reason: reasonOf(err), Server: h.Address(), Rule: RuleMTASTS, Err: err}
	v.because("MTA-STS in mode enforce would have refused this: %v", err)
}

// records counts records for people.
func records(n int) string {
	if n == 1 {
		return "one TLSA record"
	}
	return fmt.Sprintf("%d TLSA records", n)
}

// alternatives joins names for people.
func alternatives(names []string) string { return strings.Join(names, " or ") }
