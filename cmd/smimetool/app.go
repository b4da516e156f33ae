package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postseal/postseal/keystore/pkcs11"
)

// An app is one run of the program: its streams, and what has to be cleaned up.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	temps  *temps

	started  bool // flags and arguments were fine, and the command has begun
	progress *progress
	secret   *secret
	home     *home
	tokens   map[string]*pkcs11.Token // by URI
}

func newApp() *app {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, temps: &temps{}}
	a.secret = &secret{a: a, env: passphraseEnv}
	a.home = newHome(a)
	return a
}

// run executes a command line and returns the exit code.
func (a *app) run(args []string) int {
	root := newRoot(a, args)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteC()
	a.progress.stop()
	a.temps.removeAll()
	a.closeTokens()
	a.home.close()
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = asUsage(cmd, err)
	}
	return a.report(err)
}

// report tells a person about an error and returns the exit code.
func (a *app) report(err error) int {
	e := explain(err)
	a.home.explainPassphrase(err, &e)
	a.say(a.paint(a.stderr, red, "error:") + " " + e.message)
	for _, h := range e.hints {
		a.say(a.paint(a.stderr, yellow, "hint:") + " " + h)
	}
	return e.code
}

// say writes a line to the standard error stream. Nothing can be done when that
// fails.
func (a *app) say(line string) {
	a.progress.clear()
	_, _ = fmt.Fprintln(a.stderr, line)
}

func (a *app) warn(format string, args ...any) {
	a.say(a.paint(a.stderr, yellow, "warning:") + " " + fmt.Sprintf(format, args...))
}

// isTerminal reports whether a stream is a person's.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

type colour string

const (
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	bold   colour = "\x1b[1m"
)

// paint colours text that goes to a terminal. NO_COLOR switches that off.
func (a *app) paint(stream io.Writer, c colour, text string) string {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(stream) {
		return text
	}
	return string(c) + text + "\x1b[0m"
}

// newCommand returns a command that takes at most maxArgs arguments.
func (a *app) newCommand(use, short, long string, maxArgs int, run func(args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  strings.TrimSpace(long),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > maxArgs {
				return usagef("too many arguments: %q", args[maxArgs])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			a.started = true
			return run(args)
		},
		DisableFlagsInUseLine: true,
	}
}
