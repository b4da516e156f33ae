package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/keyring"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

const idLong = `
Your identities: certificates with their private keys, in your store. The store
is one file, in which the private keys are encrypted with a passphrase.

  smimetool id new alice@example.org -o alice.crt   makes an identity
  smimetool id import alice.p12                     takes in one that you have

smimetool sign --as, encrypt --as and open use them.
`

func newID(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "id COMMAND", Short: "Your identities: make, import, list, export, remove", Long: strings.TrimSpace(idLong),
		Args: noSuchCommand, RunE: func(*cobra.Command, []string) error {
			return &usageError{"no command was given", []string{"smimetool id --help lists the commands"}}
		}}
	cmd.AddCommand(newIDNew(a), newIDImport(a), newIDList(a), newIDExport(a), newIDRemove(a), newIDPassphrase(a))
	for _, sub := range cmd.Commands() {
		storeFlags(a, sub)
	}
	return cmd
}

// shortPrint is how many digits of a fingerprint are shown in lists, and the
// fewest that name a certificate are half of them.
const shortPrint = 16

// short returns the beginning of a fingerprint.
func short(f store.Fingerprint) string { return f.String()[:shortPrint] }

// grouped returns a fingerprint as two people compare it.
func grouped(f store.Fingerprint) string {
	text := f.String()
	var parts []string
	for len(text) > 0 {
		parts = append(parts, text[:8])
		text = text[8:]
	}
	return strings.Join(parts, " ")
}

// matchPrint reports whether text, as people write fingerprints, is the
// beginning of one.
func matchPrint(text string, f store.Fingerprint) bool {
	text = strings.ToLower(strings.NewReplacer(" ", "", ":", "").Replace(text))
	return len(text) >= shortPrint/2 && strings.HasPrefix(f.String(), text)
}

// usage says in a word what a certificate is for.
func usage(c *pki.Certificate) string {
	switch {
	case vouches(c):
		return "vouches for others"
	case c.CanSign() && c.CanEncrypt():
		return "signs and encrypts"
	case c.CanSign():
		return "signs"
	case c.CanEncrypt():
		return "encrypts"
	}
	return "is for neither"
}

// validity says how long a certificate is valid.
func validity(c *pki.Certificate) string {
	now := time.Now()
	switch {
	case c.NotAfter.IsZero():
		return "has no end of validity that can be read"
	case now.After(c.NotAfter):
		return "expired " + c.NotAfter.Format(time.DateOnly)
	case now.Before(c.NotBefore):
		return "valid from " + c.NotBefore.Format(time.DateOnly)
	}
	return "valid until " + c.NotAfter.Format(time.DateOnly)
}

