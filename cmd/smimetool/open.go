package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

const openLong = `
Opens all layers of a message, encryption, signatures and compression, and gives
the verdict in the words of RFC 9219:

  unknown                      no signature counts for the content
  signed                       signed, and nobody asked by whom (--no-trust)
  signed/verified              signed by somebody who is trusted
  signed/failed                a signature, or its signer, is not good
  encrypted+signed/verified    as above, and was encrypted
  encrypted+signed/failed

The verdict goes to the standard error stream and the opened message to the
standard output, or after -o; with --json the verdict goes to the standard
output, and the message after -o alone. A message with a bad signature is not
written, unless with --show-anyway.

Without --identity and --trust your identities and those whom you trust are found
in the store, and the certificates of a signer who is trusted are remembered
there. Those of one who is not can be written with --save-signer, to be compared
with their holder and then trusted: smimetool cert import --trust.
`

type open struct {
	identities identityFlag
	trust      trustFlags
	json       bool
	showAnyway bool
	noSender   bool
	signer     string // --save-signer
	output     string
}

func newOpen(a *app) *cobra.Command {
	f := &open{}
	cmd := a.newCommand("open [--identity FILE] [--trust ROOTS] [--json] [-o OUT] [IN.eml]", "Open all layers of a message and judge them", openLong, 1,
		func(args []string) error { return a.openMessage(f, args) })
	f.identities.register(cmd, "identity", "certificate and private key in `FILE` to decrypt with, PEM or PKCS#12 (repeatable)")
	f.trust.register(a, cmd)
	verdictFlags(cmd, &f.json, &f.showAnyway)
	cmd.Flags().BoolVar(&f.noSender, "no-sender-check", false, "do not compare the sender with the signer")
	signerFlag(cmd, &f.signer)
	outputFlag(cmd, &f.output, "the opened message")
	passphraseFlag(a, cmd)
	return cmd
}

func (a *app) openMessage(f *open, args []string) error {
	if err := errors.Join(f.trust.check(), checkJSON(f.json, f.output)); err != nil {
		return err
	}
	ids, err := a.mailReaders(&f.identities)
	if err != nil {
		return err
	}
	opts, err := a.readOptions(&f.trust, ids)
	if err != nil {
		return err
	}
	opts.NoSenderCheck = f.noSender
	r, err := a.readMail(args, destination{path: f.output, quiet: f.json}, smime.FormMessage, opts)
	if err != nil {
		return err
	}
	defer r.close()
	a.harvest(&f.trust, r, opts.Trust)
	if err = a.saveSigners(f.signer, r.message); err != nil {
		return err
	}
	if !f.json && r.message != nil {
		a.tellVerdict(r.message, f.trust.none)
	}
	if r.verdict == nil || f.showAnyway && releasable(r) {
		if err = a.release(r); err != nil {
			return err
		}
	}
	if f.json {
		err = r.report(f.trust.none).write(a.stdout)
	}
	return errors.Join(r.verdict, err)
}

// releasable reports whether there is content that can be shown, flagged: it is
// complete, but a signature on it is bad.
func releasable(r *reading) bool {
	return r.message != nil && errors.As(r.verdict, new(*cms.VerifyError))
}

// tellVerdict tells a person about all layers.
func (a *app) tellVerdict(m *smime.Message, noTrust bool) {
	c := green
	switch m.Status {
	case smime.StatusSignedFailed, smime.StatusEncryptedSignedFailed:
		c = red
	case smime.StatusUnknown, smime.StatusSigned:
		c = yellow
	}
	a.say("status: " + a.paint(a.stderr, c, string(m.Status)))
	for i, l := range m.Layers {
		a.say(fmt.Sprintf("layer %d: %s%s", i+1, printable(l.Type), layerDetail(l)))
		for _, s := range l.Signers {
			a.say("  " + a.signerLine(a.stderr, s, !noTrust))
		}
	}
	a.tellProblems(m)
	if noTrust && m.Signed {
		a.warnNoTrust()
	}
}

func (a *app) warnNoTrust() {
	a.warn("the signer's certificate was not checked (--no-trust): anybody can have made this signature")
}

func layerDetail(l *smime.Layer) string {
	text := ""
	if l.Cipher != "" {
		text += ", " + l.Cipher
	}
	switch {
	case l.Err != nil && len(l.Signers) == 0:
		text += ": " + l.Err.Error()
	case l.Authenticated:
		text += ", authenticated"
	case l.Encrypted && l.Err == nil:
		text += ", not authenticated"
	}
	return printable(text)
}

// tellProblems warns of what does not make a message bad.
func (a *app) tellProblems(m *smime.Message) {
	for i, l := range m.Layers {
		for _, w := range l.Warnings {
			a.warn("layer %d: %s", i+1, printable(w.Error()))
		}
	}
	for _, p := range m.Problems {
		a.warn("%s", printable(p.Error()))
	}
}
