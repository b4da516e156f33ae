package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/smime"
)

const cmsVerifyLong = `
Checks the signatures of a SignedData and tells about each signer. All of them
have to be good. The content of a detached signature is given with --content.

With -o the content is written, once the signatures have been found good.
`

type cmsVerify struct {
	trust      trustFlags
	content    string
	crlf       bool
	json       bool
	showAnyway bool
	output     string
}

func newCMSVerify(a *app) *cobra.Command {
	f := &cmsVerify{}
	cmd := a.newCommand("verify --trust ROOTS [--content FILE] [-o CONTENT] [IN]", "Check a signature", cmsVerifyLong, 1,
		func(args []string) error { return a.cmsVerify(f, args) })
	f.trust.register(a, cmd)
	cmd.Flags().StringVar(&f.content, "content", "", "the content of a detached signature is in `FILE`; - is the standard input")
	cmd.Flags().BoolVar(&f.crlf, "crlf", false, "the content is text that was stored with other line ends than mail has")
	verdictFlags(cmd, &f.json, &f.showAnyway)
	outputFlag(cmd, &f.output, "the content")
	markFiles(cmd, "content")
	return cmd
}

// verdictFlags are those of all commands that judge signatures.
func verdictFlags(cmd *cobra.Command, asJSON, anyway *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "tell the verdict as a JSON object on the standard output")
	cmd.Flags().BoolVar(anyway, "show-anyway", false, "write the content also when its signature is bad; the exit code tells")
}

// checkJSON refuses to mix content and verdict.
func checkJSON(asJSON bool, path string) error {
	if asJSON && path == "-" {
		return &usageError{"--json and the content cannot both go to the standard output", []string{"write the content to a file: -o FILE"}}
	}
	return nil
}

func (a *app) cmsVerify(f *cmsVerify, args []string) error {
	if err := errors.Join(a.requireTrust(&f.trust), checkJSON(f.json, f.output)); err != nil {
		return err
	}
	opts, err := a.verifyOptions(&f.trust)
	if err != nil {
		return err
	}
	content, err := a.openContent(f.content)
	if err != nil {
		return err
	}
	defer content.Close()
	if content != nil && content.file == nil && (len(args) == 0 || args[0] == "-") {
		return usagef("the signature and the content cannot both come from the standard input")
	}
	opts.Content = content.reader()
	if f.crlf && content != nil {
		opts.Content = mimeraw.NewCRLFReader(opts.Content)
	}
	var signed *cms.SignedReader
	to := destination{path: f.output, quiet: true, anyway: f.showAnyway}
	err = a.readCMS(args, to, func(r *cms.Reader) (io.ReadCloser, error) {
		if r.ContentType() != cms.TypeSignedData {
			return nil, notSigned(r)
		}
		var openErr error
		signed, openErr = r.Verify(opts)
		return signed, openErr
	})
	if signed != nil {
		err = inFile(inputName(args), gravest(err, signed.Signers()))
	}
	if isSystem(err) {
		return err
	}
	return errors.Join(err, a.tellCMS(f, args, signed, err))
}

// tellCMS reports the verdict.
func (a *app) tellCMS(f *cmsVerify, args []string, signed *cms.SignedReader, verdict error) error {
	var results []*cms.SignerResult
	if signed != nil {
		results = signed.Signers()
	}
	if f.json {
		return cmsReport(args, f.trust.none, signed, results, verdict).write(a.stdout)
	}
	w := a.summary(f.output)
	for _, s := range results {
		if _, err := fmt.Fprintln(w, a.signerLine(w, s, !f.trust.none)); err != nil {
			return err
		}
	}
	if f.trust.none && verdict == nil {
		a.warnNoTrust()
	}
	return nil
}

func cmsReport(args []string, noTrust bool, signed *cms.SignedReader, results []*cms.SignerResult, verdict error) *report {
	r := newReport(inputName(args), noTrust, verdict)
	if signed == nil {
		return r
	}
	r.Layers = append(r.Layers, &layerReport{Type: smime.TypeSigned, Signers: reportSigners(results), Error: errorText(verdict), Warnings: []string{}})
	r.Signed = len(results) > 0
	for _, s := range results {
		r.Signed = r.Signed && s.Valid
	}
	switch {
	case verdict != nil:
		r.Status = smime.StatusSignedFailed
	case noTrust:
		r.Status = smime.StatusSigned
	default:
		r.Status, r.Trusted = smime.StatusSignedVerified, true
	}
	return r
}

// inputName returns what messages call the input.
func inputName(args []string) string {
	if len(args) > 0 && args[0] != "-" {
		return args[0]
	}
	return "standard input"
}

// openContent opens the file with detached content, if there is one.
func (a *app) openContent(name string) (*input, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return &input{name: "standard input", size: -1, src: a.stdin, a: a}, nil
	}
	return a.openFile(name)
}

// reader returns nil for no input.
func (in *input) reader() io.Reader {
	if in == nil {
		return nil
	}
	return in
}
