package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

func newCompress(a *app) *cobra.Command {
	var output string
	cmd := a.newCommand("compress [-o OUT] [IN.eml]", "Compress a message", `
Compresses a message (compressed-data, RFC 8551, Section 3.6). Few programs can
read that.`, 1, func(args []string) error {
		return a.writeMail(args, output, func(dst io.Writer, _ *smime.Survey) (io.WriteCloser, error) { return smime.Compress(dst, nil) })
	})
	outputFlag(cmd, &output, "the message")
	return cmd
}

func newDecompress(a *app) *cobra.Command {
	var output string
	cmd := a.newCommand("decompress [-o OUT] [IN.eml]", "Decompress one layer of a message", `
Decompresses a message: one layer, which has to be the outermost.`, 1,
		func(args []string) error { return a.decompress(output, args) })
	outputFlag(cmd, &output, "the message")
	return cmd
}

func (a *app) decompress(output string, args []string) error {
	r, err := a.readMail(args, destination{path: output}, smime.FormMessage,
		&smime.ReadOptions{Trust: cms.InsecureTrustAnySigner, OneLayer: true, NoSenderCheck: true})
	if err != nil {
		return err
	}
	defer r.close()
	found := outermost(r.message)
	switch {
	case r.message != nil && (found == nil || found.Type != smime.TypeCompressed):
		return inFile(r.name, &wrongLayerError{"compressed", nameLayer(found), "smimetool open opens messages of every kind"})
	case r.verdict != nil:
		return r.verdict
	}
	return a.release(r)
}
