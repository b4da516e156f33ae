//go:build !linux

package main

import (
	"errors"
	"io/fs"
	"os"
)

// openNameless opens a file that has no name yet, where there are such.
func openNameless(string, fs.FileMode) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(*os.File, string) error { return errors.ErrUnsupported }
