package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/recipients"
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
	f.sources.register(a, cmd)
	f.trust.revocation.register(cmd)
	cmd.Flags().StringArrayVar(&f.trust.roots, "trust", nil, "authorities in `FILE` that vouch for the certificates of mail addresses (repeatable; default: those of the store and the configuration)")
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

// isAddress tells mail addresses from names of files. What looks like an address
// is one, also where there is a file of that name, which somebody else may have put
// there: its certificate would be believed. Such a file is named ./FILE.
func isAddress(name string) bool {
	if strings.ContainsRune(name, os.PathSeparator) {
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
	for _, c := range endEntities(certs) {
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

// endEntities returns those of the certificates in a file that may be encrypted to,
// without the authorities beside them. Who has only a certificate that is an
// authority, too, as "openssl req -x509" makes them, is meant by it.
func endEntities(certs []*pki.Certificate) []*pki.Certificate {
	var ends, authorities []*pki.Certificate
	for _, c := range certs {
		switch {
		case !c.CanEncrypt():
		case !c.IsCA || !vouches(c):
			ends = append(ends, c)
		case len(certs) == 1 || len(c.Emails) > 0:
			authorities = append(authorities, c)
		}
	}
	if len(ends) > 0 {
		return ends
	}
	return authorities
}

// checkStrength refuses keys that are too small.
func checkStrength(c *pki.Certificate, name string, allow allowFlag) error {
	if weak := alg.WeakKey(c.PublicKey); weak != "" && !slices.Contains(allow.names, weak) {
		return &usageError{name + ": the key of " + person(c) + " is too small to be safe", []string{"if you must encrypt to it: --allow " + weak}}
	}
	return nil
}

// addressRecipient asks the sources for the certificate of an address.
func (a *app) addressRecipient(f *recipientFlags, address string) ([]recipient, error) {
	f.trust.allow = f.allow
	found, err := a.find(&f.sources, &f.trust, address)
	if best := recipients.Choose(found); best != nil {
		if err != nil {
			a.warn("%s", printable(err.Error())) // a source that was asked in vain
		}
		if err = checkStrength(best.Certificate, address, f.allow); err != nil {
			return nil, err
		}
		return []recipient{{certificate: best.Certificate, ciphers: best.Capabilities}}, nil
	}
	if err == nil {
		err = recipients.None(address, found)
	}
	return nil, err
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

// commonCipher returns the best cipher that all recipients can read.
func commonCipher(list []recipient) (cms.Cipher, error) {
	said := make([][]cms.Cipher, len(list))
	for i, r := range list {
		said[i] = r.ciphers
	}
	return recipients.CommonCipher(said)
}
