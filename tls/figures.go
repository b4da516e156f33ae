package tls

import (
	cryptotls "crypto/tls"
	"sync/atomic"
)

// Figures count handshakes, of one configuration or of several, and of both sides
// if they are shared. The zero value is ready. They may be used by several goroutines,
// and must not be copied after first use.
type Figures struct{ full, resumed, failed atomic.Uint64 }

// Full is how many handshakes ended well with certificates.
func (f *Figures) Full() uint64 { return f.full.Load() }

// Resumed is how many ended well by taking up an earlier session.
func (f *Figures) Resumed() uint64 { return f.resumed.Load() }

// Failed is how many were begun and did not end well. What fails before the
// handshake is not counted.
func (f *Figures) Failed() uint64 { return f.failed.Load() }

// count counts the outcome of a handshake. f may be nil.
func (f *Figures) count(t *cryptotls.Conn, err error) {
	switch {
	case f == nil:
	case err != nil:
		f.failed.Add(1)
	case t.ConnectionState().DidResume:
		f.resumed.Add(1)
	default:
		f.full.Add(1)
	}
}
