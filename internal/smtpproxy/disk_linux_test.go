package smtpproxy

import (
	"fmt"
	"syscall"
	"testing"
)

// tinyDisk makes a folder one of a small file system, and returns its size, or 0
// where that is not allowed: the folder does not take files then.
func tinyDisk(t testing.TB, dir string, size int) int {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Logf("no tmpfs: %v", err)
		if err = syscall.Rmdir(dir); err != nil {
			t.Fatal(err)
		}
		return 0
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return size
}
