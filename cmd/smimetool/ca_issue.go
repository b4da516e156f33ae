package main

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

const caIssueLong = `
Issues a certificate for a mail address. It makes a key, and writes
PREFIX.crt (the certificate and that of its issuer, for everybody) and PREFIX.p12
(with the private key, for the owner of the address alone). With --separate
there are two, PREFIX-sign and PREFIX-encrypt.

With --csr the key is that of a certificate request (RFC 2986); then only
PREFIX.crt is written. Of the request the key and the addresses are used.

Whether the address belongs to the person who asks is for you to find out.
`

type caIssue struct {
	dir, name, given, surname, key, csr, profile, usage, out string
	emails                                                   []string
	days                                                     int
	separate, nonRepudiation                                 bool
	p12                                                      secret
}

func newCAIssue(a *app) *cobra.Command {
	f := &caIssue{p12: secret{a: a}}
	cmd := a.newCommand("issue --dir DIR --email ADDRESS [--name NAME] [--days N] [--key TYPE | --csr FILE] [--separate] [--out PREFIX]",
		"Issue a certificate", caIssueLong, 0, func([]string) error { return a.caIssue(f) })
	flags := cmd.Flags()
	dirFlag(cmd, &f.dir)
	flags.StringArrayVar(&f.emails, "email", nil, "mail `ADDRESS` (repeatable); with --csr those in the request by default")
	flags.StringVar(&f.name, "name", "", "`NAME` of the person, whose last word is the surname")
	flags.StringVar(&f.given, "given-name", "", "`PART` of the name that is the given name, where the last word does not tell")
	flags.StringVar(&f.surname, "surname", "", "`PART` of the name that is the surname, where the last word does not tell")
	flags.IntVar(&f.days, "days", 365, "valid for `N` days")
	flags.StringVar(&f.key, "key", "", "`TYPE` of the key (default p256), of which some only sign or only encrypt; --separate adds the type for encryption: "+keyNames(ca.KeyTypes()))
	flags.StringVar(&f.csr, "csr", "", "the certificate request is in `FILE`, PEM or DER")
	flags.BoolVar(&f.separate, "separate", false, "make a certificate for signing and another for encryption")
	flags.StringVar(&f.usage, "usage", "both", "`USAGE` of the key: both, sign or encrypt")
	flags.BoolVar(&f.nonRepudiation, "non-repudiation", false, "add nonRepudiation to the usage of a key that signs")
	flags.StringVar(&f.profile, "profile", "strict", "`PROFILE` of the baseline requirements: strict, multipurpose or legacy")
	flags.StringVar(&f.out, "out", "", "write PREFIX.crt and PREFIX.p12 (default `PREFIX`: the address)")
	flags.StringVar(&f.p12.file, "p12-passphrase-file", "", "the passphrase of PREFIX.p12 is the first line of `FILE`; it is asked for otherwise")
	passphraseFlag(a, cmd)
	markFiles(cmd, "csr", "p12-passphrase-file")
	complete(cmd, "key", strings.Split(keyNames(ca.KeyTypes()), ", "))
	complete(cmd, "usage", []string{"both", "sign", "encrypt"})
	complete(cmd, "profile", []string{"strict", "multipurpose", "legacy"})
	return cmd
}

// An order is one certificate that is to be made.
type order struct {
	prefix string
	key    crypto.PrivateKey // nil for that of a request
	req    ca.Request
	cert   *pki.Certificate
}

func (a *app) caIssue(f *caIssue) error {
	s, err := a.openCA(f.dir)
	if err != nil {
		return err
	}
	orders, err := f.orders(a, s.config.urls())
	if err != nil {
		return err
	}
	authority, err := s.authority(issuingName)
	if err != nil {
		return err
	}
	var passphrase []byte
	if f.csr == "" {
		if passphrase, err = f.p12Passphrase(orders[0].prefix + ".p12"); err != nil {
			return err
		}
	}
	err = s.update(func(x *caIndex) ([]caRecord, error) {
		if _, revoked := x.revoked[indexKey(rootName, hex.EncodeToString(authority.Certificate.Serial))]; revoked {
			return nil, &usageError{f.dir + ": the issuing CA has been revoked", []string{"smimetool ca init --dir DIR makes another CA, in another folder"}}
		}
		var records []caRecord
		for i := range orders {
			var issueErr error
			if orders[i].cert, issueErr = authority.Issue(&orders[i].req, time.Now()); issueErr != nil {
				return nil, issueErr
			}
			records = append(records, issueRecord(issuingName, orders[i].cert))
		}
		return records, nil
	})
	if err != nil {
		return err
	}
	for i := range orders {
		if err = a.deliver(&orders[i], authority.Certificate, string(passphrase)); err != nil {
			return err
		}
	}
	return nil
}

