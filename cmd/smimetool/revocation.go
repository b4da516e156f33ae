package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/fetch"
)

// The ways in which revocation is asked for.
const (
	revocationOff  = "off"
	revocationSoft = "soft"
	revocationHard = "hard"
)

// revocationFlags say how to find out whether certificates were revoked.
type revocationFlags struct {
	mode  string
	crls  []string
	fetch bool
}

func (f *revocationFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.crls, "crl", nil, "revocation lists (CRLs) in `FILE`, PEM or DER (repeatable)")
	flags.BoolVar(&f.fetch, "fetch", false, "ask the authorities over the network: for CRLs, OCSP, and issuers that the message left out")
	flags.StringVar(&f.mode, "revocation", "", "`HOW` revocation counts: off; soft: what is known to be revoked is refused (default); "+
		"hard: so is what nothing is known of (default with --crl and --fetch)")
	markFiles(cmd, "crl")
	complete(cmd, "revocation", []string{revocationOff, revocationSoft, revocationHard})
}

func (f *revocationFlags) given() bool { return f.mode != "" || f.fetch || len(f.crls) > 0 }

func (f *revocationFlags) check() error {
	switch f.mode {
	case "", revocationSoft, revocationHard:
	case revocationOff:
		if len(f.crls) > 0 {
			return usagef("--revocation off excludes --crl")
		}
	default:
		return &usageError{"--revocation: " + quote(f.mode) + " is not one of its values", []string{"they are off, soft and hard"}}
	}
	return nil
}

// revocation returns a judge of certificates that lacks its roots.
func (a *app) revocation(f *revocationFlags) (*cms.PathTrust, error) {
	p := &cms.PathTrust{Context: a.context()}
	var client *fetch.Client
	if f.fetch {
		var err error
		if client, err = newFetcher(); err != nil {
			return nil, err
		}
		p.Issuers = client
	}
	if f.mode == revocationOff {
		return p, nil
	}
	p.Revocation = &pki.Revocation{SoftFail: f.mode == revocationSoft || f.mode == "" && !f.fetch && len(f.crls) == 0}
	if client != nil {
		p.Revocation.Fetcher = client
	}
	for _, name := range f.crls {
		lists, err := a.readCRLs(name)
		if err != nil {
			return nil, err
		}
		p.Revocation.CRLs = append(p.Revocation.CRLs, lists...)
	}
	if f.given() && p.Revocation.SoftFail {
		p.Checked = a.tellUnknown
	}
	return p, nil
}

// newFetcher returns a client with a cache in the user's cache folder; without
// such a folder nothing is kept.
func newFetcher() (*fetch.Client, error) {
	opts := &fetch.Options{}
	if dir, err := os.UserCacheDir(); err == nil {
		if opts.Cache, err = fetch.OpenCache(filepath.Join(dir, "postseal", "fetch"), nil); err != nil {
			return nil, err
		}
	}
	return fetch.New(opts), nil
}

// readCRLs reads one CRL in DER, or several in PEM.
func (a *app) readCRLs(name string) ([]*pki.CRL, error) {
	data, err := a.readFile(name)
	if err != nil {
		return nil, err
	}
	var out []*pki.CRL
	for _, raw := range pemBlocks(data, "X509 CRL") {
		crl, parseErr := pki.ParseCRL(raw)
		if parseErr != nil {
			return nil, &crlFileError{name: name, err: parseErr}
		}
		out = append(out, crl)
	}
	if len(out) == 0 {
		return nil, &crlFileError{name: name, err: errNoCRL}
	}
	return out, nil
}

var errNoCRL = errors.New("there is no revocation list in it")

// A crlFileError says that a file after --crl is not what it should be.
type crlFileError struct {
	name string
	err  error
}

func (e *crlFileError) Error() string { return e.name + ": " + e.err.Error() }
func (e *crlFileError) Unwrap() error { return e.err }

// tellUnknown warns of certificates that may have been revoked, where that is
// no error.
func (a *app) tellUnknown(_ []*pki.Certificate, found []pki.CertificateStatus) {
	for _, s := range found {
		if unknown, ok := errors.AsType[*pki.RevocationUnknownError](s.Err); ok {
			a.warn("%s", printable(unknown.Error()))
		}
	}
}
