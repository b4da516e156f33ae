package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

const encryptLong = `
Encrypts a message to everybody after --to: a file with a certificate, or a mail
address, whose certificate is looked for in the sources of --source. A certificate
that was found is used when you trusted it by hand, or when an authority that you
trust vouches for it.

With --sign or --as the message is signed first, inside the encryption. With --as
it is encrypted to yourself, too, so that you can read what you sent; --no-self
leaves that out.

The header of the message, the subject among it, stays readable, unless --headers
says otherwise (RFC 9788).
`

type encrypt struct {
	to       recipientFlags
	signers  signerFlags
	opaque   bool
	noSelf   bool
	cipher   string
	compress bool
	headers  headersFlag
	output   string
}

func newEncrypt(a *app) *cobra.Command {
	f := &encrypt{}
	cmd := a.newCommand("encrypt --to CERT|ADDRESS [--as ADDRESS | --sign FILE [--key FILE]] [-o OUT] [IN.eml]", "Encrypt a message, signed or not", encryptLong, 1,
		func(args []string) error { return a.encrypt(f, args) })
	f.to.register(a, cmd)
	f.signers.register(a, cmd, "sign", "sign with the certificate and private key in `FILE`, PEM or PKCS#12 (repeatable)")
	flags := cmd.Flags()
	flags.BoolVar(&f.opaque, "opaque", false, "sign with signed-data in place of multipart/signed")
	flags.BoolVar(&f.noSelf, "no-self", false, "with --as: do not encrypt to yourself")
	flags.StringVar(&f.cipher, "cipher", "", "`NAME` of the cipher (default aes-256-gcm, or what mail addresses are known to read; old software needs aes-128-cbc): "+cipherNames())
	flags.BoolVar(&f.compress, "compress", false, "compress before encrypting; few programs can read that")
	f.headers.register(cmd, "unprotected (the body alone is), visible (all is protected, and stays readable), baseline (the subject is hidden), shy (so are names and time zone)",
		smime.HeadersUnprotected, smime.HeadersVisible, smime.HeadersBaseline, smime.HeadersShy)
	f.to.allow.register(cmd)
	outputFlag(cmd, &f.output, "the message")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) encrypt(f *encrypt, args []string) error {
	cipher, err := contentCipher(f.cipher)
	if err != nil {
		return err
	}
	if len(f.to.to) == 0 {
		return &usageError{"to whom? --to is missing", []string{"give the recipient's certificate, PEM or DER, or the mail address: --to CERT|ADDRESS"}}
	}
	if f.noSelf && len(f.signers.as) == 0 {
		return usagef("--no-self is for --as")
	}
	if !f.signers.given() && (f.opaque || f.signers.pss || f.signers.digest != "" || len(f.signers.identities.keys)+len(f.signers.certs) > 0) {
		return &usageError{"--key, --opaque, --digest, --pss and --certificate are for signing", []string{"give the signer's file with --sign FILE"}}
	}
	to, err := a.recipients(&f.to)
	if err != nil {
		return err
	}
	if !f.noSelf {
		for _, address := range f.signers.as {
			own, ownErr := a.ownRecipients(&f.to, address)
			if ownErr != nil {
				return ownErr
			}
			to = append(to, own...)
		}
	}
	if cipher == "" {
		if cipher, err = commonCipher(to); err != nil {
			return err
		}
	}
	signers, err := a.signers(&f.signers)
	if err != nil {
		return err
	}
	certs, err := a.readCerts(f.signers.certs)
	if err != nil {
		return err
	}
	opts := &smime.EncryptOptions{Signers: signers, Sign: &smime.SignOptions{Opaque: f.opaque, CMS: &cms.SignOptions{Certificates: certs}},
		Cipher: cipher, Compress: f.compress, Headers: f.headers.policy}
	err = a.writeMail(args, f.output, func(dst io.Writer, survey *smime.Survey) (io.WriteCloser, error) {
		opts.Survey = survey
		return smime.Encrypt(dst, f.to.cmsRecipients(to), opts)
	})
	if err == nil && f.output != "" && f.output != "-" && isTerminal(a.stderr) {
		a.tellWritten(f.output, signers, to)
	}
	return err
}

// tellWritten tells a person at a terminal which keys were used.
func (a *app) tellWritten(path string, signers []cms.Signer, to []recipient) {
	a.say("wrote " + printable(path))
	for _, s := range signers {
		a.say("  signed by " + certificateLine(s.Certificate))
	}
	for _, r := range to {
		a.say("  encrypted to " + certificateLine(r.certificate))
	}
}

func certificateLine(c *pki.Certificate) string {
	return printable(person(c)) + ", " + short(store.FingerprintOf(c))
}
