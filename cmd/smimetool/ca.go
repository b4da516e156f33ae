package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/pki/ca"
)

const caLong = `
smimetool ca is a small certification authority, for those who have none. Its
folder holds a root, an issuing CA below it, and a record of every certificate.

The root's certificate, root.crt, is what others trust: smimetool verify --trust
root.crt. Keep the folder to yourself.
`

func newCA(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "ca",
		Short: "Be a small certification authority",
		Long:  strings.TrimSpace(caLong),
		Args:  noSuchCommand,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{msg: "ca: no command was given", hints: []string{"smimetool ca --help lists the commands"}}
		},
		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	group.AddCommand(newCAInit(a), newCAIssue(a), newCARevoke(a), newCACRL(a), newCAOCSP(a))
	return group
}

func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "the CA is in the folder `DIR`")
	_ = cmd.MarkFlagDirname("dir") // an error would say that there is no such flag
}

// keyType returns the type of key of a name. sign says that it has to sign.
func keyType(name string, sign bool) (ca.KeyType, error) {
	kinds := keyTypes(sign)
	kind := ca.KeyType(strings.ToLower(name))
	if slices.Contains(kinds, kind) {
		return kind, nil
	}
	hints := []string{"the types of keys are: " + keyNames(kinds)}
	if slices.Contains(ca.KeyTypes(), kind) {
		return "", &usageError{"--key: a key of the type " + string(kind) + " cannot sign", hints}
	}
	return "", &usageError{"--key: no such type of key: " + quote(name), hints}
}

// keyTypes returns the types of keys, or those that sign.
func keyTypes(sign bool) []ca.KeyType {
	return slices.DeleteFunc(ca.KeyTypes(), func(k ca.KeyType) bool { return sign && !k.Signs() })
}

func keyNames(kinds []ca.KeyType) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}
