package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// A gpgAgent is the agent of one home of gpgsm. gpg-agent runs for as long as
// another program that it was started with, which here waits for the end of its
// input: so the agent ends with this process, however that ends.
type gpgAgent struct {
	home   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer // read only after cmd.Wait
}

// startAgent starts an agent and returns when it listens.
func startAgent(home string) (*gpgAgent, error) {
	a := &gpgAgent{home: home}
	a.cmd = exec.Command("gpg-agent", "--homedir", home, "--quiet", "--daemon", "sh", "-c", "echo ready; exec cat")
	a.cmd.Stderr = &a.stderr
	a.cmd.WaitDelay = 5 * time.Second
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err = a.cmd.Start(); err != nil {
		return nil, err
	}
	// The other program is started when the agent has its socket.
	if _, err = bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("gpg-agent: %w", err), a.stop())
	}
	return a, nil
}

// stop ends the agent now rather than when it notices.
func (a *gpgAgent) stop() error {
	// The end must come even if all else was cancelled.
	_, _, err := run(context.Background(), nil, "gpgconf", "--homedir", a.home, "--kill", "all")
	_ = a.stdin.Close()
	if waitErr := a.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("gpg-agent: %w: %s", waitErr, a.stderr.String()))
	}
	return err
}
