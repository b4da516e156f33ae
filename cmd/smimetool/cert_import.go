package main

import (
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

const certImportLong = `
Takes certificates into your store, PEM, DER or PKCS#7 (.p7c), for the addresses in
them or that after --address.

With --trust you say that they are those of their holders: people whom you know are
encrypted to and trusted as signers, and authorities vouch for others from then on.
Compare the fingerprints that are shown with the holders before.

Without --trust certificates of people are used when an authority that you trust
vouches for them, and authorities are left out.
`

type certImport struct {
	trust   bool
	address string
}

func newCertImport(a *app) *cobra.Command {
	f := &certImport{}
	cmd := a.newCommand("import [--trust] [--address ADDRESS] FILE...", "Take certificates into your store", certImportLong, maxCertFiles,
		func(args []string) error { return a.certImport(f, args) })
	cmd.Flags().BoolVar(&f.trust, "trust", false, "trust that they are those of their holders")
	cmd.Flags().StringVar(&f.address, "address", "", "use it for `ADDRESS`, whatever addresses are in it")
	return cmd
}

func (a *app) certImport(f *certImport, files []string) error {
	if len(files) == 0 {
		return usagef("import what? Give a file")
	}
	certs, err := a.readCerts(files)
	if err != nil {
		return err
	}
	for _, c := range certs {
		if !vouches(c) && f.address == "" && len(c.Emails) == 0 {
			return &usageError{"the certificate of " + person(c) + " has no mail address", []string{"say for which it is: --address ADDRESS"}}
		}
	}
	s, err := a.home.openOrMake(a.context())
	if err != nil {
		return err
	}
	chain := slices.DeleteFunc(slices.Clone(certs), func(c *pki.Certificate) bool { return !vouches(c) })
	for _, c := range certs {
		if vouches(c) {
			err = a.importAuthority(f, s, c)
		} else {
			err = a.importPerson(f, s, c, chain)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// vouches reports whether a certificate is that of an authority. Old roots do
// not say that they are, and a person's certificate does that "openssl req -x509"
// made: it is for mail of its own, and has no key usage of an authority.
func vouches(c *pki.Certificate) bool {
	if x := c.X509; x != nil && len(x.EmailAddresses) > 0 && c.CanSign() && c.CanEncrypt() &&
		c.KeyUsage&x509.KeyUsageCertSign == 0 && pki.NamesEqual(c.RawIssuer, c.RawSubject) {
		return false
	}
	return c.IsCA || c.Version < 3 && len(c.Emails) == 0 && pki.NamesEqual(c.RawIssuer, c.RawSubject)
}

func (a *app) importAuthority(f *certImport, s *store.Store, c *pki.Certificate) error {
	if !f.trust {
		a.say("left out " + printable(person(c)) + ", an authority: --trust has it vouch for others")
		return nil
	}
	print, err := s.AddAuthority(a.context(), c)
	if err != nil {
		return err
	}
	return a.tellImport(c, print, "is trusted to vouch for others")
}

func (a *app) importPerson(f *certImport, s *store.Store, c *pki.Certificate, chain []*pki.Certificate) error {
	addresses := c.Emails
	if f.address != "" {
		addresses = []string{f.address}
	}
	opts := store.AddOptions{Chain: chain}
	what := "is imported"
	if f.trust {
		opts.Decision, what = store.Trusted, "is trusted"
	}
	for _, address := range addresses {
		print, err := s.AddCertificate(a.context(), address, c, opts)
		if err != nil {
			return err
		}
		if err = a.tellImport(c, print, what+" for "+address); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) tellImport(c *pki.Certificate, print store.Fingerprint, what string) error {
	_, err := fmt.Fprintf(a.stdout, "%s %s (%s, %s)\n  fingerprint %s\n", printable(person(c)), printable(what), usage(c), validity(c), grouped(print))
	return err
}
