//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"errors"
	"os"
)

// tryLock is for systems on which files cannot be locked: there nothing is
// written.
func tryLock(*os.File) (bool, error) {
	return false, errors.Join(errors.New("files cannot be locked on this system"), errors.ErrUnsupported)
}
