package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/smime"
)

// headerPolicies are the values of --headers, by package smime's constants.
var headerPolicies = []string{"unprotected", "visible", "baseline", "shy"}

// headersFlag registers --headers of a command that knows the first n policies.
func headersFlag(cmd *cobra.Command, value *string, n int, what string) {
	names := headerPolicies[:n]
	cmd.Flags().StringVar(value, "headers", names[0], "`POLICY` for the header: "+what)
	_ = cmd.RegisterFlagCompletionFunc("headers", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)) // fails only when done twice
}

// headerPolicy returns the policy of a name, of the first n ones.
func headerPolicy(name string, n int) (smime.HeaderPolicy, error) {
	i := slices.Index(headerPolicies[:n], name)
	if i < 0 {
		return 0, &usageError{"there is no header policy " + quote(name), []string{"--headers is one of " + strings.Join(headerPolicies[:n], ", ")}}
	}
	return smime.HeaderPolicy(i), nil
}
