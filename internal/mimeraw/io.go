package mimeraw

const (
	// blockSize is the size of the buffers of readers and writers, in octets.
	blockSize = 32 << 10

	// maxEmptyReads is how often in a row a source may return neither data
	// nor an error, as in package bufio.
	maxEmptyReads = 100
)

// isBlank reports whether c is a space or a tab, the white space within a line.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }
