package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki/ca"
)

const idNewLong = `
Makes a private key and a certificate for a mail address, and keeps them in your
store. With -o the certificate is written to a file, for those who are to write to
you: they take it in with "smimetool cert import --trust", after comparing its
fingerprint with you.

Nobody vouches for such a certificate but you. To have one from an authority,
write a certificate request with --csr, send it there, and take in what comes
back with "smimetool id import".
`

type idNew struct {
	name, key, csr, output string
	days                   int
}

func newIDNew(a *app) *cobra.Command {
	f := &idNew{}
	cmd := a.newCommand("new [--name NAME] [-o CERT] [--csr FILE] ADDRESS...", "Make an identity", idNewLong, maxAddresses,
		func(args []string) error { return a.idNew(f, args) })
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "your `NAME`")
	flags.StringVar(&f.key, "key", "rsa3072", "`TYPE` of the key: rsa3072, which everybody can use, p256 or p384")
	flags.IntVar(&f.days, "days", 825, "valid for `N` days")
	flags.StringVar(&f.csr, "csr", "", "write a certificate request to `FILE`, in PEM")
	outputFlag(cmd, &f.output, "the certificate")
	complete(cmd, "key", []string{"rsa3072", "p256", "p384"})
	markFiles(cmd, "csr")
	return cmd
}

// maxAddresses bounds the addresses of an identity.
const maxAddresses = 100

func (a *app) idNew(f *idNew, addresses []string) error {
	if len(addresses) == 0 {
		return usagef("for which mail address?")
	}
	kind, err := keyType(f.key, true)
	if err != nil {
		return err
	}
	if !kind.Encrypts() {
		return &usageError{"--key " + string(kind) + ": nothing can be encrypted to such a key", []string{
			"rsa3072, p256 and p384 sign and encrypt; an authority issues pairs of certificates: smimetool ca issue --separate"}}
	}
	key, err := ca.GenerateKey(kind)
	if err != nil {
		return err
	}
	cert, err := ca.SelfSign(&ca.Request{Emails: addresses, Name: f.name, Days: f.days}, key, time.Now())
	if err != nil {
		return err
	}
	s, err := a.home.openOrMake(a.context())
	if err != nil {
		return err
	}
	print, err := s.AddIdentity(a.context(), keystore.Identity{Certificate: cert, Key: key}, addresses...)
	if err != nil {
		return err
	}
	a.say(fmt.Sprintf("made an identity for %s, %s, in %s", printable(strings.Join(addresses, " ")), validity(cert), printable(s.Path())))
	a.say("its fingerprint is " + grouped(print))
	if f.csr != "" {
		if err = a.writeCSR(f.csr, addresses, key); err != nil {
			return err
		}
	}
	if f.output == "" {
		a.say(a.paint(a.stderr, yellow, "hint:") + " others need your certificate: smimetool id export --certificate -o FILE " + short(print))
		return nil
	}
	if err = a.writeAll(f.output, pemBlock("CERTIFICATE", cert.Raw), false); err == nil && f.output != "-" {
		name := printable(f.output)
		a.say(a.paint(a.stderr, yellow, "hint:") + " give " + name + " to those who are to write to you, and tell them the fingerprint: smimetool cert import --trust " + name)
	}
	return err
}

// writeCSR writes a certificate request (RFC 2986) for the key of an identity.
func (a *app) writeCSR(path string, addresses []string, key crypto.PrivateKey) error {
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{EmailAddresses: addresses}, key)
	if err != nil {
		return usagef("--csr: %v", err)
	}
	if err = a.writeAll(path, pemBlock("CERTIFICATE REQUEST", raw), false); err != nil {
		return err
	}
	a.say("wrote a certificate request to " + printable(path) + "; smimetool id import takes in the certificate that comes back")
	return nil
}

const idImportLong = `
Takes an identity into your store: a PKCS#12 file (.p12, .pfx), or PEM with
certificate and private key, or with --key the key in a file of its own.

A file with a certificate alone is taken in when the store has its private key, as
after "smimetool id new --csr".

The authorities in the file are kept to be sent along with your signatures. To
trust them, use "smimetool cert import --trust".
`

type idImport struct {
	key       string
	addresses []string
}

func newIDImport(a *app) *cobra.Command {
	f := &idImport{}
	cmd := a.newCommand("import [--key FILE] [--address ADDRESS] FILE", "Take in an identity that you have", idImportLong, 1,
		func(args []string) error { return a.idImport(f, args) })
	cmd.Flags().StringVar(&f.key, "key", "", "the private key is in `FILE`")
	cmd.Flags().StringArrayVar(&f.addresses, "address", nil, "use it for `ADDRESS` (repeatable; default: those in the certificate)")
	passphraseFlag(a, cmd)
	markFiles(cmd, "key")
	return cmd
}

func (a *app) idImport(f *idImport, args []string) error {
	if len(args) == 0 {
		return usagef("import what? Give a file")
	}
	file := identityFile{cert: args[0], key: f.key}
	ids, err := a.loadIdentity(file, a.secret.ask)
	if isCertificateAlone(err) && f.key == "" {
		return a.idRenew(f, file.cert, err)
	}
	if err != nil {
		return err
	}
	s, err := a.home.openOrMake(a.context())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if len(f.addresses) == 0 && len(id.Certificate.Emails) == 0 {
			return &usageError{file.cert + ": the certificate of " + person(id.Certificate) + " has no mail address", []string{"say for which it is: --address ADDRESS"}}
		}
	}
	for _, id := range ids {
		print, addErr := s.AddIdentity(a.context(), id, f.addresses...)
		if addErr != nil {
			return inFile(file.cert, addErr)
		}
		a.tellIdentity(id, print)
	}
	return nil
}

func (a *app) tellIdentity(id keystore.Identity, print store.Fingerprint) {
	a.say(fmt.Sprintf("imported %s, which %s, %s, %s", printable(person(id.Certificate)), usage(id.Certificate), validity(id.Certificate), short(print)))
}
