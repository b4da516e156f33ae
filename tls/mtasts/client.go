package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/postseal/postseal/pki/dane"
)

// Options are those of a [Client]. Zero values are the defaults.
type Options struct {
	// Resolver is required.
	Resolver dane.Resolver
	// Cache is required; see [OpenCache] and [NewMemoryCache].
	Cache *Cache
	// Roots are the authorities for web servers; nil means those of the system.
	Roots *x509.CertPool
	// Timeout bounds the fetching of one policy; default 30 seconds.
	Timeout time.Duration
	// RefreshAfter is how old a policy gets before it is fetched again, even if
	// its id is still the same; default 24 hours.
	RefreshAfter time.Duration
	// RetryAfter is for how long nothing is fetched from a web server that failed;
	// default 5 minutes (RFC 8461, Section 3.3).
	RetryAfter time.Duration
	// Dial makes connections to web servers, whose name and port it gets; nil
	// means a net.Dialer, with the addresses that Resolver knows.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Time is the clock; nil means time.Now.
	Time func() time.Time
}

// ErrOptions says that Options have no Resolver or no Cache.
var ErrOptions = errors.New("MTA-STS needs a resolver and a cache")

// A Client finds the policies of domains. It may be used by several goroutines;
// of those that ask for one domain, one at a time asks the network. There is
// nothing to close.
type Client struct {
	opts Options

	mu     sync.Mutex
	busy   map[string]*turn
	failed map[string]failure
}

// A failure is of a web server.
type failure struct {
	id  string
	err error
	at  time.Time
}

// maxFailures bounds how many failures are remembered.
const maxFailures = 10_000

// New returns a Client. opts is copied. The error is [ErrOptions].
func New(opts *Options) (*Client, error) {
	if opts == nil || opts.Resolver == nil || opts.Cache == nil {
		return nil, ErrOptions
	}
	c := &Client{opts: *opts, busy: make(map[string]*turn), failed: make(map[string]failure)}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.opts.Timeout, 30 * time.Second}, {&c.opts.RefreshAfter, 24 * time.Hour}, {&c.opts.RetryAfter, 5 * time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if c.opts.Time == nil {
		c.opts.Time = time.Now
	}
	return c, nil
}

// A Result is what is known of a domain.
type Result struct {
	// Domain is in lower case and has no dot at the end.
	Domain string
	// Policy is nil if the domain has none, as far as is known. Its mode may be
	// None.
	Policy *Policy
	// ID is the policy's, by the record.
	ID string
	// Cached says that the policy was known before.
	Cached bool
	// Fetched and Expires are when the policy was got, and how long it holds.
	Fetched, Expires time.Time
	// Trouble says why there is no policy, or none that is newer: [ErrNoRecord] and
	// its like, a *FetchError, a *dane.LookupError, or that it could not be kept
	// ([ErrFull], a *CacheError). It is nil when all is well.
	Trouble error
}

// String returns a sentence.
func (r *Result) String() string {
	if r.Policy == nil {
		if r.Trouble == nil || errors.Is(r.Trouble, ErrNoRecord) {
			return r.Domain + " has no MTA-STS policy"
		}
		return fmt.Sprintf("%s has no MTA-STS policy that could be had: %v", r.Domain, r.Trouble)
	}
	s := fmt.Sprintf("%s has an MTA-STS policy in mode %s", r.Domain, r.Policy.Mode)
	if r.Cached {
		s += fmt.Sprintf(", known since %s and in force until %s", r.Fetched.UTC().Format(time.DateTime), r.Expires.UTC().Format(time.DateTime))
	}
	if r.Trouble != nil {
		s += fmt.Sprintf(", although %v", r.Trouble)
	}
	return s
}

// clean returns a domain in the form of Result.Domain.
func clean(domain string) (string, error) {
	name, err := dane.CleanName(domain)
	if err != nil {
		return "", &dane.LookupError{Name: domain, Type: "TXT", Reason: dane.BadName, Err: err}
	}
	return name, nil
}

