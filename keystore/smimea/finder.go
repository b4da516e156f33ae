package smimea

import (
	"context"
	"errors"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// Options of a [Finder]. Zero values are the defaults.
type Options struct {
	// Candidates is asked for certificates when the records have only hashes,
	// keys or CAs; what it finds is then judged by the records. Nil means that
	// only the certificates in the records themselves are found.
	Candidates keystore.Finder
	// Allow names the weak algorithms that are accepted in the signatures of
	// paths to a trust anchor; see pki.ChainOptions.
	Allow []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Finder asks the DNS. It may be used by several goroutines.
type Finder struct {
	resolver dane.Resolver
	opts     Options
}

var _ keystore.Finder = (*Finder)(nil)

// New returns a Finder. opts may be nil and is copied. The only error is
// [ErrNoResolver].
func New(resolver dane.Resolver, opts *Options) (*Finder, error) {
	if resolver == nil {
		return nil, ErrNoResolver
	}
	f := &Finder{resolver: resolver}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.Now == nil {
		f.opts.Now = time.Now
	}
	return f, nil
}

// Source implements keystore.Finder.
func (f *Finder) Source() string { return "SMIMEA records in the DNS" }

// Find implements keystore.Finder. It returns the certificates that are in the
// records, and those of Options.Candidates as far as it had to be asked; of these
// the ones that the records deny have an [ErrDenied]. DNSSEC vouches for those that
// have Vouched set, and Detail has the usage that says so, such as "DANE-EE".
//
// None and a nil error mean that DNSSEC vouches for there being no records, or that
// no certificate is known for those that there are. Every error is a
// [*keystore.SourceError], with an [*InsecureError], a [*dane.LookupError],
// [ErrAddress] or an error of Options.Candidates in it; with the last, there may be
// certificates too.
func (f *Finder) Find(ctx context.Context, address string) ([]keystore.Found, error) {
	s, err := f.lookup(ctx, address)
	if errors.Is(err, ErrNoRecords) || errors.Is(err, ErrUnusable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []keystore.Found
	for _, c := range s.leaves {
		v := s.judge(c, nil)
		found = append(found, keystore.Found{Certificate: c, Chain: without(s.given, c), Source: f.Source(), Detail: v.detail(),
			Vouched: v.vouched, Err: s.usable(c, v)})
	}
	if f.opts.Candidates != nil && s.needsOthers() {
		var more []keystore.Found
		more, err = f.candidates(ctx, s)
		found = append(found, more...)
	}
	keystore.SortFound(found)
	return found, err
}

func without(certs []*pki.Certificate, c *pki.Certificate) []*pki.Certificate {
	var out []*pki.Certificate
	for _, o := range certs {
		if o != c {
			out = append(out, o)
		}
	}
	return out
}

// usable is the Err of what was found.
func (s *set) usable(c *pki.Certificate, v verdict) error {
	address := s.address
	if v.usage == dane.DANEEE && v.vouched || hasAddress(c, address) {
		address = ""
	}
	if err := keystore.CheckEncryption(c, address, s.now); err != nil {
		return err
	}
	if !v.allowed {
		return ErrDenied
	}
	return nil
}

// candidates judges what another source has.
func (f *Finder) candidates(ctx context.Context, s *set) ([]keystore.Found, error) {
	found, err := f.opts.Candidates.Find(ctx, s.address)
	if err != nil && !errors.As(err, new(*keystore.SourceError)) {
		err = &keystore.SourceError{Source: f.opts.Candidates.Source(), Err: err}
	}
	var out []keystore.Found
	for _, c := range found {
		if c.Certificate == nil || contains(s.leaves, c.Certificate) || len(out) == maxOthers {
			continue
		}
		v := s.judge(c.Certificate, c.Chain)
		var unusable *keystore.UnusableError
		switch {
		case c.Err == nil, errors.As(c.Err, &unusable) && unusable.Reason == keystore.UnusableAddress:
			c.Err = s.usable(c.Certificate, v)
		}
		if c.Detail = "found in " + c.Source; v.allowed {
			c.Detail = v.detail() + ", " + c.Detail
		}
		c.Source, c.Vouched = f.Source(), v.vouched
		out = append(out, c)
	}
	return out, err
}

// Check tells what the SMIMEA records of an address say of a certificate that was
// found elsewhere, such as in a signed message. others are further certificates
// from there; nobody needs to vouch for them.
//
// Nil means that DNSSEC vouches for the certificate: it is confirmed. The other
// outcomes are [ErrNotVouched], where a path to a root has to vouch for the
// certificate; [ErrDenied]; [ErrNoRecords] and [ErrUnusable], which say nothing of
// the certificate; or a [*keystore.SourceError] when the records are not known.
//
// With nil, the certificate is for the address. Its other properties are to be
// checked by whoever uses it.
func (f *Finder) Check(ctx context.Context, address string, c *pki.Certificate, others []*pki.Certificate) error {
	s, err := f.lookup(ctx, address)
	if err != nil {
		return err
	}
	switch v := s.judge(c, others); {
	case v.vouched:
		return nil
	case v.allowed:
		return ErrNotVouched
	}
	return ErrDenied
}

// lookup returns the records of an address that can be used. Its errors are those
// of Check.
func (f *Finder) lookup(ctx context.Context, address string) (*set, error) {
	name, err := Name(address)
	if err != nil {
		return nil, f.fail(err)
	}
	answer, err := f.resolver.LookupSMIMEA(ctx, name)
	if err != nil {
		return nil, f.fail(err)
	}
	// RFC 6698, Section 4.1: what is not secure is not used. That there are no
	// records is known no better.
	if !answer.Secure {
		return nil, f.fail(&InsecureError{Name: name})
	}
	if len(answer.Records) == 0 {
		return nil, ErrNoRecords
	}
	s := newSet(address, answer.Records, f.opts.Now(), f.opts.Allow)
	if len(s.records) == 0 {
		return nil, ErrUnusable
	}
	return s, nil
}

func (f *Finder) fail(err error) error { return &keystore.SourceError{Source: f.Source(), Err: err} }
