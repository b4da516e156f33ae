package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
)

const cmsDigestLong = `
Puts a file into a DigestedData (RFC 5652, Section 7) with its digest. With
--verify it checks such a file, and writes the content when -o is given.

A digest guards against accidents alone: whoever changes the content can change
the digest as well.
`

type cmsDigest struct {
	verify  bool
	digest  string
	content string
	allow   allowFlag
	form    formFlag
	output  string
}

func newCMSDigest(a *app) *cobra.Command {
	f := &cmsDigest{}
	cmd := a.newCommand("digest [--verify] [--digest NAME] [-o OUT] [IN]", "Add a digest to a file, or check it", cmsDigestLong, 1,
		func(args []string) error { return a.cmsDigest(f, args) })
	flags := cmd.Flags()
	flags.BoolVar(&f.verify, "verify", false, "check the digest of a DigestedData")
	flags.StringVar(&f.digest, "digest", "", "`NAME` of the digest (default sha256): "+digestNames())
	flags.StringVar(&f.content, "content", "", "the content is in `FILE`, not in the DigestedData (with --verify)")
	f.allow.register(cmd)
	f.form.register(cmd)
	outputFlag(cmd, &f.output, "the DigestedData, or the content,")
	markFiles(cmd, "content")
	complete(cmd, "digest", digestList())
	return cmd
}

func (a *app) cmsDigest(f *cmsDigest, args []string) error {
	digest, err := signingDigest(f.digest)
	switch {
	case err != nil:
		return err
	case f.verify:
		return a.cmsVerifyDigest(f, args)
	case f.content != "":
		return usagef("--content is for --verify")
	}
	return a.writeCMS(args, f.output, &f.form, func(dst io.Writer, _ int64) (io.WriteCloser, error) {
		return cms.Digest(dst, digest, "")
	})
}

func (a *app) cmsVerifyDigest(f *cmsDigest, args []string) error {
	if f.digest != "" {
		return usagef("--digest is for making a DigestedData; --verify takes what is in it")
	}
	content, err := a.openContent(f.content)
	if err != nil {
		return err
	}
	defer content.Close()
	var d *cms.DigestedReader
	err = a.readCMS(args, destination{path: f.output, quiet: true}, func(r *cms.Reader) (io.ReadCloser, error) {
		if typeErr := wantCMS(r, "digested", cms.TypeDigestedData); typeErr != nil {
			return nil, typeErr
		}
		var openErr error
		d, openErr = r.VerifyDigest(content.reader(), f.allow.cms())
		return d, openErr
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.summary(f.output), a.paint(a.stdout, green, "good digest")+": "+d.Digest())
	return err
}
