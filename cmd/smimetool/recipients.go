package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// recipientFlags say to whom something is encrypted.
type recipientFlags struct {
	to      []string
	oaep    bool
	allow   allowFlag
	sources sourceFlags
	trust   trustFlags // of certificates that nobody vouched for by hand
}

func (f *recipientFlags) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.to, "to", nil, "encrypt to `CERT`: a file with certificates, PEM or DER, or a mail address (repeatable)")
	cmd.Flags().BoolVar(&f.oaep, "oaep", false, "encrypt to RSA keys with OAEP, not with PKCS #1 v1.5; old software cannot read that")
	f.sources.register(cmd)
	f.trust.revocation.register(cmd)
	cmd.Flags().StringArrayVar(&f.trust.roots, "trust", nil, "authorities in `FILE` that vouch for the certificates of mail addresses (repeatable; default: those of the store)")
	markFiles(cmd, "to", "trust")
}

// A recipient is one to whom something is encrypted.
type recipient struct {
	certificate *pki.Certificate
	ciphers     []cms.Cipher // that it can read; nil: not known
}

// recipients finds the certificates, of each file those that one may encrypt
// to, and of each address the best.
func (a *app) recipients(f *recipientFlags) ([]recipient, error) {
	var out []recipient
	for _, name := range f.to {
		var some []recipient
		var err error
		if isAddress(name) {
			some, err = a.addressRecipient(f, name)
		} else {
			some, err = a.fileRecipients(f, name)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// isAddress tells mail addresses from names of files. A file of that name goes
// first.
func isAddress(name string) bool {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(name, os.PathSeparator) {
		return false
	}
	_, err := keystore.NormalizeAddress(name)
	return err == nil
}

func (a *app) fileRecipients(f *recipientFlags, name string) ([]recipient, error) {
	certs, err := a.readCerts([]string{name})
	if err != nil {
		return nil, err
	}
	var out []recipient
	for _, c := range certs {
		if c.IsCA || !c.CanEncrypt() {
			continue
		}
		if err = checkStrength(c, name, f.allow); err != nil {
			return nil, err
		}
		out = append(out, recipient{certificate: c})
	}
	if len(out) == 0 {
		return nil, &usageError{name + ": none of its certificates may be encrypted to", []string{
			"people with separate certificates for signing and for encryption need to send the one for encryption"}}
	}
	return out, nil
}

// checkStrength refuses keys that are too small.
func checkStrength(c *pki.Certificate, name string, allow allowFlag) error {
	if weak := alg.WeakKey(c.PublicKey); weak != "" && !slices.Contains(allow.names, weak) {
		return &usageError{name + ": the key of " + person(c) + " is too small to be safe", []string{"if you must encrypt to it: --allow " + weak}}
	}
	return nil
}

// A noRecipientError says that nothing can be encrypted to an address.
type noRecipientError struct {
	address string
	found   []candidate // that cannot be used, and why
}

func (e *noRecipientError) Error() string {
	if len(e.found) == 0 {
		return "no certificate is known for " + e.address
	}
	return fmt.Sprintf("none of the certificates for %s can be used: that of %s, from %s, %v", e.address,
		person(e.found[0].Certificate), e.found[0].Source, e.found[0].err)
}

// An untrustedRecipientError says that certificates are there for an address,
// and that nobody who is trusted says whose they are.
type untrustedRecipientError struct {
	address string
	found   candidate
}

func (e *untrustedRecipientError) Error() string {
	return fmt.Sprintf("whether the certificate of %s, from %s, is that of %s is not known: %v", person(e.found.Certificate), e.found.Source, e.address, e.found.err)
}

func (e *untrustedRecipientError) Unwrap() error { return e.found.err }

// addressRecipient asks the sources for the certificate of an address.
func (a *app) addressRecipient(f *recipientFlags, address string) ([]recipient, error) {
	f.trust.allow = f.allow
	found, err := a.find(&f.sources, &f.trust, address)
	if best := choose(found); best != nil {
		if err != nil {
			a.warn("%s", printable(err.Error())) // a source that was asked in vain
		}
		if err = checkStrength(best.Certificate, address, f.allow); err != nil {
			return nil, err
		}
		return []recipient{{certificate: best.Certificate, ciphers: best.Capabilities}}, nil
	}
	if err == nil {
		err = noneUsable(address, found)
	}
	return nil, err
}

// noneUsable says why none of the certificates that were found is used.
func noneUsable(address string, found []candidate) error {
	if i := slices.IndexFunc(found, func(c candidate) bool { return c.untrusted }); i >= 0 {
		return &untrustedRecipientError{address, found[i]}
	}
	return &noRecipientError{address, found}
}

// cmsRecipients returns what package cms encrypts to.
func (f *recipientFlags) cmsRecipients(list []recipient) []cms.Recipient {
	out := make([]cms.Recipient, len(list))
	for i, r := range list {
		c := &cms.CertificateRecipient{Certificate: r.certificate, Allow: f.allow.cms()}
		if f.oaep {
			c.OAEP = &cms.OAEPOptions{}
		}
		out[i] = c
	}
	return out
}

// preferred are the ciphers in the order in which they are used, where not
// everybody can read the first.
var preferred = []cms.Cipher{cms.AES256GCM, cms.AES128GCM, cms.ChaCha20Poly1305Encryption, cms.AES256CBC, cms.AES192CBC, cms.AES128CBC}

// commonCipher returns the best cipher that all recipients can read, "" for the
// default. RFC 8551, Section 2.7.1: what they said themselves counts; those
// who did not say anything take the default.
func commonCipher(list []recipient) (cms.Cipher, error) {
	for i, cipher := range preferred {
		all := true
		for _, r := range list {
			all = all && (r.ciphers == nil || slices.Contains(r.ciphers, cipher))
		}
		switch {
		case all && i == 0:
			return "", nil
		case all:
			return cipher, nil
		}
	}
	return "", &usageError{"the recipients have no cipher in common that they say they can read", []string{
		"name one with --cipher, or send a message to each of them"}}
}
