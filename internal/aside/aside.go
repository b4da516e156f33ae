// Package aside runs what needs much of a stack in a goroutine of its own.
//
// A goroutine keeps the stack that it once needed until the garbage collector
// halves it, which it does only where little of it is in use. One that waits for a
// client for hours should therefore not have done a TLS handshake itself.
package aside

// Do calls f in another goroutine, and waits for it. A panic of f is the caller's.
func Do(f func()) {
	var thrown any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { thrown = recover() }()
		f()
	}()
	<-done
	if thrown != nil {
		panic(thrown)
	}
}
