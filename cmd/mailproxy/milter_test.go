package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// asked gives a message from Alice to Bob to a filter, and returns the action and
// how many changes it makes.
func asked(t testing.TB, network, address, login, host string) (gomilter.ActionCode, int) {
	t.Helper()
	c := gomilter.NewClientWithOptions(network, address, gomilter.ClientOptions{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		ActionMask: gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody})
	s, err := c.Session()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	steps := []func() (*gomilter.Action, error){
		func() (*gomilter.Action, error) { return s.Conn("client.test", gomilter.FamilyInet, 25, host) },
		func() (*gomilter.Action, error) { return s.Mail(demoAlice, nil) },
		func() (*gomilter.Action, error) { return s.Rcpt(demoBob, nil) },
		func() (*gomilter.Action, error) { return s.HeaderField("From", demoAlice) },
		func() (*gomilter.Action, error) { return s.HeaderField("To", demoBob) },
		s.HeaderEnd,
	}
	for i, step := range steps {
		if i == 1 {
			if err = s.Macros(gomilter.CodeMail, "{auth_authen}", login); err != nil {
				t.Fatal(err)
			}
		}
		a, stepErr := step()
		if stepErr != nil {
			t.Fatal(stepErr)
		}
		if a.Code != gomilter.ActContinue {
			return a.Code, 0
		}
	}
	changes, a, err := s.BodyReadFrom(strings.NewReader("at noon\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return a.Code, len(changes)
}

// TestMilterCommand runs the filter as a program of its own.
func TestMilterCommand(t *testing.T) {
	w := testWorld(t)
	if code, _, text := run(t, "milter", "--config", w.file(demoConfig)); code != exitUsage || !strings.Contains(text, "[milter]") {
		t.Errorf("without an address: %d %s", code, text)
	}
	socket := filepath.Join(w.dir, "m.sock")
	stale, err := listenMilter("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = listenMilter("unix:" + socket); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two at one socket: %v", err)
	}
	stale.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	if err = stale.Close(); err != nil {
		t.Fatal(err)
	}
	add := "\n[milter]\naddress = \"unix:m.sock\"\n"
	w.edit(t, "\n[[rule]]", add+"\n[[rule]]")
	p := startCommand(t, "milter", "--config", w.file(demoConfig))
	p.told("READY=1")
	if code, out, text := run(t, "check", "--config", w.file(demoConfig)); code != exitOK || !strings.Contains(out, "listens there already") {
		t.Errorf("check while it runs: %d\n%s%s", code, out, text)
	}
	if code, _, text := run(t, "milter", "--config", w.file(demoConfig)); code != exitFailure || !strings.Contains(text, "another program listens there") {
		t.Errorf("a second one: %d\n%s", code, text)
	}
	if info, statErr := os.Lstat(socket); statErr != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", info, statErr)
	}
	check := func(login, host string, changed bool) {
		t.Helper()
		if code, changes := asked(t, "unix", socket, login, host); code != gomilter.ActAccept || (changes > 0) != changed {
			t.Errorf("login %q, host %s: %c, %d changes\n%s", login, host, code, changes, p.text())
		}
	}
	check(demoAlice, "192.0.2.1", true)
	check("", "192.0.2.1", false)
	// Another configuration, and one that is wrong.
	w.edit(t, add, add+"trusted = [\"192.0.2.0/24\"]\n")
	if err = p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.said("reloaded")
	check("", "192.0.2.1", true)
	w.edit(t, "trusted = [", "trusted = 3 # [")
	if err = p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.said("the old one stays")
	check("", "192.0.2.1", true)
	p.stopping.Store(true)
	if err = p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err = p.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, p.text())
	}
	if _, err = os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the socket is still there")
	}
	if text := p.text(); strings.Contains(text, "noon") {
		t.Errorf("the log has what was sent:\n%s", text)
	}
}
