package store

import (
	"errors"
	"io/fs"
)

var errNotDir = fs.ErrNotExist

func dropRights() error { return errors.ErrUnsupported }
