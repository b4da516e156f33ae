package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
)

const cmsSignLong = `
Signs a file (SignedData, RFC 5652, Section 5). The output carries the content;
with --detached it is the signature alone.
`

type cmsSign struct {
	signers  signerFlags
	detached bool
	noCerts  bool
	noAttrs  bool
	keyID    bool
	form     formFlag
	output   string
}

func newCMSSign(a *app) *cobra.Command {
	f := &cmsSign{}
	cmd := a.newCommand("sign --identity FILE [--key FILE] [--detached] [-o OUT] [IN]", "Sign a file", cmsSignLong, 1,
		func(args []string) error { return a.cmsSign(f, args) })
	flags := cmd.Flags()
	f.signers.register(a, cmd, "identity", "certificate and private key in `FILE` to sign with, PEM or PKCS#12 (repeatable)")
	flags.BoolVar(&f.detached, "detached", false, "leave the content out: the output is the signature alone")
	flags.BoolVar(&f.noCerts, "no-certificates", false, "leave all certificates out")
	flags.BoolVar(&f.noAttrs, "no-attributes", false, "sign the content alone, without attributes such as the time")
	flags.BoolVar(&f.keyID, "key-id", false, "name the signer by the key identifier, not by issuer and serial number")
	f.form.register(cmd)
	outputFlag(cmd, &f.output, "the message")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) cmsSign(f *cmsSign, args []string) error {
	if !f.signers.given() {
		return errNoIdentity
	}
	signers, err := a.signers(&f.signers)
	if err != nil {
		return err
	}
	for i := range signers {
		signers[i].KeyID, signers[i].NoAttributes = f.keyID, f.noAttrs
	}
	certs, err := a.readCerts(f.signers.certs)
	if err != nil {
		return err
	}
	opts := &cms.SignOptions{NoCertificates: f.noCerts, Certificates: certs}
	return a.writeCMS(args, f.output, &f.form, func(dst io.Writer, size int64) (io.WriteCloser, error) {
		if f.detached {
			d, signErr := cms.NewDetachedSigner(signers, opts)
			return &detachedWriter{d, dst}, signErr
		}
		opts.Size = size
		return cms.Sign(dst, signers, opts)
	})
}

// A detachedWriter writes the signature when the content is complete.
type detachedWriter struct {
	*cms.DetachedSigner
	dst io.Writer
}

// Close implements io.Closer.
func (d *detachedWriter) Close() error { return d.Finish(d.dst) }

var errNoIdentity = &usageError{"who signs? Neither --as nor --identity was given", []string{
	"give a file with your certificate and private key, PEM or PKCS#12: --identity FILE",
	"or your address, if your identity is in the store: --as ADDRESS; smimetool id new ADDRESS makes one"}}
