package main

import (
	"os"
	"syscall"
)

// peak returns the peak of what was resident of a process, in octets.
func peak(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss) << 10 // Linux counts in KiB
	}
	return 0
}
