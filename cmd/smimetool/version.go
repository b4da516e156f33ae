package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	return a.newCommand("version", "Print the version", "Prints the version, and the revision it was built from.", 0, func([]string) error {
		_, err := fmt.Fprintln(a.stdout, "smimetool", version())
		return err
	})
}

// version tells what the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := info.Main.Version
	if text == "" {
		text = "(devel)"
	}
	if rev := settings["vcs.revision"]; rev != "" {
		text += " " + rev[:min(len(rev), 12)]
		if settings["vcs.modified"] == "true" {
			text += " (modified)"
		}
	}
	return text + " " + info.GoVersion
}