// p12Passphrase is not that of the CA, which is not for others.
func (f *caIssue) p12Passphrase(name string) ([]byte, error) {
	passphrase, err := f.p12.askNew(name)
	switch {
	case errors.Is(err, errNoTerminal):
		return nil, &usageError{"a passphrase is needed for " + name, []string{"give it with --p12-passphrase-file FILE; it is not that of the CA"}}
	case err == nil && len(passphrase) == 0:
		return nil, usagef("the passphrase for %s is empty", name)
	}
	return passphrase, err
}

// orders makes the keys.
func (f *caIssue) orders(a *app, urls ca.URLs) ([]order, error) {
	profile, okProfile := map[string]ca.Profile{"strict": ca.Strict, "multipurpose": ca.Multipurpose, "legacy": ca.Legacy}[f.profile]
	usage, okUsage := map[string]ca.Usage{"both": ca.SignAndEncrypt, "sign": ca.SignOnly, "encrypt": ca.EncryptOnly}[f.usage]
	switch {
	case !okProfile:
		return nil, usagef("--profile is strict, multipurpose or legacy")
	case !okUsage:
		return nil, usagef("--usage is both, sign or encrypt")
	case f.csr != "" && (f.key != "" || f.separate):
		return nil, usagef("--csr excludes --key and --separate: the request has its key")
	case f.separate && usage != ca.SignAndEncrypt:
		return nil, usagef("--separate and --usage exclude each other")
	case f.days < 1 || f.days > profile.MaxDays():
		return nil, usagef("--days is 1 to %d in the profile %s", profile.MaxDays(), f.profile)
	}
	base := ca.Request{
		Emails: f.emails, Name: f.name, GivenName: f.given, Surname: f.surname, Usage: usage, NonRepudiation: f.nonRepudiation, Profile: profile, Days: f.days, URLs: urls,
	}
	if f.csr != "" {
		return f.requested(a, base)
	}
	if len(f.emails) == 0 {
		return nil, &usageError{"for whom? --email ADDRESS is needed", nil}
	}
	kind := "p256"
	if f.key != "" {
		kind = f.key
	}
	if !f.separate {
		return makeOrders(base, f.prefix(base), []string{""}, []string{kind}, []ca.Usage{usage})
	}
	signing, err := keyType(kind, true)
	if err != nil {
		return nil, err
	}
	return makeOrders(base, f.prefix(base), []string{"-sign", "-encrypt"}, []string{kind, string(signing.Encryption())}, []ca.Usage{ca.SignOnly, ca.EncryptOnly})
}

// makeOrders makes a key for each of the orders.
func makeOrders(base ca.Request, prefix string, suffixes, kinds []string, usages []ca.Usage) ([]order, error) {
	var out []order
	for i, suffix := range suffixes {
		kind, err := keyType(kinds[i], false)
		if err != nil {
			return nil, err
		}
		key, err := ca.GenerateKey(kind)
		if err != nil {
			return nil, err
		}
		o := order{prefix: prefix + suffix, key: key, req: base}
		if o.req.Key, err = ca.Public(key); err != nil {
			return nil, err
		}
		o.req.Usage = usages[i]
		out = append(out, o)
	}
	return out, nil
}

// requested returns what a certificate request asks for.
func (f *caIssue) requested(a *app, base ca.Request) ([]order, error) {
	data, err := a.readFile(f.csr)
	if err != nil {
		return nil, err
	}
	csr, err := ca.ParseCSR(data)
	if err != nil {
		return nil, inFile(f.csr, err)
	}
	base.Key = csr.Key
	if len(base.Emails) == 0 {
		base.Emails = csr.Emails
	}
	if len(base.Emails) == 0 {
		return nil, &usageError{f.csr + ": the request has no mail address", []string{"give it with --email ADDRESS"}}
	}
	return []order{{prefix: f.prefix(base), req: base}}, nil
}

// prefix returns how the names of files begin.
func (f *caIssue) prefix(r ca.Request) string {
	if f.out != "" {
		return f.out
	}
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, c) || c < ' ' {
			return '_'
		}
		return c
	}, strings.TrimLeft(r.Emails[0], ".-"))
}

// deliver writes the files of a certificate. It is on record already.
func (a *app) deliver(o *order, issuer *pki.Certificate, passphrase string) error {
	chain := append(pemBlock("CERTIFICATE", o.cert.Raw), pemBlock("CERTIFICATE", issuer.Raw)...)
	if o.key != nil {
		id := keystore.Identity{Certificate: o.cert, Key: o.key, Chain: []*pki.Certificate{issuer}}
		p12, err := keystore.EncodePKCS12(id, passphrase)
		if err != nil {
			return err
		}
		if err = a.writeAll(o.prefix+".p12", p12, true); err != nil {
			return err
		}
	}
	if err := a.writeAll(o.prefix+".crt", chain, false); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "%x %s.crt valid until %s\n", o.cert.Serial, printable(o.prefix), o.cert.NotAfter.Format(time.DateOnly))
	return err
}
