// Package aside runs what needs much of a stack in a goroutine of its own.
//
// A goroutine keeps the stack that it once needed until the garbage collector
// halves it, which it does only where little of it is in use. One that waits for a
// client for hours should therefore not have done a TLS handshake itself.
package aside

import "time"

// restTime is how long a goroutine that has done something waits for more: where
// much is to be done its stack need not grow again and again.
const restTime = 20 * time.Millisecond

// hands takes what is to be done, where a goroutine waits for it.
var hands = make(chan func())

// Do calls f in another goroutine, and waits for it. A panic of f is the caller's.
func Do(f func()) {
	var thrown any
	done := make(chan struct{})
	job := func() {
		defer close(done)
		defer func() { thrown = recover() }()
		f()
	}
	select {
	case hands <- job:
	default:
		go work(job)
	}
	<-done
	if thrown != nil {
		panic(thrown)
	}
}

// work does a job, and others as they come.
func work(job func()) {
	rest := time.NewTimer(restTime)
	defer rest.Stop()
	for {
		job()
		job = nil // what it names is not held meanwhile
		rest.Reset(restTime)
		select {
		case job = <-hands:
		case <-rest.C:
			return
		}
	}
}