// Lookup finds the policy that is in force for the domain of a mail address, by
// the cache, the TXT record, and the web (RFC 8461, Sections 3 and 5.1).
//
// That there is no record, or that the web server does not give a policy away, is no
// error, as RFC 8461 has it, but the Trouble of the Result. An error is a
// *dane.LookupError: the domain is none, or there is no policy in the cache and the
// record is not known, since the DNS gave no answer, or one whose signatures are wrong,
// or the context has ended.
func (c *Client) Lookup(ctx context.Context, domain string) (*Result, error) {
	domain, err := clean(domain)
	if err != nil {
		return nil, err
	}
	done, err := c.turn(ctx, domain)
	if err != nil {
		return nil, &dane.LookupError{Name: RecordName(domain), Type: "TXT", Reason: dane.Canceled, Err: err}
	}
	defer done()
	now := c.opts.Time()
	cached := c.opts.Cache.get(domain, now)
	id, err := c.record(ctx, domain)
	if lookupErr, ok := errors.AsType[*dane.LookupError](err); ok && cached == nil {
		return nil, lookupErr // who drops answers must not be able to drop a policy
	}
	switch {
	case err != nil:
		// RFC 8461, Section 5.1: a policy that is in force stays so without a record.
		return result(domain, cached, true, err), nil
	case cached != nil && cached.ID == id && c.fresh(cached, now):
		return result(domain, cached, true, nil), nil
	}
	if f, ok := c.failure(domain, now); ok && f.id == id {
		return result(domain, cached, true, f.err), nil
	}
	p, err := c.Fetch(ctx, domain)
	if err != nil {
		if ctx.Err() != nil && cached == nil {
			return nil, &dane.LookupError{Name: RecordName(domain), Type: "TXT", Reason: dane.Canceled, Err: err}
		}
		c.remember(domain, failure{id, err, now})
		return result(domain, cached, true, err), nil
	}
	e := &entry{Domain: domain, ID: id, Fetched: now, Text: p.String(), policy: p}
	return result(domain, e, false, c.opts.Cache.put(e, now)), nil
}

// fresh reports whether a policy need not be fetched again yet. One from the
// future has to be: the clock was wrong.
func (c *Client) fresh(e *entry, now time.Time) bool {
	age := now.Sub(e.Fetched)
	return age > -time.Hour && age < c.opts.RefreshAfter
}

// record asks for the id of a domain's policy.
func (c *Client) record(ctx context.Context, domain string) (string, error) {
	answer, err := c.opts.Resolver.LookupTXT(ctx, RecordName(domain))
	if err != nil {
		return "", err
	}
	return ParseRecord(answer.Records)
}

func result(domain string, e *entry, cached bool, trouble error) *Result {
	r := &Result{Domain: domain, Trouble: trouble}
	if e != nil {
		r.Policy, r.ID, r.Cached, r.Fetched, r.Expires = e.policy, e.ID, cached, e.Fetched, e.expires()
	}
	return r
}

// Refresh looks again at the policies that are old, so that they do not expire
// while their domains have no mail (RFC 8461, Section 3.3). It is meant to be
// called once a day or more often. It fails only when the context ends.
func (c *Client) Refresh(ctx context.Context) error {
	for _, domain := range c.opts.Cache.stale(c.opts.Time().Add(-c.opts.RefreshAfter)) {
		_, _ = c.Lookup(ctx, domain) // what is in force stays
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// failure returns the failure of a domain's web server that still counts.
func (c *Client) failure(domain string, now time.Time) (failure, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.failed[domain]
	return f, ok && now.Sub(f.at) < c.opts.RetryAfter
}

func (c *Client) remember(domain string, f failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxFailures {
		for d, old := range c.failed {
			if f.at.Sub(old.at) >= c.opts.RetryAfter {
				delete(c.failed, d)
			}
		}
	}
	if len(c.failed) < maxFailures {
		c.failed[domain] = f
	}
}

// A turn is for those who ask for one domain.
type turn struct {
	free    chan struct{} // has one element while nobody has the turn
	waiting int
}

// turn waits until nobody else asks for a domain.
func (c *Client) turn(ctx context.Context, domain string) (done func(), err error) {
	c.mu.Lock()
	t := c.busy[domain]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		c.busy[domain] = t
	}
	t.waiting++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(c.busy, domain)
		}
	}
	select {
	case <-t.free:
		return func() { t.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
