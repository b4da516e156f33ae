package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/inspect"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

const certLong = `
Certificates of others, in your store and elsewhere: those of the people whom you
write to, and those of the authorities that you trust.

  smimetool cert import --trust bob.crt      trusts that this is Bob
  smimetool cert find bob@example.org        shows what would be encrypted to

Certificates of people who signed mail that you opened are in the store, too.
`

func newCert(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "cert COMMAND", Short: "Certificates of others: find, import, list, show, verify, trust, reject, remove",
		Long: strings.TrimSpace(certLong), Args: noSuchCommand, RunE: func(*cobra.Command, []string) error {
			return &usageError{"no command was given", []string{"smimetool cert --help lists the commands"}}
		}}
	plain := []*cobra.Command{newCertImport(a), newCertList(a), newCertShow(a), newCertRemove(a),
		newCertDecide(a, "trust", "Trust that a certificate is that of its holder", store.Trusted, `
Trusts that a certificate in your store is that of its address: it is encrypted to
before all others, and what it signs is good. Compare the fingerprint with the
holder before, on the telephone, say.
`), newCertDecide(a, "reject", "Never use a certificate", store.Rejected, `
Rejects a certificate in your store: it is not encrypted to, and what it signs is
not good, whoever vouches for it.
`)}
	for _, sub := range plain {
		storeFlags(a, sub)
	}
	cmd.AddCommand(append(plain, newCertFind(a), newCertVerify(a))...)
	return cmd
}

// A stored certificate is one in the store: of a correspondent, or of an
// authority.
type stored struct {
	address     string // "" for an authority
	fingerprint store.Fingerprint
	certificate *pki.Certificate
	entry       *store.Entry // nil for an authority
	preferred   bool
}

// storedCertificates returns those that are meant by an address, by the
// beginning of a fingerprint or, with "", all.
func (a *app) storedCertificates(s *store.Store, who string) ([]stored, error) {
	normal, addressErr := keystore.NormalizeAddress(who)
	meant := func(address string, f store.Fingerprint) bool {
		return who == "" || addressErr == nil && address == normal || addressErr != nil && matchPrint(who, f)
	}
	people, err := s.Correspondents(a.context(), store.Filter{})
	if err != nil {
		return nil, err
	}
	var out []stored
	for _, p := range people {
		for i := range p.Entries {
			e := &p.Entries[i]
			if meant(p.Address, e.Fingerprint) {
				out = append(out, stored{p.Address, e.Fingerprint, e.Certificate, e, p.Encryption != nil && *p.Encryption == e.Fingerprint})
			}
		}
	}
	authorities, err := s.Authorities(a.context())
	for _, x := range authorities {
		if meant("", x.Fingerprint) {
			out = append(out, stored{fingerprint: x.Fingerprint, certificate: x.Certificate})
		}
	}
	return out, err
}

// meantCertificates is storedCertificates where there has to be one at least.
func (a *app) meantCertificates(args []string) (*store.Store, []stored, error) {
	if len(args) == 0 {
		return nil, nil, usagef("which certificate? Give its address or fingerprint")
	}
	s, err := a.home.open(a.context())
	if err != nil {
		return nil, nil, err
	}
	list, err := a.storedCertificates(s, args[0])
	if err == nil && len(list) == 0 {
		err = &usageError{"the store has no certificate " + quote(args[0]), []string{
			"smimetool cert list shows them; they are named by address, or by 8 or more digits of the fingerprint"}}
	}
	return s, list, err
}

// oneCertificate is meantCertificates where there has to be one alone.
func (a *app) oneCertificate(args []string) (*store.Store, stored, error) {
	s, list, err := a.meantCertificates(args)
	if err != nil {
		return nil, stored{}, err
	}
	if len(list) > 1 {
		ambiguous := &usageError{msg: fmt.Sprintf("%d certificates are meant by %s", len(list), quote(args[0]))}
		for _, c := range list {
			ambiguous.hints = append(ambiguous.hints, c.line())
		}
		return nil, stored{}, ambiguous
	}
	return s, list[0], nil
}

// line tells about a certificate in a line for people.
func (c *stored) line() string {
	who := c.address
	if c.entry == nil {
		who = person(c.certificate)
	}
	parts := []string{usage(c.certificate), validity(c.certificate), "issued by " + issuerOf(c.certificate)}
	if c.entry != nil {
		parts = append(parts, c.entry.Source)
		if d := c.entry.Decision.String(); d != "" {
			parts = append(parts, d)
		}
	}
	if c.preferred {
		parts = append(parts, "preferred for encryption")
	}
	return printable(short(c.fingerprint) + "  " + who + "  " + strings.Join(parts, ", "))
}

