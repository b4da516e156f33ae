package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

const signLong = `
Signs a message. The output is a multipart/signed, which everybody can read;
with --opaque it is an application/pkcs7-mime, which survives mail servers that
change what they carry.

The header of the message stays as it is. Its body, with all Content-* fields,
becomes the signed part; with --headers visible the subject, sender, date and the
other fields are signed, too (RFC 9788).

--as signs with your identity in the store (smimetool id); --identity with one in
a file.
`

type sign struct {
	signers signerFlags
	opaque  bool
	headers headersFlag
	output  string
}

func newSign(a *app) *cobra.Command {
	f := &sign{}
	cmd := a.newCommand("sign --as ADDRESS | --identity FILE [--key FILE] [--opaque] [-o OUT] [IN.eml]", "Sign a message", signLong, 1,
		func(args []string) error { return a.sign(f, args) })
	f.signers.register(a, cmd, "identity", "certificate and private key in `FILE` to sign with, PEM or PKCS#12 (repeatable)")
	cmd.Flags().BoolVar(&f.opaque, "opaque", false, "make an application/pkcs7-mime in place of a multipart/signed")
	f.headers.register(cmd, "unprotected (the body alone is signed) or visible (so are subject, sender, date and the like)",
		smime.HeadersUnprotected, smime.HeadersVisible)
	outputFlag(cmd, &f.output, "the message")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) sign(f *sign, args []string) error {
	if !f.signers.given() {
		return errNoIdentity
	}
	signers, err := a.signers(&f.signers)
	if err != nil {
		return err
	}
	certs, err := a.readCerts(f.signers.certs)
	if err != nil {
		return err
	}
	opts := &smime.SignOptions{Opaque: f.opaque, Headers: f.headers.policy, CMS: &cms.SignOptions{Certificates: certs}}
	return a.writeMail(args, f.output, func(dst io.Writer, survey *smime.Survey) (io.WriteCloser, error) {
		opts.Survey = survey
		return smime.Sign(dst, signers, opts)
	})
}
