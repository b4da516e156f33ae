//go:build !windows

package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

const errNotDir = syscall.ENOTDIR

// dropRights makes the process one of a user who owns nothing, when it is
// root's, for whom modes do not count. Folders of the tests are opened for it
// as far as the store's.
func dropRights() error {
	if os.Getuid() != 0 {
		return nil
	}
	path := os.Getenv("POSTSEAL_STORE_PATH")
	for dir := filepath.Dir(path); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o700 == 0o700 {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	const nobody = 65534
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody))
}
