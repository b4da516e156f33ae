// Smimetool signs, encrypts, opens and inspects S/MIME messages and bare CMS
// files.
//
// A failed run leaves no output behind, and what a signature or an
// authenticated cipher protects is given out only after it has been checked.
// Input of any size is handled in constant memory.
package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// The collector's settings keep the process below 32 MiB whatever the input's
// size. Until there is much garbage the collector need not run: a small message
// is done before that.
const (
	gcPercent   = 200
	memoryLimit = 20 << 20 // in octets; soft
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	a := newApp()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	go func() {
		sig := <-interrupts
		a.temps.removeAll()
		code := 1
		if n, ok := sig.(syscall.Signal); ok {
			code = 128 + int(n)
		}
		os.Exit(code)
	}()
	os.Exit(a.run(os.Args[1:]))
}
