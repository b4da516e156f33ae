package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
)

const cmsDecryptLong = `
Opens an encrypted file: EnvelopedData, AuthEnvelopedData, EncryptedData, or an
AuthenticatedData, whose content is not encrypted and whose authentication code
is checked.

For a message to a passphrase it is taken from --passphrase-file, from
SMIMETOOL_PASSPHRASE, or asked for. Nothing is written before the whole message
has been decrypted, and checked where the cipher allows that.
`

type cmsDecrypt struct {
	identities identityFlag
	kek        kekFlags
	keyFile    string
	allow      allowFlag
	output     string
}

func newCMSDecrypt(a *app) *cobra.Command {
	f := &cmsDecrypt{}
	cmd := a.newCommand("decrypt --identity FILE [--key FILE] [-o OUT] [IN]", "Decrypt a file", cmsDecryptLong, 1,
		func(args []string) error { return a.cmsDecrypt(f, args) })
	f.identities.register(cmd, "identity", "certificate and private key in `FILE` to decrypt with, PEM or PKCS#12 (repeatable)")
	storeFlags(a, cmd)
	f.kek.register(cmd)
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "decrypt an EncryptedData with the key in `FILE`")
	f.allow.register(cmd)
	outputFlag(cmd, &f.output, "the content")
	passphraseFlag(a, cmd)
	markFiles(cmd, "key-file")
	return cmd
}

func (a *app) cmsDecrypt(f *cmsDecrypt, args []string) error {
	ids, err := a.readers(&f.identities)
	if err != nil {
		return err
	}
	kek, err := a.readKEK(&f.kek)
	if err != nil {
		return err
	}
	if kek != nil {
		ids = append(ids, kek)
	}
	ids = append(ids, &passwordIdentity{a: a})
	var key []byte
	if f.keyFile != "" {
		if key, err = a.readKey(f.keyFile); err != nil {
			return err
		}
	}
	return a.readCMS(args, destination{path: f.output}, func(r *cms.Reader) (io.ReadCloser, error) {
		err := wantCMS(r, "encrypted", cms.TypeEnvelopedData, cms.TypeAuthEnvelopedData, cms.TypeEncryptedData, cms.TypeAuthenticatedData)
		if err != nil {
			return nil, err
		}
		opts := &cms.DecryptOptions{Allow: f.allow.cms()}
		switch r.ContentType() {
		case cms.TypeEncryptedData:
			if key == nil {
				return nil, &usageError{"this is encrypted-data, whose key is not in the message", []string{"give the key with --key-file FILE"}}
			}
			return r.DecryptWithKey(key, opts)
		case cms.TypeAuthenticatedData:
			return r.VerifyMAC(ids)
		}
		return r.Decrypt(ids, opts)
	})
}

// A passwordIdentity asks for a passphrase when a message is for one.
type passwordIdentity struct{ a *app }

// Unwrap implements cms.Identity.
func (p *passwordIdentity) Unwrap(infos []cms.RecipientInfo, cekLen int) ([]byte, error) {
	for _, info := range infos {
		if _, ok := info.(*cms.PasswordRecipientInfo); !ok {
			continue
		}
		password, err := p.a.secret.ask("the message")
		if err != nil {
			return nil, passphraseError("the message", err)
		}
		return (&cms.Password{Password: password}).Unwrap(infos, cekLen)
	}
	return nil, cms.ErrNoMatch
}

// passphraseError says for what a passphrase was not to be had.
func passphraseError(what string, err error) error {
	if err == errNoTerminal {
		return &keystore.FileError{Name: what, Err: err}
	}
	return err
}
