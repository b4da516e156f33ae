package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// An app is one run of the program: its streams.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	started bool // flags and arguments were fine, and the command has begun
}

func newApp() *app { return &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr} }

// run executes a command line and returns the exit code.
func (a *app) run(args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = asUsage(cmd, err)
	}
	e := explain(err)
	for line := range strings.SplitSeq(e.message, "\n") {
		a.say(a.paint(a.stderr, red, "error:") + " " + line)
	}
	for _, h := range e.hints {
		a.say(a.paint(a.stderr, yellow, "hint:") + " " + h)
	}
	return e.code
}

// say writes a line to the standard error stream. Nothing can be done when that
// fails.
func (a *app) say(line string) { _, _ = fmt.Fprintln(a.stderr, line) }

// tell writes a line to the standard output.
func (a *app) tell(format string, args ...any) { _, _ = fmt.Fprintf(a.stdout, format+"\n", args...) }

// interrupted returns a context that is done when the person or the system wants
// the program to end.
func interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

type colour string

const (
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	bold   colour = "\x1b[1m"
	dim    colour = "\x1b[2m"
)

// paint colours text that goes to a terminal. NO_COLOR switches that off.
func (a *app) paint(stream any, c colour, text string) string {
	f, ok := stream.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return text
	}
	return string(c) + text + "\x1b[0m"
}

// newCommand returns a command without arguments.
func (a *app) newCommand(use, short, long string, run func() error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  strings.TrimSpace(long),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("too many arguments: %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			a.started = true
			return run()
		},
		DisableFlagsInUseLine: true,
	}
}
