package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
)

const cmsEncryptLong = `
Encrypts a file, with an authenticated cipher (AuthEnvelopedData, RFC 5083) or
one in CBC mode (EnvelopedData, RFC 5652, Section 6).

Everybody can open it who has one of the keys: the private key to a certificate
after --to, the shared key in --kek-file, or the passphrase of --password.

With --key-file the content is encrypted under the key in that file
(EncryptedData). With --mac the content is not encrypted, but authenticated
(AuthenticatedData).

Files with keys hold 16, 24 or 32 octets, or as many in hexadecimal.
`

type cmsEncrypt struct {
	to       recipientFlags
	cipher   string
	kek      kekFlags
	password bool
	keyFile  string
	mac      bool
	digest   string
	form     formFlag
	output   string
}

func newCMSEncrypt(a *app) *cobra.Command {
	f := &cmsEncrypt{}
	cmd := a.newCommand("encrypt --to CERT|ADDRESS [-o OUT] [IN]", "Encrypt a file", cmsEncryptLong, 1,
		func(args []string) error { return a.cmsEncrypt(f, args) })
	flags := cmd.Flags()
	f.to.register(a, cmd)
	storeFlags(a, cmd)
	flags.StringVar(&f.cipher, "cipher", "", "`NAME` of the cipher (default aes-256-gcm): "+cipherNames())
	f.kek.register(cmd)
	flags.BoolVar(&f.password, "password", false, "encrypt to a passphrase, from --passphrase-file or as asked for")
	flags.StringVar(&f.keyFile, "key-file", "", "encrypt under the key in `FILE`, without recipients")
	flags.BoolVar(&f.mac, "mac", false, "do not encrypt, but authenticate")
	flags.StringVar(&f.digest, "digest", "", "`NAME` of the digest for --mac (default sha256): sha256, sha384, sha512")
	f.to.allow.register(cmd)
	f.form.register(cmd)
	outputFlag(cmd, &f.output, "the message")
	passphraseFlag(a, cmd)
	markFiles(cmd, "key-file")
	return cmd
}

func (a *app) cmsEncrypt(f *cmsEncrypt, args []string) error {
	cipher, err := contentCipher(f.cipher)
	if err != nil {
		return err
	}
	digest, err := signingDigest(f.digest)
	if err != nil {
		return err
	}
	switch {
	case f.digest != "" && !f.mac:
		return usagef("--digest is for --mac")
	case f.mac && f.cipher != "":
		return usagef("--mac and --cipher exclude each other: nothing is encrypted")
	case f.keyFile != "":
		return a.encryptWithKey(f, cipher, args)
	}
	to, known, err := a.cmsRecipients(f)
	if err != nil {
		return err
	}
	if cipher == "" && !f.mac {
		if cipher, err = commonCipher(known); err != nil {
			return err
		}
	}
	return a.writeCMS(args, f.output, &f.form, func(dst io.Writer, size int64) (io.WriteCloser, error) {
		if f.mac {
			return cms.Authenticate(dst, to, &cms.AuthenticateOptions{Digest: digest, Size: size})
		}
		return cms.Encrypt(dst, to, &cms.EncryptOptions{Cipher: cipher, Size: size})
	})
}

// cmsRecipients returns all who can open the message, and what is known of them.
func (a *app) cmsRecipients(f *cmsEncrypt) ([]cms.Recipient, []recipient, error) {
	known, err := a.recipients(&f.to)
	if err != nil {
		return nil, nil, err
	}
	to := f.to.cmsRecipients(known)
	kek, err := a.readKEK(&f.kek)
	if err != nil {
		return nil, nil, err
	}
	if kek != nil {
		to = append(to, kek)
	}
	if f.password {
		password, askErr := a.secret.askNew("the message")
		if askErr != nil {
			return nil, nil, passphraseError("the message", askErr)
		}
		to = append(to, &cms.Password{Password: password})
	}
	if len(to) == 0 {
		return nil, nil, &usageError{"to whom? --to is missing", []string{
			"give the recipient's certificate: --to CERT", "--kek-file, --password and --key-file are for keys that both sides have"}}
	}
	return to, known, nil
}

func (a *app) encryptWithKey(f *cmsEncrypt, cipher cms.Cipher, args []string) error {
	if len(f.to.to) > 0 || f.password || f.mac || f.kek.file != "" {
		return usagef("--key-file is for messages without recipients: it excludes --to, --kek-file, --password and --mac")
	}
	key, err := a.readKey(f.keyFile)
	if err != nil {
		return err
	}
	if cipher == "" {
		cipher = map[int]cms.Cipher{16: cms.AES128CBC, 24: cms.AES192CBC, 32: cms.AES256CBC}[len(key)]
	}
	return a.writeCMS(args, f.output, &f.form, func(dst io.Writer, size int64) (io.WriteCloser, error) {
		return cms.EncryptWithKey(dst, key, &cms.EncryptOptions{Cipher: cipher, Size: size})
	})
}

// kekFlags name a key that both sides share.
type kekFlags struct{ file, id string }

func (f *kekFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "kek-file", "", "key-encryption key in `FILE` that both sides share")
	cmd.Flags().StringVar(&f.id, "kek-id", "", "name of the key in --kek-file, in `HEX`")
	markFiles(cmd, "kek-file")
}

// readKEK returns the shared key, or nil without one.
func (a *app) readKEK(f *kekFlags) (*cms.KEK, error) {
	if f.file == "" {
		if f.id != "" {
			return nil, usagef("--kek-id names the key of --kek-file, which is missing")
		}
		return nil, nil
	}
	id, err := hex.DecodeString(f.id)
	if err != nil || len(id) == 0 {
		return nil, usagef("--kek-file needs --kek-id, the name of the key in hexadecimal digits")
	}
	key, err := a.readKey(f.file)
	if err != nil {
		return nil, err
	}
	return &cms.KEK{ID: id, Key: key}, nil
}

// readKey reads a file with a symmetric key: octets, or hexadecimal digits.
func (a *app) readKey(name string) ([]byte, error) {
	data, err := a.readFile(name)
	if err != nil {
		return nil, err
	}
	isKey := func(key []byte) bool { return len(key) == 16 || len(key) == 24 || len(key) == 32 }
	text := bytes.TrimSpace(data)
	if key, hexErr := hex.DecodeString(strings.ReplaceAll(string(text), ":", "")); hexErr == nil && isKey(key) {
		return key, nil
	}
	if isKey(data) {
		return data, nil
	}
	return nil, &usageError{name + ": not a key", []string{"a key has 16, 24 or 32 octets, as they are or in hexadecimal digits"}}
}
