package ber

// Normalize returns one element with every length definite and in its shortest
// form, and with constructed strings of the universal class joined: DER, but
// for the order of SETs and the contents of primitive elements. raw is
// returned as it is when nothing is to be changed. The cost is linear.
func Normalize(raw []byte, maxDepth int) ([]byte, error) {
	n := normalizer{raw: raw, maxDepth: maxDepth}
	_, rest, err := n.measure(raw, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, n.syntax(rest, "there is data behind the element")
	}
	if !n.changed {
		return raw, nil
	}
	n.noted = true
	size, _, err := n.measure(raw, 0)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, size)
	out, _ = n.emit(out, raw)
	return out, nil
}

type normalizer struct {
	raw      []byte
	maxDepth int
	changed  bool
	noted    bool  // lengths are wanted
	lengths  []int // of the contents of constructed elements, in order
}

func (n *normalizer) syntax(at []byte, msg string) error {
	return &SyntaxError{Offset: int64(len(n.raw) - len(at)), Msg: msg}
}

// isString reports whether constructed elements with tag t are strings in
// segments (X.690, Sections 8.6, 8.7, 8.23).
func isString(t Tag) bool {
	return t == BitString || t == OctetString || t == 12 || t >= 18 && t <= 22 || t >= 25 && t <= 30
}

// header reads the header of the element at the start of p and returns its
// contents and what follows it. For an indefinite length, contents runs to the
// end of p and after is nil.
func (n *normalizer) header(p []byte) (h Header, contents, after []byte, err error) {
	h, size, herr := parseHeader(p)
	if herr != "" {
		return h, nil, nil, n.syntax(p, string(herr))
	}
	contents = p[size:]
	if h.Length == Indefinite {
		return h, contents, nil, nil
	}
	if h.Length > int64(len(contents)) {
		return h, nil, nil, n.syntax(p, "an element is longer than the one that holds it")
	}
	if size != HeaderLen(h.Tag, h.Length) {
		n.changed = true
	}
	return h, contents[:h.Length], contents[h.Length:], nil
}

// measure returns the size that the element at the start of p will have.
func (n *normalizer) measure(p []byte, depth int) (size int, rest []byte, err error) {
	h, contents, after, err := n.header(p)
	if err != nil {
		return 0, nil, err
	}
	if h.Tag == EndOfContents {
		return 0, nil, n.syntax(p, "end-of-contents octets are out of place")
	}
	if !h.Constructed {
		return HeaderLen(h.Tag, h.Length) + len(contents), after, nil
	}
	if depth >= n.maxDepth {
		return 0, nil, &LimitError{What: "nesting of elements", Max: int64(n.maxDepth)}
	}
	if isString(h.Tag) {
		n.changed = true
		size, rest, err = n.measureString(h, contents, after, depth)
		return HeaderLen(h.Tag, int64(size)) + size, rest, err
	}
	slot := len(n.lengths)
	if n.noted {
		n.lengths = append(n.lengths, 0)
	}
	for {
		if h.Length != Indefinite && len(contents) == 0 {
			break
		}
		if h.Length == Indefinite && len(contents) >= 2 && contents[0] == 0 && contents[1] == 0 {
			n.changed = true
			after = contents[2:]
			break
		}
		var part int
		if part, contents, err = n.measure(contents, depth+1); err != nil {
			return 0, nil, err
		}
		size += part
	}
	if n.noted {
		n.lengths[slot] = size
	}
	return HeaderLen(h.Tag, int64(size)) + size, after, nil
}

// measureString returns the size of the joined contents.
func (n *normalizer) measureString(h Header, contents, after []byte, depth int) (size int, rest []byte, err error) {
	bad := false
	skip := stringPrefix(h.Tag)
	rest, err = n.segments(h, contents, after, depth, func(segment []byte) {
		bad = bad || len(segment) < skip
		size += len(segment) - skip
	})
	if err == nil && bad {
		err = n.syntax(contents, "a segment of a BIT STRING is empty")
	}
	return size + skip, rest, err
}

// stringPrefix is the number of octets at the start of each segment that are
// not its contents: a BIT STRING's count of unused bits.
func stringPrefix(t Tag) int {
	if t == BitString {
		return 1
	}
	return 0
}

// segments calls f for each primitive segment of a constructed string.
func (n *normalizer) segments(h Header, contents, after []byte, depth int, f func([]byte)) ([]byte, error) {
	if depth >= n.maxDepth {
		return nil, &LimitError{What: "nesting of elements", Max: int64(n.maxDepth)}
	}
	for {
		if h.Length != Indefinite && len(contents) == 0 {
			return after, nil
		}
		inner, segment, next, err := n.header(contents)
		if err != nil {
			return nil, err
		}
		if h.Length == Indefinite && inner.Tag == EndOfContents {
			return next, nil
		}
		if inner.Tag != h.Tag && inner.Tag != OctetString {
			return nil, n.syntax(contents, "there is "+inner.Tag.String()+" among the segments of a string")
		}
		if inner.Constructed {
			contents, err = n.segments(inner, segment, next, depth+1, f)
			if err != nil {
				return nil, err
			}
			continue
		}
		f(segment)
		contents = next
	}
}

// emit appends the element at the start of p, which measure has accepted.
func (n *normalizer) emit(dst, p []byte) (out, rest []byte) {
	h, contents, after, err := n.header(p)
	if err != nil {
		return dst, nil
	}
	if !h.Constructed {
		dst = AppendHeader(dst, h.Tag, false, h.Length)
		return append(dst, contents...), after
	}
	if isString(h.Tag) {
		return n.emitString(dst, h, contents, after)
	}
	size := n.lengths[0]
	n.lengths = n.lengths[1:]
	dst = AppendHeader(dst, h.Tag, true, int64(size))
	for {
		if h.Length != Indefinite && len(contents) == 0 {
			return dst, after
		}
		if h.Length == Indefinite && contents[0] == 0 && contents[1] == 0 {
			return dst, contents[2:]
		}
		dst, contents = n.emit(dst, contents)
	}
}

func (n *normalizer) emitString(dst []byte, h Header, contents, after []byte) (out, rest []byte) {
	size, _, err := n.measureString(h, contents, after, 0)
	if err != nil {
		return dst, nil
	}
	dst = AppendHeader(dst, h.Tag, false, int64(size))
	skip := stringPrefix(h.Tag)
	start := len(dst)
	dst = append(dst, make([]byte, skip)...)
	rest, _ = n.segments(h, contents, after, 0, func(segment []byte) {
		// X.690, Section 8.6.4: the last segment counts the unused bits.
		copy(dst[start:], segment[:skip])
		dst = append(dst, segment[skip:]...)
	})
	return dst, rest
}
