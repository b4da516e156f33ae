package keystore

// Bounds on what a file can ask for.
const (
	maxIterations = 10_000_000 // for one key
	maxWork       = 2 * maxIterations
	maxScryptMem  = 256 << 20 // octets
	maxRSABits    = 16384
	maxDSABits    = 10000
	maxDepth      = 32   // of nested elements
	maxObjects    = 1000 // keys and certificates in a file
)

// work counts what a file has made us compute.
type work struct {
	perKey, left int64
}

func newWork() *work { return &work{perKey: maxIterations, left: maxWork} }

// spend takes n iterations.
func (w *work) spend(n int64) error {
	switch {
	case n < 1:
		return malformed("iteration count")
	case n > w.perKey || n > w.left:
		return &LimitError{"iterations for a passphrase"}
	}
	w.left -= n
	return nil
}
