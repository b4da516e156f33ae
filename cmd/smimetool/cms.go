package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/stage"
)

const cmsLong = `
smimetool cms signs, encrypts and opens any file with bare CMS (RFC 5652),
without mail around it. It reads DER, BER, PEM and base64, and writes DER, or
PEM with --form pem.
`

func newCMS(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "cms",
		Short: "Sign, encrypt and open any file with bare CMS",
		Long:  strings.TrimSpace(cmsLong),
		Args:  noSuchCommand,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{msg: "cms: no command was given", hints: []string{"smimetool cms --help lists the commands"}}
		},
		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	group.AddCommand(newCMSSign(a), newCMSVerify(a), newCMSEncrypt(a), newCMSDecrypt(a),
		newCMSDigest(a), newCMSCompress(a), newCMSDecompress(a), newCMSCerts(a))
	return group
}

// A cmsWriter makes the writer of a message to dst. size is that of the content
// in octets, 0 when it is not known.
type cmsWriter func(dst io.Writer, size int64) (io.WriteCloser, error)

// writeCMS makes a message of the input.
func (a *app) writeCMS(args []string, path string, f *formFlag, write cmsWriter) error {
	in, err := a.open(args)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := a.create(path, streamed, false)
	if err != nil {
		return err
	}
	defer out.Discard()
	enc, err := f.encoder(out)
	if err != nil {
		return err
	}
	w, err := write(enc, in.known())
	if err != nil {
		return err
	}
	if err = copyAll(w, in); err != nil {
		return inFile(in.name, err)
	}
	if err = w.Close(); err != nil {
		return inFile(in.name, err)
	}
	if err = enc.Close(); err != nil {
		return err
	}
	return out.Commit()
}

// A cmsOpener opens a message and returns its content.
type cmsOpener func(r *cms.Reader) (io.ReadCloser, error)

// A destination is where content goes, and when.
type destination struct {
	path   string // of -o
	quiet  bool   // without -o the content goes nowhere
	anyway bool   // also when the signature is bad
}

func (d destination) nowhere() bool { return d.quiet && d.path == "" }

// open makes the output. What is withheld appears once the verdict is good.
func (d destination) open(a *app, mode release) (*output, error) {
	if d.nowhere() {
		return &output{a: a, dst: io.Discard, w: stage.NewWriter(io.Discard)}, nil
	}
	return a.create(d.path, mode, true)
}

// readCMS opens a message and writes its content, which appears once the
// verdict on it is good.
func (a *app) readCMS(args []string, to destination, open cmsOpener) error {
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
	content, err := open(r)
	if err != nil {
		return inFile(in.name, err)
	}
	defer func() { _ = content.Close() }()
	out, err := to.open(a, withheld)
	if err != nil {
		return err
	}
	defer out.Discard()
	err = copyAll(out, content)
	if err == nil {
		err = content.Close()
	}
	if err != nil && (!to.anyway || !errors.As(err, new(*cms.VerifyError))) {
		return inFile(in.name, err)
	}
	return errors.Join(inFile(in.name, err), out.Commit())
}

// copySize is how much is copied at a time, in octets.
const copySize = 128 << 10

// copyAll copies through a buffer of fixed size.
func copyAll(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, copySize))
	return err
}

// wantCMS checks the type of a message.
func wantCMS(r *cms.Reader, wanted string, types ...cms.OID) error {
	for _, t := range types {
		if r.ContentType() == t {
			return nil
		}
	}
	return &wrongLayerError{wanted, alg.Name(r.ContentType()), "smimetool show tells what it holds"}
}

// notSigned says what a message is that has no signature.
func notSigned(r *cms.Reader) error { return &notSignedError{alg.Name(r.ContentType())} }
