package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

const rootLong = `
mailproxy stands between mail clients and a mail server, and speaks S/MIME for
them. Mail that is sent through it is signed and encrypted by policy, and mail
that is read through it is shown opened, with the verdict in its header. Clients
change nothing but the address of their server.

mailproxy demo shows it at work, with everything built in.

Exit codes: 0 done; 1 input or output failed; 2 wrong usage; 3 the configuration
is wrong; 4 mailproxy check has found something that does not work.
`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "mailproxy",
		Short:         "S/MIME for every mail client, in transit",
		Long:          strings.TrimSpace(rootLong),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return &usageError{msg: "no command was given", hints: []string{"mailproxy --help lists the commands; mailproxy demo shows it at work"}}
		},
	}
	root.AddCommand(newDemo(a), newInit(a), newCheck(a), newRun(a), newMilter(a))
	return root
}

// asUsage turns what cobra says about a command line into a usageError.
func asUsage(cmd *cobra.Command, err error) error {
	ue, ok := errors.AsType[*usageError](err)
	if !ok {
		ue = &usageError{msg: err.Error()}
	}
	path := "mailproxy"
	if cmd != nil {
		path = cmd.CommandPath()
	}
	if len(ue.hints) == 0 {
		ue.hints = []string{path + " --help tells the flags"}
	}
	return ue
}
