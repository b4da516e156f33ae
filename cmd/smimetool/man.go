package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(a *app, root *cobra.Command) *cobra.Command {
	return a.newCommand("man FOLDER", "Write the manual pages", "Writes a manual page for each command into a folder, which is made if need be.", 1,
		func(args []string) error {
			if len(args) == 0 {
				return usagef("into which folder?")
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "SMIMETOOL", Section: "1", Source: "smimetool"}
			return doc.GenManTree(root, header, args[0])
		})
}