// identities returns those that are meant by an address, or by the beginning of
// a fingerprint.
func (a *app) identities(s *store.Store, who string) ([]store.Identity, error) {
	all, err := s.Identities(a.context(), "")
	if err != nil {
		return nil, err
	}
	normal, addressErr := keystore.NormalizeAddress(who)
	var out []store.Identity
	for _, id := range all {
		if addressErr == nil && slices.Contains(id.Addresses, normal) || addressErr != nil && matchPrint(who, id.Fingerprint) {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		return nil, &usageError{"the store has no identity " + quote(who), []string{"smimetool id list shows them; they are named by address, or by 8 or more digits of the fingerprint"}}
	}
	return out, nil
}

// oneIdentity is identities where there has to be one.
func (a *app) oneIdentity(s *store.Store, who string) (store.Identity, error) {
	list, err := a.identities(s, who)
	if err != nil {
		return store.Identity{}, err
	}
	if len(list) > 1 {
		err := &usageError{msg: fmt.Sprintf("%d identities are meant by %s", len(list), quote(who))}
		for _, id := range list {
			err.hints = append(err.hints, fmt.Sprintf("%s %s, %s", short(id.Fingerprint), usage(id.Certificate), validity(id.Certificate)))
		}
		return store.Identity{}, err
	}
	return list[0], nil
}

func newIDList(a *app) *cobra.Command {
	var asJSON bool
	cmd := a.newCommand("list [--json] [ADDRESS]", "List your identities", "Lists your identities, or those of one address. No passphrase is needed.", 1,
		func(args []string) error { return a.idList(asJSON, args) })
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// An identityReport tells of an identity, for programs.
type identityReport struct {
	Fingerprint string   `json:"fingerprint"`
	Subject     string   `json:"subject"`
	Issuer      string   `json:"issuer"`
	Addresses   []string `json:"addresses"`
	Signs       bool     `json:"signs"`
	Encrypts    bool     `json:"encrypts"`
	NotBefore   string   `json:"not_before"`
	NotAfter    string   `json:"not_after"`
	Added       string   `json:"added"`
}

func (a *app) idList(asJSON bool, args []string) error {
	s, err := a.home.there(a.context())
	if err != nil {
		return err
	}
	list := []store.Identity{}
	if s != nil {
		if list, err = s.Identities(a.context(), strings.Join(args, "")); err != nil {
			return err
		}
	}
	if asJSON {
		out := make([]identityReport, len(list))
		for i, id := range list {
			c := id.Certificate
			out[i] = identityReport{id.Fingerprint.String(), c.Subject(), c.Issuer(), append([]string{}, id.Addresses...), c.CanSign(), c.CanEncrypt(),
				c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), id.Added.Format(time.RFC3339)}
		}
		return writeJSON(a.stdout, out)
	}
	if len(list) == 0 {
		a.say("There is no identity. smimetool id new ADDRESS makes one, and id import FILE takes in one that you have.")
	}
	for _, id := range list {
		_, err = fmt.Fprintf(a.stdout, "%s  %s  %s, %s, issued by %s\n", short(id.Fingerprint), printable(strings.Join(id.Addresses, " ")),
			usage(id.Certificate), validity(id.Certificate), printable(issuerOf(id.Certificate)))
		if err != nil {
			return err
		}
	}
	return nil
}

func newIDRemove(a *app) *cobra.Command {
	var yes bool
	cmd := a.newCommand("remove [--yes] ADDRESS|FINGERPRINT", "Remove an identity, with its private key", `
Removes an identity. Mail that was encrypted to it can then not be read any more,
unless you have the private key elsewhere: smimetool id export writes it to a file.
`, 1, func(args []string) error { return a.idRemove(yes, args) })
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) idRemove(yes bool, args []string) error {
	if len(args) == 0 {
		return usagef("which identity? Give its address or fingerprint")
	}
	s, err := a.home.open(a.context())
	if err != nil {
		return err
	}
	id, err := a.oneIdentity(s, args[0])
	if err != nil {
		return err
	}
	if !yes {
		if err = a.confirm(fmt.Sprintf("Remove %s (%s)? Mail encrypted to it can not be read any more.", person(id.Certificate), short(id.Fingerprint))); err != nil {
			return err
		}
	}
	if err = s.RemoveIdentity(a.context(), id.Fingerprint); err != nil {
		return err
	}
	a.say("removed " + printable(person(id.Certificate)) + ", " + short(id.Fingerprint))
	return nil
}

func newIDPassphrase(a *app) *cobra.Command {
	f := &secret{a: a}
	toKeyring := false
	cmd := a.newCommand("passphrase", "Change the passphrase of the store", `
Changes the passphrase of the store. Who has the old passphrase and an old copy of
the file can still read what was in it.

With --keyring the store is opened by the keyring of your desktop from now on, and
nobody is asked as long as you are logged in. Without it you give it a passphrase
again.
`, 0, func([]string) error { return a.idPassphrase(f, toKeyring) })
	cmd.Flags().StringVar(&f.file, "new-passphrase-file", "", "the new passphrase is the first line of `FILE`; it is asked for otherwise")
	cmd.Flags().BoolVar(&toKeyring, "keyring", false, "keep the key of the store in the keyring of the operating system")
	cmd.MarkFlagsMutuallyExclusive("new-passphrase-file", "keyring")
	markFiles(cmd, "new-passphrase-file")
	return cmd
}

func (a *app) idPassphrase(f *secret, toKeyring bool) error {
	s, err := a.home.open(a.context())
	if err != nil {
		return err
	}
	if err = s.Unlock(a.context()); err != nil {
		return err
	}
	var keeper store.Wrapper = &store.Passphrase{Ask: f.askNew}
	text := "the passphrase of " + printable(s.Path()) + " is changed"
	if toKeyring {
		keeper = &keyring.Keyring{}
		text = "the keyring opens " + printable(s.Path()) + " now"
	}
	if err = s.ChangeKey(a.context(), keeper); err != nil {
		return err
	}
	a.say(text)
	return nil
}
