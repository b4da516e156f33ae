package mimeraw

import (
	"bytes"
	"encoding/binary"
)

// maxTextLine is the length of a line without its line end that RFC 5322,
// Section 2.1.1 allows at most, in octets.
const maxTextLine = 998

// Scan is an io.Writer that watches content for what may not survive a way
// through mail servers (RFC 8551, Section 3.1.3; RFC 2045, Section 2.7). It keeps
// nothing of what it sees. The zero value is ready for use. The methods that
// report may be called at any time: they speak of what was written so far, as if
// that were all.
type Scan struct {
	line      int64 // octets of the current line
	prev      byte  // last octet
	prev2     byte  // the one before it
	any       bool  // there was an octet
	from      int   // octets of the current line that agree with "From "; -1: it differs
	has8Bit   bool
	hasNUL    bool
	longLine  bool
	trailing  bool
	fromLine  bool
	sawBareLF bool
	sawBareCR bool
}

// fromPrefix is what mbox files use to separate messages.
const fromPrefix = "From "

// Write looks at p. It returns len(p) and no error.
func (s *Scan) Write(p []byte) (int, error) {
	s.Look(p)
	return len(p), nil
}

// Look is Write, and reports whether an LF in p has no CR before it.
func (s *Scan) Look(p []byte) (bareLF bool) {
	if len(p) == 0 {
		return false
	}
	if !s.has8Bit {
		s.has8Bit = has8Bit(p)
	}
	if !s.hasNUL {
		s.hasNUL = bytes.IndexByte(p, 0) >= 0
	}
	afterCR := s.prev == '\r'
	lines := s.lines(p)
	// A CR for each LF is the one before it, so where there are no more of them
	// none is bare. It is also counted when its LF comes with the next call.
	if !s.sawBareCR && (afterCR || lines < 0 || bytes.Count(p, crOctet) != lines) {
		s.sawBareCR = afterCR && p[0] != '\n' || bareCR(p)
	}
	return lines < 0
}

var crOctet = []byte{'\r'}

// lines takes p line by line. It returns the number of its line ends, or -1 when
// one of them is no CRLF.
func (s *Scan) lines(p []byte) int {
	n, bare := 0, s.sawBareLF
	s.sawBareLF = false
	for rest := p; len(rest) > 0; {
		j := bytes.IndexByte(rest, '\n')
		if j < 0 {
			s.advance(rest)
			break
		}
		if s.line == 0 && j > 0 && rest[j-1] == '\r' {
			s.whole(rest[:j-1])
		} else {
			s.advance(rest[:j])
			s.endLine()
		}
		rest = rest[j+1:]
		n++
	}
	if s.sawBareLF {
		n = -1
	}
	s.sawBareLF = s.sawBareLF || bare
	return n
}

// whole takes a line that ended in CRLF, at the start of one.
func (s *Scan) whole(line []byte) {
	if n := len(line); n > 0 {
		s.longLine = s.longLine || n > maxTextLine
		s.trailing = s.trailing || isBlank(line[n-1])
		s.fromLine = s.fromLine || line[0] == fromPrefix[0] && bytes.HasPrefix(line, []byte(fromPrefix))
	}
	s.prev2, s.prev, s.any = '\r', '\n', true
}

// advance takes octets of the current line; p holds no LF.
func (s *Scan) advance(p []byte) {
	if len(p) == 0 {
		return
	}
	if !s.fromLine && s.from >= 0 {
		n := min(len(fromPrefix)-s.from, len(p))
		if string(p[:n]) != fromPrefix[s.from:s.from+n] {
			s.from = -1
		} else if s.from += n; s.from == len(fromPrefix) {
			s.fromLine = true
		}
	}
	s.line += int64(len(p))
	if len(p) > 1 {
		s.prev2 = p[len(p)-2]
	} else {
		s.prev2 = s.prev
	}
	s.prev = p[len(p)-1]
	s.any = true
}

// endLine takes an LF.
func (s *Scan) endLine() {
	last, length := s.prev, s.line
	if s.prev == '\r' && s.line > 0 {
		last, length = s.prev2, s.line-1
	} else {
		s.sawBareLF = true
	}
	if length > maxTextLine {
		s.longLine = true
	}
	if length > 0 && isBlank(last) {
		s.trailing = true
	}
	s.line, s.from = 0, 0
	s.prev2, s.prev, s.any = s.prev, '\n', true
}

// bareCR reports whether p holds a CR that no LF follows. A CR at the end of p is
// left for the next call.
func bareCR(p []byte) bool {
	for {
		i := bytes.IndexByte(p, '\r')
		if i < 0 || i == len(p)-1 {
			return false
		}
		if p[i+1] != '\n' {
			return true
		}
		p = p[i+2:]
	}
}

// has8Bit reports whether p holds an octet above 127.
func has8Bit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		v := binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:]) |
			binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		if v&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// Has8Bit reports whether there was an octet above 127.
func (s *Scan) Has8Bit() bool { return s.has8Bit }

// HasNUL reports whether there was a NUL octet.
func (s *Scan) HasNUL() bool { return s.hasNUL }

// LongLine reports whether a line was longer than 998 octets, its line end not
// counted.
func (s *Scan) LongLine() bool {
	length := s.line
	if length > 0 && s.prev == '\r' {
		length-- // it may be half of a line end
	}
	return s.longLine || length > maxTextLine
}

// TrailingSpace reports whether a space or tab stood before a line end or at
// the end of the content.
func (s *Scan) TrailingSpace() bool { return s.trailing || s.any && isBlank(s.prev) }

// FromLine reports whether a line started with "From ".
func (s *Scan) FromLine() bool { return s.fromLine }

// BareLF reports whether there was an LF without a CR before it.
func (s *Scan) BareLF() bool { return s.sawBareLF }

// BareCR reports whether there was a CR without an LF after it.
func (s *Scan) BareCR() bool { return s.sawBareCR || s.prev == '\r' }
