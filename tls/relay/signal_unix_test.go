//go:build unix

package relay_test

import "syscall"

// terminate is how programs are asked to end.
const terminate = syscall.SIGTERM
