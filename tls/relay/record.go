package relay

// Figures of the record layer: RFC 8446, Section 5.1 and 5.2; RFC 5246, Section 6.2.
const (
	recordHeader       = 5
	maxRecord          = 16<<10 + 2048
	firstContentType   = 20
	typeApplication    = 23
	lastContentType    = 24
	recordMajorVersion = 3
)

// A framer follows the boundaries of the records in a stream of octets. It
// needs no keys: the header of a record is never encrypted.
type framer struct {
	header [recordHeader]byte
	have   int  // octets of the header that have been seen
	body   int  // octets of the body that are still to come
	lost   bool // the stream is not one of records
}

// boundary reports whether the next octet is the first of a record.
func (f *framer) boundary() bool { return f.have == 0 && f.body == 0 && !f.lost }

// take consumes octets up to the end of the current record and returns how many
// those are. If p is not empty it is at least one.
func (f *framer) take(p []byte) int {
	if f.lost {
		return len(p)
	}
	n := 0
	if f.body == 0 {
		n = copy(f.header[f.have:], p)
		if f.have += n; f.have < recordHeader {
			return n
		}
		size, ok := recordSize(f.header[:])
		if !ok {
			f.lost = true
			return len(p)
		}
		f.have, f.body = 0, size
	}
	more := min(f.body, len(p)-n)
	f.body -= more
	return n + more
}

// takeAll consumes all of p.
func (f *framer) takeAll(p []byte) {
	for len(p) > 0 {
		p = p[f.take(p):]
	}
}

// recordSize returns the length of the body of a record, from its header.
func recordSize(header []byte) (size int, ok bool) {
	size = int(header[3])<<8 | int(header[4])
	ok = header[0] >= firstContentType && header[0] <= lastContentType &&
		header[1] == recordMajorVersion && size <= maxRecord
	return size, ok
}

// wholeApplication reports whether p starts with a complete record of the type
// application_data. In TLS 1.3 other types hide behind that one, but no
// handshake that would have to wait for its answer.
func wholeApplication(p []byte) bool {
	if len(p) < recordHeader || p[0] != typeApplication {
		return false
	}
	size, ok := recordSize(p)
	return ok && len(p) >= recordHeader+size
}
