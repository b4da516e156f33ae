package main

import (
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openNameless opens a file that has no name yet: nobody else can open it, and
// nothing is left of it when this process ends. Where the file system has no such
// files it fails, and so it does where link would.
func openNameless(dir string, perm fs.FileMode) (*os.File, error) {
	if dir == "" {
		dir = "."
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, uint32(perm.Perm()))
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), dir)
	if _, err = os.Lstat(descriptor(f)); err != nil {
		_ = f.Close() // it was never there
		return nil, err
	}
	return f, nil
}

// link gives a file that openNameless has opened a name that does not exist.
func link(f *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, descriptor(f), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}

func descriptor(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
