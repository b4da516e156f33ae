//go:build !linux

package smtpproxy

import (
	"os"
	"testing"
)

// tinyDisk makes a folder one that does not take files, and returns 0.
func tinyDisk(t testing.TB, dir string, _ int) int {
	t.Helper()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	return 0
}
