package relay

import "sync"

const (
	// chunk is how much is read or written at once while data flow.
	chunk = 64 << 10
	// overhead is what records add to a chunk: with the smallest records that
	// crypto/tls makes of much data, about 1 KiB, and the largest expansion.
	overhead = 8 << 10
	// small is what a direction holds while nothing flows.
	small = 512
	// medium is what a direction holds, once data have flowed, that reads from a
	// connection without a file descriptor.
	medium = 4 << 10
	// control is how much of answers to a peer, such as key updates and handshakes, may wait
	// for the peer to read it.
	control = 64 << 10
)

// buffers holds the buffers of directions in which data flow.
var buffers = sync.Pool{New: func() any { return new([chunk + overhead]byte) }}

func borrow() *[chunk + overhead]byte { return buffers.Get().(*[chunk + overhead]byte) }

// giveBack takes a buffer that may be nil.
func giveBack(b *[chunk + overhead]byte) {
	if b != nil {
		buffers.Put(b)
	}
}
