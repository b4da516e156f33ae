package account

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/files"
	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane/dnsclient"
	"github.com/postseal/postseal/pki/fetch"
)

// shared is what all accounts of a configuration have in common.
type shared struct {
	conf        *config.Config
	authorities []*pki.Certificate
	paths       cms.PathTrust // with authorities as roots
	dns         *dnsclient.Client
	directories []keystore.Finder
}

// newShared reads files. The context is that of all that is fetched later.
func newShared(ctx context.Context, c *config.Config) (*shared, error) {
	s := &shared{conf: c, paths: cms.PathTrust{Context: ctx}}
	for _, name := range c.Trust.Authorities {
		data, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		certs, err := keystore.ParseCertificates(name, data)
		if err != nil {
			return s, err
		}
		s.authorities = append(s.authorities, certs...)
	}
	s.paths.Roots = pki.NewRoots(s.authorities)
	if err := errors.Join(s.resolver(), s.ldap()); err != nil {
		return s, err
	}
	var client *fetch.Client
	if r := c.Revocation; r.Fetch {
		opts := &fetch.Options{}
		if r.Cache != "" {
			var err error
			if opts.Cache, err = fetch.OpenCache(r.Cache, nil); err != nil {
				return s, err
			}
		}
		client = fetch.New(opts)
		s.paths.Issuers = client
	}
	if mode := c.Revocation.Mode; mode != config.RevocationOff {
		s.paths.Revocation = &pki.Revocation{SoftFail: mode == config.RevocationSoft}
		if client != nil {
			s.paths.Revocation.Fetcher = client
		}
	}
	return s, nil
}

// ldap makes the clients of directories.
func (s *shared) ldap() error {
	for _, l := range s.conf.LDAP {
		opts, err := ldap.ParseURL(l.URL)
		if err != nil {
			return err
		}
		pool, err := config.Roots(l.CA)
		if err != nil {
			return err
		}
		if pool != nil {
			opts.TLS = &cryptotls.Config{RootCAs: pool}
		}
		if l.Password != "" {
			opts.Password = func() ([]byte, error) { return config.FirstLine(l.Password) }
		}
		f, err := ldap.New(opts)
		if err != nil {
			return err
		}
		s.directories = append(s.directories, f)
	}
	return nil
}

// resolver makes the client of the DNS, where one is needed.
func (s *shared) resolver() (err error) {
	if slices.Contains(s.conf.Certificates.Sources, config.SourceSMIMEA) {
		s.dns, err = s.conf.Resolver()
	}
	return err
}

// trust returns who is trusted by an account, as of now.
func (a *account) trust(ctx context.Context) (cms.Trust, error) {
	return a.trusting(ctx, func(own []store.Authority) cms.Trust {
		p := a.paths(own)
		return &p
	})
}

// judge is trust for recipients, whose paths are remembered.
func (a *account) judge(ctx context.Context) (cms.Trust, error) {
	return a.trusting(ctx, func(own []store.Authority) cms.Trust {
		return &judge{memo: a.verdicts, paths: func() cms.PathTrust { return a.paths(own) }, roots: own}
	})
}

// trusting returns who is trusted, with what judges paths to the authorities of the
// configuration and of the account's store.
func (a *account) trusting(ctx context.Context, judging func(own []store.Authority) cms.Trust) (cms.Trust, error) {
	if !a.shared.conf.Trust.Store || a.store == nil {
		return judging(nil), nil
	}
	return a.store.TrustAuthorities(ctx, judging)
}

// paths returns what judges paths to authorities.
func (a *account) paths(own []store.Authority) cms.PathTrust {
	p := a.shared.paths
	if len(own) == 0 {
		return p // each connection has one: those of the configuration are shared
	}
	roots := slices.Clone(a.shared.authorities)
	for i := range own {
		roots = append(roots, own[i].Certificate)
	}
	p.Roots = pki.NewRoots(roots)
	return p
}

// finder returns the sources of certificates for the owner of a store.
func (s *shared) finder(st *store.Store) (keystore.Finder, error) {
	chain := &keystore.Chain{Timeout: time.Duration(s.conf.Certificates.Timeout)}
	for _, name := range s.conf.Certificates.Sources {
		switch name {
		case config.SourceStore:
			if st != nil {
				chain.Finders = append(chain.Finders, st)
			}
		case config.SourceFolder:
			chain.Finders = append(chain.Finders, files.New(s.conf.Certificates.Folder, nil))
		case config.SourceLDAP:
			chain.Finders = append(chain.Finders, s.directories...)
		case config.SourceSMIMEA:
			opts := &smimea.Options{}
			if st != nil {
				opts.Candidates = st
			}
			f, err := smimea.New(s.dns, opts)
			if err != nil {
				return nil, err
			}
			chain.Finders = append(chain.Finders, f)
		}
	}
	return chain, nil
}
