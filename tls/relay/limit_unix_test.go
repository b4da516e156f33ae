//go:build unix

package relay_test

import "syscall"

// filesPossible returns how many files this process may have open. The Go
// runtime has raised the limit as far as it can.
func filesPossible() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 256
	}
	return int(min(uint64(r.Cur), 1<<20))
}
