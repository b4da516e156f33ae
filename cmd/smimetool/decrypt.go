package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

const decryptLong = `
Decrypts a message: one layer, which has to be the outermost. The output is the
message with what was encrypted in it; a signature inside stays in place, and is
not checked. Use smimetool open to open all layers and have the verdict.

Without --identity the identities of the store are used.
`

type decrypt struct {
	identities identityFlag
	allow      allowFlag
	json       bool
	output     string
}

func newDecrypt(a *app) *cobra.Command {
	f := &decrypt{}
	cmd := a.newCommand("decrypt [--identity FILE [--key FILE]] [-o OUT] [IN.eml]", "Decrypt one layer of a message", decryptLong, 1,
		func(args []string) error { return a.decrypt(f, args) })
	f.identities.register(cmd, "identity", "certificate and private key in `FILE` to decrypt with, PEM or PKCS#12 (repeatable)")
	storeFlags(a, cmd)
	f.allow.register(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "tell about the layer as a JSON object on the standard output; the message is written with -o FILE alone")
	outputFlag(cmd, &f.output, "the message")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) decrypt(f *decrypt, args []string) error {
	if err := checkJSON(f.json, f.output); err != nil {
		return err
	}
	ids, err := a.mailReaders(&f.identities)
	if err != nil {
		return err
	}
	to := destination{path: f.output, quiet: f.json}
	r, err := a.readMail(args, to, smime.FormMessage, &smime.ReadOptions{
		Trust: cms.InsecureTrustAnySigner, Identities: ids, Allow: f.allow.cms(), OneLayer: true, NoSenderCheck: true,
	})
	if err != nil {
		return err
	}
	defer r.close()
	verdict := r.verdict
	if found := outermost(r.message); r.message != nil && (found == nil || !found.Encrypted) {
		verdict = inFile(r.name, &wrongLayerError{"encrypted", nameLayer(found), "smimetool open opens messages of every kind"})
	}
	if verdict == nil {
		verdict = a.release(r)
	}
	if f.json {
		r.verdict = verdict
		return errors.Join(verdict, r.report(true).write(a.stdout))
	}
	if verdict == nil {
		a.tellProblems(r.message)
	}
	return verdict
}

// mailReaders returns those who may open a message, a passphrase among them.
func (a *app) mailReaders(f *identityFlag) ([]cms.Identity, error) {
	ids, err := a.readers(f)
	return append(ids, &passwordIdentity{a: a}), err
}

// outermost returns the outermost layer, or nil.
func outermost(m *smime.Message) *smime.Layer {
	if m == nil || len(m.Layers) == 0 {
		return nil
	}
	return m.Layers[0]
}

func nameLayer(l *smime.Layer) string {
	if l == nil {
		return "a message without S/MIME protection"
	}
	return l.Type
}
