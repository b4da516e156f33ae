package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/smime"
)

// A headersFlag is a policy for the header, of some.
type headersFlag struct {
	policies []smime.HeaderPolicy
	policy   smime.HeaderPolicy
}

// register adds --headers to a command that knows some policies.
func (f *headersFlag) register(cmd *cobra.Command, what string, policies ...smime.HeaderPolicy) {
	f.policies = policies
	cmd.Flags().Var(f, "headers", "`POLICY` for the header: "+what)
	_ = cmd.RegisterFlagCompletionFunc("headers", cobra.FixedCompletions(f.names(), cobra.ShellCompDirectiveNoFileComp)) // fails only when done twice
}

func (f *headersFlag) names() []string {
	var out []string
	for _, p := range f.policies {
		out = append(out, p.String())
	}
	return out
}

// String implements pflag.Value.
func (f *headersFlag) String() string { return f.policy.String() }

// Type implements pflag.Value.
func (f *headersFlag) Type() string { return "policy" }

// Set implements pflag.Value.
func (f *headersFlag) Set(word string) error {
	var p smime.HeaderPolicy
	if err := p.UnmarshalText([]byte(word)); err != nil || !slices.Contains(f.policies, p) {
		return usagef("--headers is one of %s", strings.Join(f.names(), ", "))
	}
	f.policy = p
	return nil
}
