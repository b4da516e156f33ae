package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/tls/certs"
)

// Exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitConfig
	exitCheck
)

// A usageError is a mistake in the command line.
type usageError struct {
	msg   string
	hints []string
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) *usageError {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// A checkError says how many of the checks of mailproxy check have failed.
type checkError struct{ failed, of int }

func (e *checkError) Error() string { return fmt.Sprintf("%d of %d checks failed", e.failed, e.of) }

// A listenError says at which address it is not possible to listen.
type listenError struct {
	address string
	err     error
}

func (e *listenError) Error() string { return "cannot listen at " + e.address + ": " + e.err.Error() }
func (e *listenError) Unwrap() error { return e.err }

func (e *listenError) hints() []string {
	_, file := strings.CutPrefix(e.address, config.Unix)
	switch {
	case file && errors.Is(e.err, fs.ErrExist):
		return []string{"another program listens there, perhaps another mailproxy milter"}
	case file && (errors.Is(e.err, fs.ErrPermission) || errors.Is(e.err, fs.ErrNotExist)):
		return []string{"the socket needs a folder where this user may make files; RuntimeDirectory=mailproxy of systemd makes /run/mailproxy"}
	case errors.Is(e.err, fs.ErrPermission):
		return []string{"ports below 1024 are for root, or for programs with CAP_NET_BIND_SERVICE"}
	}
	return nil
}

// A certificateError says that the certificate of a listener cannot be used.
type certificateError struct {
	name string
	err  error
}

func (e *certificateError) Error() string { return e.name + ": " + e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// An explanation is what a person is told about an error.
type explanation struct {
	code    int
	message string // a line for each error
	hints   []string
}

// explain translates every error into an exit code and words. It is the only
// place that does.
func explain(err error) explanation {
	e := explanation{code: exitFailure, message: printable(err.Error())}
	if ue, ok := errors.AsType[*usageError](err); ok {
		e.code, e.hints = exitUsage, ue.hints
		return e
	}
	var listening *listenError
	switch {
	case errors.As(err, new(*checkError)):
		e.code = exitCheck
	case errors.As(err, new(config.Errors)):
		e.code, e.hints = exitConfig, []string{"docs/mailproxy.toml explains every key"}
	case errors.Is(err, keystore.ErrPassphrase):
		e.code, e.hints = exitConfig, []string{"the first line of passphrase_file has to be the passphrase of the store"}
	case errors.As(err, new(*account.Error)), errors.As(err, new(*certificateError)), errors.As(err, new(*keystore.FileError)), errors.As(err, new(*facts.Error)), errors.As(err, new(*certs.LoadError)):
		e.code = exitConfig
		if errors.Is(err, fs.ErrNotExist) {
			e.hints = []string{"smimetool id new --store FILE ADDRESS makes an identity, and the store that it is in"}
		}
	case errors.Is(err, upstream.ErrNotTold):
		e.hints = []string{"the server has to trust this host: smtpd_authorized_xclient_hosts in Postfix, for example; or set client_address to none"}
	case errors.Is(err, upstream.ErrTarget):
		e.hints = []string{"a validating resolver on this host lets DNSSEC vouch for the records: [dns] resolver"}
	case errors.As(err, &listening):
		e.hints = listening.hints()
	case errors.Is(err, fs.ErrExist):
		e.hints = []string{"an existing file is never overwritten: remove it, or choose another name"}
	}
	return e
}

// printable replaces what could control a terminal, but for ends of lines.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
