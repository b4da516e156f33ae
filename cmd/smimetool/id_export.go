package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/keystore"
)

const idExportLong = `
Writes an identity as PKCS#12 (.p12), with its private key, encrypted with a
passphrase that you choose: to use it in another mail program, or to keep a copy.

Old programs (gpgsm 2.2, Windows before 2019) read --weak-3des alone: triple DES,
which protects little; give such a file to nobody, and remove it after use.

With --certificate the certificates alone are written, as PEM, those of the
issuers after them: for those who are to write to you.
`

type idExport struct {
	certificate bool
	weak        bool
	output      string
	new         secret
}

func newIDExport(a *app) *cobra.Command {
	f := &idExport{new: secret{a: a, env: passphraseEnv}}
	cmd := a.newCommand("export [--certificate] -o FILE ADDRESS|FINGERPRINT", "Write an identity to a file", idExportLong, 1,
		func(args []string) error { return a.idExport(f, args) })
	cmd.Flags().BoolVar(&f.certificate, "certificate", false, "write the certificate alone, without the private key")
	cmd.Flags().StringVar(&f.new.file, "passphrase-file", "", "the passphrase of the new file is the first line of `FILE`")
	cmd.Flags().BoolVar(&f.weak, "weak-3des", false, "protect the file with triple DES and SHA-1, for programs that read nothing better")
	cmd.MarkFlagsMutuallyExclusive("certificate", "weak-3des")
	outputFlag(cmd, &f.output, "it")
	markFiles(cmd, "passphrase-file")
	return cmd
}

func (a *app) idExport(f *idExport, args []string) error {
	if len(args) == 0 {
		return usagef("which identity? Give its address or fingerprint")
	}
	s, err := a.home.open(a.context())
	if err != nil {
		return err
	}
	if f.certificate {
		return a.exportCertificates(f, args[0])
	}
	if f.output == "" {
		return &usageError{"to which file? -o is missing", []string{"-o FILE.p12; -o - is the standard output"}}
	}
	which, err := a.oneIdentity(s, args[0])
	if err != nil {
		return err
	}
	id, err := s.PrivateIdentity(a.context(), which.Fingerprint)
	if err != nil {
		return err
	}
	passphrase, err := f.new.askNew(f.output)
	if err != nil {
		return passphraseError(f.output, err)
	}
	if len(passphrase) == 0 {
		return usagef("the passphrase for %s is empty", f.output)
	}
	form := keystore.PKCS12AES
	if f.weak {
		form = keystore.PKCS12Weak3DES
	}
	p12, err := keystore.EncodePKCS12As(id, string(passphrase), form)
	if err != nil {
		return err
	}
	return a.writeAll(f.output, p12, true)
}

// exportCertificates writes all certificates that are meant, each with its
// issuers.
func (a *app) exportCertificates(f *idExport, who string) error {
	list, err := a.identities(a.home.store, who)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, id := range list {
		out.Write(pemBlock("CERTIFICATE", id.Certificate.Raw))
		for _, c := range id.Chain {
			out.Write(pemBlock("CERTIFICATE", c.Raw))
		}
	}
	return a.writeAll(f.output, out.Bytes(), false)
}
