package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

const certVerifyLong = `
Tells whether a certificate, of a file or in your store, is trusted: by whom, by
which path to an authority, and whether it is known to be revoked. The first
certificate of a file is judged; the others may stand on the path.
`

func newCertVerify(a *app) *cobra.Command {
	f := &trustFlags{}
	cmd := a.newCommand("verify [--trust ROOTS] [--fetch] FILE|ADDRESS|FINGERPRINT", "Tell whether a certificate is trusted", certVerifyLong, 1,
		func(args []string) error { return a.certVerify(f, args) })
	f.register(a, cmd)
	return cmd
}

func (a *app) certVerify(f *trustFlags, args []string) error {
	if f.none {
		return usagef("--no-trust excludes itself from this command")
	}
	if err := a.requireTrust(f); err != nil {
		return err
	}
	certs, err := a.certificateWithChain(args)
	if err != nil {
		return err
	}
	var path []*pki.Certificate
	var found []pki.CertificateStatus
	f.observe = func(chain []*pki.Certificate, statuses []pki.CertificateStatus) { path, found = chain, statuses }
	opts, err := a.verifyOptions(f)
	if err != nil {
		return err
	}
	err = opts.Trust.TrustSigner(&cms.TrustRequest{Certificate: certs[0], Time: opts.Time, Allow: opts.Allow,
		Intermediates: append(slices.Clone(certs[1:]), opts.Certificates...)})
	if ce := new(pki.ChainError); errors.As(err, &ce) {
		path = ce.Path
	}
	if printErr := a.tellPath(certs[0], path, found, err); printErr != nil {
		return printErr
	}
	if err != nil {
		return inFile(args[0], &untrustedCertificateError{err})
	}
	return nil
}

// certificateWithChain returns one certificate, and those that came with it.
func (a *app) certificateWithChain(args []string) ([]*pki.Certificate, error) {
	if len(args) > 0 && isFile(args[0]) {
		return a.readCerts(args)
	}
	_, c, err := a.oneCertificate(args)
	if err != nil {
		return nil, err
	}
	out := []*pki.Certificate{c.certificate}
	if c.entry != nil {
		out = append(out, c.entry.Chain...)
	}
	return out, nil
}

// An untrustedCertificateError says why a certificate is not trusted.
type untrustedCertificateError struct{ err error }

func (e *untrustedCertificateError) Error() string { return "not trusted: " + e.err.Error() }
func (e *untrustedCertificateError) Unwrap() error { return e.err }

// tellPath shows the path that was tried, leaf first.
func (a *app) tellPath(c *pki.Certificate, path []*pki.Certificate, found []pki.CertificateStatus, err error) error {
	verdict := a.paint(a.stdout, green, "trusted")
	if err != nil {
		verdict = a.paint(a.stdout, red, "not trusted")
	}
	if _, printErr := fmt.Fprintf(a.stdout, "%s: %s, %s, %s\n", printable(person(c)), verdict, usage(c), validity(c)); printErr != nil {
		return printErr
	}
	if len(path) == 0 && err == nil {
		path = []*pki.Certificate{c}
	}
	for i, one := range path {
		line := fmt.Sprintf("  %d. %s  %s, %s", i+1, short(store.FingerprintOf(one)), printable(one.Subject()), validity(one))
		if err == nil && i == len(path)-1 {
			line += ", trusted by you"
		}
		for _, s := range found {
			if s.Certificate == one {
				line += ", " + revocationWords(s)
			}
		}
		if _, printErr := fmt.Fprintln(a.stdout, line); printErr != nil {
			return printErr
		}
	}
	return nil
}

func revocationWords(s pki.CertificateStatus) string {
	if s.Source == "" {
		return "revocation not known"
	}
	return printable(s.Status.String() + ", says " + s.Source)
}
