package smime

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
)

const (
	maxInspectDepth = 32
	maxInspectParts = 10000
)

// inspect looks for protected parts inside of the content. They stay closed:
// whoever opens a part that stands beside others lets these steal its content,
// or borrow its signature.
func (r *reader) inspect() error {
	h := r.msg.inner
	m := r.types.of(h, textPlain)
	if r.types.recognise(h) != kindOther || !container(m) {
		return nil
	}
	i := &inspection{r: r}
	err := i.body(bufio.NewReaderSize(r.msg.body.raw(), readBuffer), m, nil)
	if le, ok := errors.AsType[*cms.LimitError](err); ok {
		i.found = append(i.found, le)
		err = nil
	}
	r.msg.Problems = append(r.msg.Problems, i.found...)
	return err
}

// container reports whether an entity has others inside.
func container(m mimeraw.MediaType) bool {
	return strings.HasPrefix(m.Type, "multipart/") || m.Type == messageRFC822 || m.Type == "message/global"
}

// An inspection is a walk through the structure of the content.
type inspection struct {
	r     *reader
	parts int
	found []error
}

// body walks through the body of a container.
func (i *inspection) body(br *bufio.Reader, m mimeraw.MediaType, path []int) error {
	if len(path) == maxInspectDepth {
		return &cms.LimitError{Limit: "depth of parts", Max: maxInspectDepth}
	}
	if !strings.HasPrefix(m.Type, "multipart/") {
		return i.entity(br, append(slices.Clip(path), 1), textPlain)
	}
	fallback := textPlain
	if m.Type == "multipart/digest" {
		fallback = messageRFC822
	}
	mp := mimeraw.NewMultipart(br, m.Params["boundary"])
	for n := 1; ; n++ {
		part, err := mp.Next()
		if err == io.EOF || err == mimeraw.ErrBoundary {
			return nil
		}
		if err != nil {
			return err
		}
		if err = i.entity(bufio.NewReaderSize(part, 8<<10), append(slices.Clip(path), n), fallback); err != nil {
			return err
		}
	}
}

// entity looks at the entity at br.
func (i *inspection) entity(br *bufio.Reader, path []int, fallback string) error {
	if i.parts++; i.parts > maxInspectParts {
		return &cms.LimitError{Limit: "number of parts", Max: maxInspectParts}
	}
	h := newHead(i.r.opts.MaxHeader)
	if err := h.read(br); err != nil {
		return err
	}
	m := i.r.types.of(h.header, fallback)
	switch kind := i.r.types.recognise(h.header); {
	case kind == kindOpaque, kind == kindClear && !strings.Contains(strings.ToLower(m.Params["protocol"]), "pgp"):
		i.found = append(i.found, &ClosedPartError{Path: path, Type: m.Type})
		return nil
	case !container(m):
		return nil
	}
	rest := io.MultiReader(strings.NewReader(string(h.raw[h.body:])), br)
	return i.body(bufio.NewReaderSize(rest, 8<<10), m, path)
}
