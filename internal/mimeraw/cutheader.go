package mimeraw

import "bytes"

// CutHeader is [ReadHeader] for octets that are at hand: raw is a header and what
// there is of a body, and n is where the body starts. The fields are parts of raw.
func CutHeader(raw []byte, max int) (h *Header, n int, err error) {
	if max <= 0 {
		max = DefaultMaxHeader
	}
	var room [32]int
	starts := room[:0]
	first := dropped(raw)
	at := first
	for at <= max {
		switch kind, _ := classifyLine(raw[at:min(len(raw), at+maxFieldName)]); kind {
		case lineEnd:
			return cut(raw, starts, at, nil), at, nil
		case lineBlank:
			end := at + lineSize(raw[at:])
			if end > max {
				return nil, 0, ErrHeaderTooLong
			}
			return cut(raw, starts, at, raw[at:end:end]), end, nil
		case lineField:
			starts = append(starts, at)
		case lineContinuation:
			if len(starts) == 0 {
				starts = append(starts, first)
			}
		}
		at += lineSize(raw[at:])
	}
	return nil, 0, ErrHeaderTooLong
}

// cut cuts the fields that end at end.
func cut(raw []byte, starts []int, end int, separator []byte) *Header {
	h := NewHeader(len(starts), separator)
	for i := len(starts) - 1; i >= 0; i-- {
		h.Fields[i].Raw = raw[starts[i]:end:end]
		end = starts[i]
	}
	return h
}

// NewHeader returns a header with n fields, which are to be filled in. When these are few, it is one piece of
// memory.
func NewHeader(n int, separator []byte) *Header {
	const few = 8
	if n > few {
		return &Header{Fields: make([]Field, n), Separator: separator}
	}
	h := &struct {
		Header
		room [few]Field
	}{}
	h.Fields, h.Separator = h.room[:n:n], separator
	return &h.Header
}

// dropped returns how many octets at the start are a byte order mark and an mbox
// separator line.
func dropped(raw []byte) int {
	n := 0
	if bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")) {
		n = 3
	}
	if !bytes.HasPrefix(raw[n:], []byte(fromPrefix)) {
		return n
	}
	// RFC 5322, Section 4.5: "From :" is an old form of the field.
	if rest := bytes.TrimLeft(raw[n+len(fromPrefix):], " \t"); len(rest) > 0 && rest[0] == ':' {
		return n
	}
	return n + lineSize(raw[n:])
}

// lineSize returns the size of the first line of raw, with its line end.
func lineSize(raw []byte) int {
	if i := bytes.IndexByte(raw, '\n'); i >= 0 {
		return i + 1
	}
	return len(raw)
}
