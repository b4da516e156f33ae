package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// errNoTerminal says that there is nobody to ask for a passphrase.
var errNoTerminal = errors.New("there is no terminal to ask on")

// A secret is a source of passphrases. They are never the value of a flag,
// which others could see in the list of processes.
type secret struct {
	a    *app
	file string // --passphrase-file
	env  string // the environment variable; "" for none

	given  []byte // from the file or the environment
	loaded bool
}

// ask returns the passphrase for something: from the file, the environment, or
// a person.
func (s *secret) ask(what string) ([]byte, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.given != nil {
		return s.given, nil
	}
	return s.a.prompt("passphrase for " + printable(what) + ": ")
}

// askNew returns a passphrase that is being set, and asks for it twice.
func (s *secret) askNew(what string) ([]byte, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.given != nil {
		return s.given, nil
	}
	first, err := s.a.prompt("new passphrase for " + printable(what) + ": ")
	if err != nil {
		return nil, err
	}
	second, err := s.a.prompt("the same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, usagef("the two passphrases differ")
	}
	return first, nil
}

func (s *secret) load() error {
	if s.loaded {
		return nil
	}
	if s.file == "" {
		if text, ok := os.LookupEnv(s.env); ok && s.env != "" {
			s.given = []byte(text)
		}
		s.loaded = true
		return nil
	}
	data, err := s.a.readFile(s.file)
	if err != nil {
		return err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	s.given = append([]byte{}, bytes.TrimSuffix(line, []byte("\r"))...)
	s.loaded = true
	return nil
}

// prompt asks a question on the terminal, which need not be the standard input.
// The answer is not shown.
func (a *app) prompt(question string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		f, ok := a.stdin.(*os.File)
		if !ok || !isTerminal(f) {
			return nil, errNoTerminal
		}
		tty = f
	} else {
		defer func() { _ = tty.Close() }()
	}
	a.progress.clear()
	fd := int(tty.Fd())
	if state, stateErr := term.GetState(fd); stateErr == nil {
		defer a.temps.onExit(func() { _ = term.Restore(fd, state) })()
	}
	if _, err = io.WriteString(tty, question); err != nil {
		return nil, err
	}
	answer, err := term.ReadPassword(fd)
	_, _ = io.WriteString(tty, "\n")
	if err == io.EOF {
		return nil, errNoTerminal
	}
	return answer, err
}

// confirm asks a person whether to go on. Where there is nobody to ask that is
// a usageError.
func (a *app) confirm(question string) error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return &usageError{printable(question), []string{"there is no terminal to ask on; --yes does it without asking"}}
	}
	defer func() { _ = tty.Close() }()
	if _, err = io.WriteString(tty, printable(question)+" [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(tty, 100)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return usagef("nothing was changed")
	}
	return nil
}
