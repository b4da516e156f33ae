package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/smime"
)

const verifyLong = `
Checks the signatures of a message, which have to be its outermost layer, and
tells about each signer. All of them have to be good, and the sender has to be
the signer. Without --trust those are trusted whom you trust in the store.

With -o what was signed is written, octet by octet as it was signed, once the
signatures have been found good.
`

type verify struct {
	trust      trustFlags
	json       bool
	showAnyway bool
	noSender   bool
	signer     string // --save-signer
	output     string
}

func newVerify(a *app) *cobra.Command {
	f := &verify{}
	cmd := a.newCommand("verify [--trust ROOTS] [--at TIME] [-o CONTENT] [IN.eml]", "Check the signatures of a message", verifyLong, 1,
		func(args []string) error { return a.verify(f, args) })
	f.trust.register(a, cmd)
	verdictFlags(cmd, &f.json, &f.showAnyway)
	cmd.Flags().BoolVar(&f.noSender, "no-sender-check", false, "do not compare the sender with the signer")
	signerFlag(cmd, &f.signer)
	outputFlag(cmd, &f.output, "what was signed")
	return cmd
}

func (a *app) verify(f *verify, args []string) error {
	if err := errors.Join(a.requireTrust(&f.trust), checkJSON(f.json, f.output)); err != nil {
		return err
	}
	opts, err := a.readOptions(&f.trust, nil)
	if err != nil {
		return err
	}
	opts.OneLayer, opts.NoSenderCheck = true, f.noSender
	r, err := a.readMail(args, destination{path: f.output, quiet: true}, smime.FormContent, opts)
	if err != nil {
		return err
	}
	defer r.close()
	if found := outermost(r.message); r.message != nil && (found == nil || !found.Signature()) {
		r.verdict = inFile(r.name, &notSignedError{nameLayer(found)})
	}
	a.harvest(&f.trust, r, opts.Trust)
	if err = a.saveSigners(f.signer, r.message); err != nil {
		return err
	}
	if r.verdict == nil || f.showAnyway && releasable(r) {
		if err = a.release(r); err != nil {
			return err
		}
	}
	if f.json {
		return errors.Join(r.verdict, r.report(f.trust.none).write(a.stdout))
	}
	w := a.summary(f.output)
	if l := outermost(r.message); l != nil {
		for _, s := range l.Signers {
			if _, err = fmt.Fprintln(w, a.signerLine(w, s, !f.trust.none)); err != nil {
				return err
			}
		}
		a.tellProblems(r.message)
	}
	if f.trust.none && r.verdict == nil {
		a.warnNoTrust()
	}
	return r.verdict
}
