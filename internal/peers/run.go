package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience bounds one operation of one peer.
const patience = 2 * time.Minute

// A runError is the failure of a program that was started.
type runError struct {
	args   []string
	code   int // exit status, or -1 if it was killed
	stdout []byte
	stderr []byte
}

func (e *runError) Error() string {
	return fmt.Sprintf("%s: exit status %d: %s", strings.Join(e.args, " "), e.code, bytes.TrimSpace(e.stderr))
}

// run runs a program to its end and returns what it printed. If it fails the
// error is a *runError.
func run(ctx context.Context, extraEnv []string, args ...string) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, extraEnv...)
	cmd.WaitDelay = 5 * time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = &runError{args, exit.ExitCode(), out.Bytes(), errOut.Bytes()}
	} else if err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(args, " "), errors.Join(err, ctx.Err()))
	}
	return out.Bytes(), errOut.Bytes(), err
}

// look finds programs in PATH. If one is missing the error wraps errAbsent and
// names the Debian package that has it.
func look(debian string, programs ...string) error {
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s %w (Debian package %s)", name, errAbsent, debian)
		}
	}
	return nil
}

// A desk is a folder for the files of one operation.
type desk struct{ dir string }

func newDesk(parent string) (*desk, error) {
	dir, err := os.MkdirTemp(parent, "op")
	if err != nil {
		return nil, err
	}
	return &desk{dir}, nil
}

func (d *desk) clear() { _ = os.RemoveAll(d.dir) }

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) put(name string, data []byte) (string, error) {
	path := d.path(name)
	return path, os.WriteFile(path, data, 0o600)
}
