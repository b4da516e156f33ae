package main

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/tls/certs"
)

func TestExplain(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	tests := []struct {
		err   error
		code  int
		hints int
	}{
		{errors.New("x"), exitFailure, 0},
		{usagef("x"), exitUsage, 0},
		{&checkError{1, 2}, exitCheck, 0},
		{config.Errors{{File: "f", Want: "x"}}, exitConfig, 1},
		{&account.Error{Login: "a", Err: missing}, exitConfig, 1},
		{&account.Error{Login: "a", Err: &keystore.FileError{Name: "s", Err: keystore.ErrPassphrase}}, exitConfig, 1},
		{&account.Error{Login: "a", Err: errors.New("x")}, exitConfig, 0},
		{&keystore.FileError{Name: "ca.pem", Err: keystore.ErrNoCertificate}, exitConfig, 0},
		{&facts.Error{Path: "f", Err: facts.ErrExposed}, exitConfig, 0},
		{&certs.LoadError{File: "c", Err: certs.ErrExpired}, exitConfig, 0},
		{&upstream.PlaceError{Place: "p", Err: upstream.ErrNotTold}, exitFailure, 1},
		{upstream.ErrTarget, exitFailure, 1},
		{&certificateError{"c", errors.New("x")}, exitConfig, 0},
		{&listenError{"a", fs.ErrPermission}, exitFailure, 1},
		{&listenError{"a", errors.New("x")}, exitFailure, 0},
		{&fs.PathError{Op: "create", Path: "x", Err: fs.ErrExist}, exitFailure, 1},
		{missing, exitFailure, 0},
	}
	for _, test := range tests {
		e := explain(fmt.Errorf("wrapped: %w", test.err))
		if e.code != test.code || len(e.hints) != test.hints || e.message == "" {
			t.Errorf("%T %v: %+v", test.err, test.err, e)
		}
	}
	if got := printable("a\x1b[31mb\nc\u202e"); got != "a\uFFFD[31mb\nc\uFFFD" {
		t.Errorf("%q", got)
	}
}
