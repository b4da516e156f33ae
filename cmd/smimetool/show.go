package main

import (
	"bufio"
	"encoding/pem"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/inspect"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/keystore"
)

const showLong = `
Shows how a message or CMS file is built, as a tree: a mail message, DER, BER,
PEM or base64. No key is needed: encrypted content stays closed. Nothing is
checked either: what is shown is what the file says, and may be a lie.
`

func newShow(a *app) *cobra.Command {
	var asJSON bool
	cmd := a.newCommand("show [--json] [IN]", "Show how a message or CMS file is built", showLong, 1,
		func(args []string) error { return a.show(asJSON, args) })
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the tree as a JSON object")
	return cmd
}

func (a *app) show(asJSON bool, args []string) error {
	in, err := a.open(args)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := a.inspect(in)
	if n == nil {
		return inFile(in.name, err)
	}
	a.progress.clear()
	var printErr error
	if asJSON {
		printErr = writeJSON(a.stdout, n)
	} else {
		printErr = n.WriteTree(a.stdout)
	}
	if err != nil && !errors.As(err, new(*readError)) {
		err = &structureError{err}
	}
	return errors.Join(inFile(in.name, err), printErr)
}

// A structureError says that a file could not be read to its end.
type structureError struct{ err error }

func (e *structureError) Error() string { return e.err.Error() }
func (e *structureError) Unwrap() error { return e.err }

// isStructural reports whether an error is about what was shown.
func isStructural(err error) bool {
	return errors.As(err, new(*structureError)) || errors.As(err, new(*ber.SyntaxError)) || errors.As(err, new(*ber.LimitError))
}

func (a *app) inspect(in *input) (*inspect.Node, error) {
	br := bufio.NewReaderSize(in, sniffSize)
	f, err := sniff(br)
	if err != nil {
		return nil, err
	}
	switch f {
	case formDER:
		if head, peekErr := br.Peek(sniffSize); !isContentInfo(head) {
			return a.inspectDER(in, br, peekErr)
		}
		return inspect.CMS(br)
	case formBase64:
		return inspect.CMS(newBase64(br))
	case formPEM:
		return a.inspectPEM(in, br)
	}
	if _, err = br.Peek(1); err == io.EOF {
		return nil, &structureError{errors.New("the input is empty")}
	}
	return inspect.Message(br)
}

// inspectPEM shows the first CMS message in a PEM file, or its certificates. Keys
// beside them are passed over.
func (a *app) inspectPEM(in *input, br *bufio.Reader) (*inspect.Node, error) {
	head, err := br.Peek(sniffSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	_, label, _ := strings.Cut(string(head), "-----BEGIN ")
	label, _, _ = strings.Cut(label, "-----")
	isKey := strings.Contains(label, "PRIVATE KEY")
	if !isKey && !strings.Contains(label, "CERTIFICATE") {
		if _, err = skipPEMBegin(br); err != nil {
			return nil, err
		}
		return inspect.CMS(newBase64(br))
	}
	data, err := io.ReadAll(io.LimitReader(br, maxFile))
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block == nil {
		return nil, &structureError{errors.New("the PEM block is damaged")}
	}
	n, err := showCertificates(in, data)
	if isKey && errors.Is(err, keystore.ErrNoCertificate) {
		err = &structureError{errors.New("this is a private key, which is not shown")}
	}
	return n, err
}

// inspectDER is for DER that is no CMS: certificates.
func (a *app) inspectDER(in *input, br *bufio.Reader, err error) (*inspect.Node, error) {
	if err != nil && err != io.EOF {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(br, maxFile))
	if err != nil {
		return nil, err
	}
	n, err := showCertificates(in, data)
	if err != nil {
		return nil, &structureError{errors.New("this is neither CMS nor certificates: a key, a CRL, or damaged?")}
	}
	return n, nil
}

func showCertificates(in *input, data []byte) (*inspect.Node, error) {
	certs, err := keystore.ParseCertificates(in.name, data)
	if err != nil {
		return nil, err
	}
	root := &inspect.Node{Kind: "certificates"}
	for _, c := range certs {
		root.Children = append(root.Children, inspect.Certificate(c))
	}
	return root, nil
}
