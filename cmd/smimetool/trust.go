package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
)

// errNoRoots says that a signer cannot be trusted because nobody is.
var errNoRoots = errors.New("no certificates to trust were given")

// trustFlags say whose signatures are good, and when.
type trustFlags struct {
	roots      []string
	none       bool // --no-trust
	at         string
	allow      allowFlag
	certs      []string
	revocation revocationFlags
	// observe is told of the path to an authority, and of revocation; may be nil.
	observe func([]*pki.Certificate, []pki.CertificateStatus)
}

func (f *trustFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.roots, "trust", nil, "certificates in `FILE` to trust, PEM or DER: authorities, or people (repeatable; default: those of the store and the configuration)")
	flags.BoolVar(&f.none, "no-trust", false, "check signatures alone, whoever made them")
	flags.StringVar(&f.at, "at", "", "judge certificates as of `TIME`, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	flags.StringArrayVar(&f.certs, "certificate", nil, "more certificates, of signers and issuers, in `FILE`; they are not trusted (repeatable)")
	f.allow.register(cmd)
	f.revocation.register(cmd)
	storeFlags(a, cmd)
	markFiles(cmd, "trust", "certificate")
}

// check finds mistakes that need no file.
func (f *trustFlags) check() error {
	if f.none && len(f.roots) > 0 {
		return usagef("--trust and --no-trust exclude each other")
	}
	if f.none && f.revocation.given() {
		return usagef("--no-trust excludes --crl, --fetch and --revocation: nothing is asked about certificates")
	}
	_, err := f.time()
	return errors.Join(err, f.revocation.check())
}

// require is for commands that make no sense without trust. A store is as good
// as roots.
func (a *app) requireTrust(f *trustFlags) error {
	if !f.none && len(f.roots) == 0 {
		c, err := a.home.settings()
		if err != nil {
			return err
		}
		s, err := a.home.there(a.context())
		if err != nil {
			return err
		}
		if s == nil && len(c.Trust) == 0 {
			return &usageError{"who is trusted? Neither --trust nor --no-trust was given", []string{
				"give the certificates of the authorities that you trust with --trust FILE",
				"smimetool cert import --trust FILE trusts them from now on",
				"--no-trust checks the signature alone, whoever made it",
			}}
		}
	}
	return f.check()
}

// time returns when certificates are judged, zero for now.
func (f *trustFlags) time() (time.Time, error) {
	if f.at == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, f.at); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{"--at: not a time: " + quote(f.at), []string{"times look like 2026-01-31 or 2026-01-31T12:00:00Z"}}
}

// trust returns who is trusted: those after --trust, or else those of the
// store and the configuration. With neither that is nobody.
func (a *app) trust(f *trustFlags) (cms.Trust, error) {
	if f.none {
		return cms.InsecureTrustAnySigner, nil
	}
	revocation, err := a.revocation(&f.revocation)
	if err != nil {
		return nil, err
	}
	paths := func(roots *pki.Roots) cms.Trust {
		p := *revocation
		p.Roots, p.AllowExpired = roots, f.allow.expired()
		if f.observe != nil {
			p.Checked = f.observe
		}
		return &p
	}
	if len(f.roots) > 0 {
		roots, readErr := a.readCerts(f.roots)
		if readErr != nil {
			return nil, readErr
		}
		return paths(pki.NewRoots(roots)), nil
	}
	return a.standingTrust(paths)
}

// standingTrust is in the store and the configuration.
func (a *app) standingTrust(paths func(*pki.Roots) cms.Trust) (cms.Trust, error) {
	c, err := a.home.settings()
	if err != nil {
		return nil, err
	}
	roots, err := a.readCerts(c.Trust)
	if err != nil {
		return nil, err
	}
	s, err := a.home.there(a.context())
	if err != nil {
		return nil, err
	}
	switch {
	case s == nil && len(roots) == 0:
		return cms.TrustFunc(func(*cms.TrustRequest) error { return errNoRoots }), nil
	case s == nil:
		return paths(pki.NewRoots(roots)), nil
	}
	authorities, err := s.Authorities(a.context())
	if err != nil {
		return nil, err
	}
	for _, x := range authorities {
		roots = append(roots, x.Certificate)
	}
	return s.Trust(a.context(), func(*pki.Roots) cms.Trust { return paths(pki.NewRoots(roots)) })
}

// verifyOptions returns all that package cms has to know.
func (a *app) verifyOptions(f *trustFlags) (*cms.VerifyOptions, error) {
	trust, err := a.trust(f)
	if err != nil {
		return nil, err
	}
	at, err := f.time()
	if err != nil {
		return nil, err
	}
	certs, err := a.readCerts(f.certs)
	if err != nil {
		return nil, err
	}
	return &cms.VerifyOptions{Trust: trust, Time: at, Allow: f.allow.cms(), Certificates: certs}, nil
}

// context is that of all that waits.
func (a *app) context() context.Context { return context.Background() }
