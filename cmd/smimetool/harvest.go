package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/smime"
)

// harvest remembers the certificates of a message that is good by what the
// store says. The message is as good without that.
func (a *app) harvest(f *trustFlags, r *reading, trust cms.Trust) {
	if f.none || len(f.roots) > 0 || f.at != "" || a.home.store == nil || r.verdict != nil || r.message == nil || !r.message.Trusted {
		return
	}
	address, err := keystore.NormalizeAddress(r.message.Sender())
	if err != nil {
		return // there is not exactly one sender
	}
	for _, l := range r.message.Layers {
		for _, result := range l.Signers {
			if l.Err != nil || !result.Trusted || !result.Certificate.HasEmail(address) {
				continue
			}
			changes, herr := store.Harvest(a.context(), a.home.store, &store.Signed{
				Address: address, Result: result, Certificates: l.Certificates, Trust: trust,
			})
			if herr != nil {
				a.warn("the certificates of this message were not remembered: %s", printable(herr.Error()))
			}
			for _, c := range changes {
				a.say(a.paint(a.stderr, yellow, "note:") + " " + printable(c.String()))
			}
		}
	}
}

func signerFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "save-signer", "", "write the certificates of those who signed to `FILE`, trusted or not")
	markFiles(cmd, "save-signer")
}

// saveSigners writes the certificates of those whose signatures are theirs.
func (a *app) saveSigners(path string, m *smime.Message) error {
	if path == "" || m == nil {
		return nil
	}
	var out bytes.Buffer
	for _, l := range m.Layers {
		for _, s := range l.Signers {
			if s.Valid {
				out.Write(pemBlock("CERTIFICATE", s.Certificate.Raw))
			}
		}
	}
	if out.Len() == 0 {
		a.warn("there is no signer's certificate to write to %s", printable(path))
		return nil
	}
	return a.writeAll(path, out.Bytes(), false)
}
