package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
)

func newCMSCompress(a *app) *cobra.Command {
	var f formFlag
	var output string
	cmd := a.newCommand("compress [-o OUT] [IN]", "Compress a file", "Compresses a file with zlib (CompressedData, RFC 3274).", 1,
		func(args []string) error {
			return a.writeCMS(args, output, &f, func(dst io.Writer, _ int64) (io.WriteCloser, error) { return cms.Compress(dst, "") })
		})
	f.register(cmd)
	outputFlag(cmd, &output, "the CompressedData")
	return cmd
}

func newCMSDecompress(a *app) *cobra.Command {
	var output string
	cmd := a.newCommand("decompress [-o OUT] [IN]", "Decompress a file", "Decompresses a CompressedData (RFC 3274).", 1,
		func(args []string) error {
			return a.readCMS(args, destination{path: output}, func(r *cms.Reader) (io.ReadCloser, error) {
				if err := wantCMS(r, "compressed", cms.TypeCompressedData); err != nil {
					return nil, err
				}
				return r.Decompress()
			})
		})
	outputFlag(cmd, &output, "the content")
	return cmd
}
