package main

import (
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
)

const cmsCertsLong = `
Puts certificates into a certs-only file (.p7c, RFC 8551, Section 3.8). With
--extract it writes the certificates that are in such a file, or in any
SignedData, as PEM. Nothing vouches for them.
`

type cmsCerts struct {
	extract bool
	form    formFlag
	output  string
}

// maxCertFiles bounds the files after cms certs.
const maxCertFiles = 1000

func newCMSCerts(a *app) *cobra.Command {
	f := &cmsCerts{}
	cmd := a.newCommand("certs [--extract] [-o OUT] FILE...", "Put certificates into one file, or take them out", cmsCertsLong, maxCertFiles,
		func(args []string) error {
			if f.extract {
				return a.extractCerts(f, args)
			}
			return a.writeCerts(f, args)
		})
	cmd.Flags().BoolVar(&f.extract, "extract", false, "take the certificates out of a SignedData")
	f.form.register(cmd)
	outputFlag(cmd, &f.output, "the certificates")
	return cmd
}

func (a *app) writeCerts(f *cmsCerts, files []string) error {
	if len(files) == 0 {
		return usagef("which certificates? Give the files with them")
	}
	certs, err := a.readCerts(files)
	if err != nil {
		return err
	}
	out, err := a.create(f.output, streamed, false)
	if err != nil {
		return err
	}
	defer out.Discard()
	enc, err := f.form.encoder(out)
	if err != nil {
		return err
	}
	if err = cms.WriteCertificates(enc, certs, nil); err != nil {
		return err
	}
	if err = enc.Close(); err != nil {
		return err
	}
	return out.Commit()
}

func (a *app) extractCerts(f *cmsCerts, args []string) error {
	if len(args) > 1 {
		return usagef("--extract takes one file")
	}
	in, err := a.open(args)
	if err != nil {
		return err
	}
	defer in.Close()
	src, err := readCMS(in)
	if err != nil {
		return err
	}
	r, err := cms.NewReader(src, nil)
	if err != nil {
		return inFile(in.name, err)
	}
	if err = wantCMS(r, "a SignedData", cms.TypeSignedData); err != nil {
		return inFile(in.name, err)
	}
	certs, _, err := r.Certificates()
	if err != nil {
		return inFile(in.name, err)
	}
	if len(certs) == 0 {
		a.warn("%s: there are no certificates in it", printable(in.name))
	}
	out, err := a.create(f.output, streamed, false)
	if err != nil {
		return err
	}
	defer out.Discard()
	for _, c := range certs {
		if err = pem.Encode(out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return err
		}
	}
	return out.Commit()
}