// A storedReport is the same for programs.
type storedReport struct {
	Fingerprint string  `json:"fingerprint"`
	Address     string  `json:"address"` // "" for an authority
	Authority   bool    `json:"authority"`
	Subject     string  `json:"subject"`
	Issuer      string  `json:"issuer"`
	NotBefore   string  `json:"not_before"`
	NotAfter    string  `json:"not_after"`
	Source      string  `json:"source"`
	Decision    *string `json:"decision"` // "trusted", "rejected" or null
	Preferred   bool    `json:"preferred"`
}

func (c *stored) report() storedReport {
	r := storedReport{Fingerprint: c.fingerprint.String(), Address: c.address, Authority: c.entry == nil, Subject: c.certificate.Subject(),
		Issuer: c.certificate.Issuer(), NotBefore: c.certificate.NotBefore.UTC().Format(time.RFC3339),
		NotAfter: c.certificate.NotAfter.UTC().Format(time.RFC3339), Preferred: c.preferred, Source: store.Imported}
	if c.entry != nil {
		r.Source = c.entry.Source
		if word, ok := map[store.Decision]string{store.Trusted: "trusted", store.Rejected: "rejected"}[c.entry.Decision]; ok {
			r.Decision = &word
		}
	}
	return r
}

func newCertList(a *app) *cobra.Command {
	var asJSON bool
	cmd := a.newCommand("list [--json] [ADDRESS|FINGERPRINT]", "List the certificates in your store", `
Lists the certificates of others, and those of the authorities that you trust. No
passphrase is needed.
`, 1, func(args []string) error { return a.certList(asJSON, args) })
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (a *app) certList(asJSON bool, args []string) error {
	s, err := a.home.there(a.context())
	if err != nil {
		return err
	}
	var list []stored
	if s != nil {
		if list, err = a.storedCertificates(s, strings.Join(args, "")); err != nil {
			return err
		}
	}
	if asJSON {
		out := []storedReport{}
		for _, c := range list {
			out = append(out, c.report())
		}
		return writeJSON(a.stdout, out)
	}
	if len(list) == 0 {
		a.say("There are no certificates. smimetool cert import FILE takes some in.")
	}
	for _, c := range list {
		if _, err = fmt.Fprintln(a.stdout, c.line()); err != nil {
			return err
		}
	}
	return nil
}

func newCertShow(a *app) *cobra.Command {
	return a.newCommand("show FILE|ADDRESS|FINGERPRINT", "Show certificates in detail", `
Shows certificates, of a file or in your store, in detail. Nothing is checked: what
is shown is what the certificate says.
`, 1, a.certShow)
}

func (a *app) certShow(args []string) error {
	certs, err := a.namedCertificates(args)
	if err != nil {
		return err
	}
	for _, c := range certs {
		if err = inspect.Certificate(c).WriteTree(a.stdout); err != nil {
			return err
		}
		if _, err = fmt.Fprintln(a.stdout, "  fingerprint (SHA-256): "+grouped(store.FingerprintOf(c))); err != nil {
			return err
		}
	}
	return nil
}

// isFile reports whether an argument names a file, and not a certificate in the
// store.
func isFile(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// namedCertificates returns the certificates in a file, or in the store.
func (a *app) namedCertificates(args []string) ([]*pki.Certificate, error) {
	if len(args) > 0 && isFile(args[0]) {
		return a.readCerts(args)
	}
	_, list, err := a.meantCertificates(args)
	out := make([]*pki.Certificate, len(list))
	for i, c := range list {
		out[i] = c.certificate
	}
	return out, err
}

func newCertRemove(a *app) *cobra.Command {
	return a.newCommand("remove ADDRESS|FINGERPRINT", "Remove a certificate from your store", `
Removes a certificate, or ends the trust in an authority. A certificate can come
back with the next message of its holder; reject is for those that shall not be
used.
`, 1, a.certRemove)
}

func (a *app) certRemove(args []string) error {
	s, c, err := a.oneCertificate(args)
	if err != nil {
		return err
	}
	if c.entry == nil {
		err = s.RemoveAuthority(a.context(), c.fingerprint)
	} else {
		err = s.RemoveCertificate(a.context(), c.address, c.fingerprint)
	}
	if err == nil {
		a.say("removed " + c.line())
	}
	return err
}

func newCertDecide(a *app, name, about string, d store.Decision, long string) *cobra.Command {
	return a.newCommand(name+" ADDRESS|FINGERPRINT", about, long, 1, func(args []string) error { return a.certDecide(d, args) })
}

func (a *app) certDecide(d store.Decision, args []string) error {
	s, c, err := a.oneCertificate(args)
	if err != nil {
		return err
	}
	if c.entry == nil {
		return &usageError{"this is an authority, and trusted", []string{"smimetool cert remove " + short(c.fingerprint) + " ends that"}}
	}
	if err = s.Decide(a.context(), c.address, c.fingerprint, d); err == nil {
		a.say(fmt.Sprintf("%s for %s: %s", printable(person(c.certificate)), printable(c.address), d))
		a.say("its fingerprint is " + grouped(c.fingerprint))
	}
	return err
}
