package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
)

// A Set is the accounts of a configuration. It is safe for concurrent use;
// Close must be called.
type Set struct {
	shared *shared
	byName map[string]*account
	ctx    context.Context
	cancel context.CancelFunc
}

// Open opens the accounts of a configuration, and reads the authorities. All that
// fails is in the error, which joins *Error for each account and *fs.PathError
// or *keystore.FileError for files of authorities.
func Open(ctx context.Context, c *config.Config) (*Set, error) {
	life, cancel := context.WithCancel(context.Background())
	sh, err := newShared(life, c)
	s := &Set{shared: sh, byName: make(map[string]*account), ctx: life, cancel: cancel}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	var errs []error
	for _, conf := range c.Accounts {
		a, openErr := open(ctx, conf, sh)
		if openErr != nil {
			errs = append(errs, &Error{conf.Login, openErr})
			continue
		}
		s.byName[conf.Login] = a
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, s.Close())...)
	}
	return s, nil
}

// Close closes the stores, and locks all keys.
func (s *Set) Close() error {
	s.cancel()
	var errs []error
	for _, a := range s.byName {
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

// Keys returns those of an account, for what is not of a client that logs in: nil
// for a login name that is not configured, and locked ones where a login unlocks
// them.
func (s *Set) Keys(login string) smtpproxy.Keys {
	if a := s.byName[login]; a != nil {
		return &access{a, a.keys}
	}
	return nil
}

// Owner returns the login name of the account that a mail address is one of, or
// "".
func (s *Set) Owner(address string) string {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return ""
	}
	for _, conf := range s.shared.conf.Accounts {
		if slices.Contains(conf.Addresses, normal) {
			return conf.Login
		}
	}
	return ""
}

// A Source is a source of certificates that was asked.
type Source struct {
	Name string
	Err  error // nil when it has answered
}

// Sources asks each source of certificates, but for the stores of accounts, for the
// first address of an account. Without accounts nobody is asked.
func (s *Set) Sources(ctx context.Context) []Source {
	if len(s.shared.conf.Accounts) == 0 {
		return nil
	}
	a := s.byName[s.shared.conf.Accounts[0].Login]
	var out []Source
	for _, f := range a.source.(*keystore.Chain).Finders {
		if f == keystore.Finder(a.store) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, time.Duration(s.shared.conf.Certificates.Timeout))
		_, err := f.Find(one, a.conf.Addresses[0])
		cancel()
		out = append(out, Source{f.Source(), err})
	}
	return out
}

// A Problem is something of an account that a person should know.
type Problem struct {
	Login, Address string
	Err            error
}

// Error returns a sentence for people.
func (p *Problem) Error() string {
	return fmt.Sprintf("account %q cannot sign as %s: %v", p.Login, p.Address, p.Err)
}

// Unwrap returns p.Err.
func (p *Problem) Unwrap() error { return p.Err }

// Check tries every address of every account whose keys wait for no login. The
// problems are in the order of the configuration.
func (s *Set) Check(ctx context.Context) []*Problem {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, len(s.byName)))*timeout)
	defer cancel()
	var out []*Problem
	for _, conf := range s.shared.conf.Accounts {
		if locked(&conf) {
			continue
		}
		a := s.Keys(conf.Login)
		for _, address := range conf.Addresses {
			if _, err := a.Signer(ctx, address); err != nil {
				out = append(out, &Problem{conf.Login, address, err})
			}
		}
	}
	return out
}
