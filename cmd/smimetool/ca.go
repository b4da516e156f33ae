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
	kinds := ca.KeyTypes()
	if sign {
		kinds = slices.DeleteFunc(kinds, func(k ca.KeyType) bool { return k == ca.X25519 })
	}
	kind := ca.KeyType(strings.ToLower(name))
	if slices.Contains(kinds, kind) {
		return kind, nil
	}
	hints := []string{"the types of keys are: " + keyNames(kinds)}
	if strings.HasPrefix(string(kind), "ml-") || strings.HasPrefix(string(kind), "mldsa") || strings.HasPrefix(string(kind), "mlkem") {
		hints = append(hints, "ML-DSA and ML-KEM keys are not issued for yet")
	}
	return "", &usageError{"--key: no such type of key: " + quote(name), hints}
}

func keyNames(kinds []ca.KeyType) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}
