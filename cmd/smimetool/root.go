package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const rootLong = `
smimetool signs, encrypts, opens and inspects mail with S/MIME (RFC 8551), and
files with CMS (RFC 5652).

A command reads the file that it is given, or the standard input, and writes to
the file after -o, or to the standard output. A run that fails leaves no output
file behind and no existing file changed.

Identities and certificates are files, or in your store, which smimetool id and
smimetool cert keep: sign --as ADDRESS, encrypt --to ADDRESS, and open without
flags use it. More places, such as a directory or a smart card, are named in a
configuration: smimetool config.

Passphrases come from the file after --passphrase-file, from the environment
variable SMIMETOOL_PASSPHRASE, or from a question on the terminal; that of the
store from --store-passphrase-file or SMIMETOOL_STORE_PASSPHRASE.

Exit codes: 0 done; 1 input or output failed; 2 wrong usage; 3 malformed or
unsupported input; 4 signature invalid; 5 signature valid, but the signer is not
trusted; 6 no key for this message, or no certificate for a recipient; 7
decryption failed; 8 not signed, where a signature was asked for.
`

// An entry is a command below the root, in the order of the help.
type entry struct {
	name, group string
	build       func(*app) *cobra.Command
}

func entries() []entry {
	return []entry{
		{"sign", "mail", newSign},
		{"encrypt", "mail", newEncrypt},
		{"decrypt", "mail", newDecrypt},
		{"verify", "mail", newVerify},
		{"open", "mail", newOpen},
		{"compress", "mail", newCompress},
		{"decompress", "mail", newDecompress},
		{"id", "people", newID},
		{"cert", "people", newCert},
		{"ca", "people", newCA},
		{"config", "people", newConfig},
		{"show", "files", newShow},
		{"cms", "files", newCMS},
		{"tls", "servers", newTLS},
		{"demo", "", newDemo},
		{"version", "", newVersion},
		{"man", "", newMan},
	}
}

// newRoot returns the command for a command line. All others are built only if the
// first argument names none, since that takes longer than to sign a small message.
func newRoot(a *app, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "smimetool",
		Short:         "Sign, encrypt, open and inspect S/MIME mail",
		Long:          strings.TrimSpace(rootLong),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{msg: "no command was given", hints: []string{"smimetool --help lists the commands; smimetool demo shows them at work"}}
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.AddGroup(&cobra.Group{ID: "mail", Title: "Mail:"}, &cobra.Group{ID: "people", Title: "Identities and certificates:"},
		&cobra.Group{ID: "files", Title: "Files:"}, &cobra.Group{ID: "servers", Title: "Servers:"})
	built := entries()
	if len(args) > 0 {
		if i := slices.IndexFunc(built, func(e entry) bool { return e.name == args[0] }); i >= 0 {
			built = built[i : i+1]
			root.CompletionOptions.DisableDefaultCmd = true
		}
	}
	for _, e := range built {
		cmd := e.build(a)
		cmd.GroupID = e.group
		root.AddCommand(cmd)
	}
	return root
}

// noSuchCommand is for commands that have commands below them and do nothing
// themselves.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := &usageError{msg: "there is no command " + quote(cmd.CommandPath()+" "+args[0])}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err.hints = append(err.hints, "did you mean "+cmd.CommandPath()+" "+near[0]+"?")
	}
	return err
}

// asUsage turns what cobra says about a command line into a usageError.
func asUsage(cmd *cobra.Command, err error) error {
	ue, ok := errors.AsType[*usageError](err)
	if !ok {
		ue = &usageError{msg: err.Error()}
	}
	path := "smimetool"
	if cmd != nil {
		path = cmd.CommandPath()
	}
	if len(ue.hints) == 0 {
		ue.hints = []string{path + " --help tells the flags"}
	}
	return ue
}
