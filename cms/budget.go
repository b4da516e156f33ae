package cms

import (
	"io"

	"github.com/postseal/postseal/internal/ber"
)

// A budget reads elements into memory and counts what they take.
type budget struct {
	limits *Limits
	left   int64 // of Limits.Total
}

// raw reads the next element as it was received.
func (b *budget) raw(r *ber.Reader, field string) ([]byte, error) {
	if b.left <= 0 {
		return nil, &LimitError{Limit: "size of all that is not content", Max: b.limits.Total}
	}
	raw, err := r.Raw(min(b.limits.Element, b.left))
	if err != nil {
		return nil, wire(err, field)
	}
	b.left -= int64(len(raw))
	return raw, nil
}

// der reads the next element and makes it definite.
func (b *budget) der(r *ber.Reader, field string) ([]byte, error) {
	start := r.Offset()
	raw, err := b.raw(r, field)
	if err != nil {
		return nil, err
	}
	out, err := ber.Normalize(raw, b.limits.Depth)
	if se, ok := err.(*ber.SyntaxError); ok {
		se.Offset += start
	}
	return out, wire(err, field)
}

// next is der, or nil at the end of the element that is open.
func (b *budget) next(r *ber.Reader, field string) ([]byte, error) {
	if _, err := r.Peek(); err == io.EOF {
		return nil, nil
	}
	return b.der(r, field)
}
