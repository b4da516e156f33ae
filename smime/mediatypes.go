package smime

import (
	"bytes"
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
)

// mediaTypes remembers the Content-Type fields that were read last, since each
// step of opening a message asks what an entity is. The parameters it returns are
// not to be changed. It is not safe for concurrent use.
type mediaTypes struct {
	last [4]typeField // an outer one, that of the content, that of a signature
	next int
}

// A typeField is a Content-Type field, and what is in it.
type typeField struct {
	raw   []byte
	media mimeraw.MediaType
	err   error
}

// maxTypeField is the size in octets of the longest field that is remembered.
const maxTypeField = 4 << 10

// read returns the Content-Type of an entity. ok is false when there is none, and
// the error is that of ParseMediaType.
func (t *mediaTypes) read(h *mimeraw.Header) (m mimeraw.MediaType, ok bool, err error) {
	i := slices.IndexFunc(h.Fields, func(f mimeraw.Field) bool { return f.Is("Content-Type") })
	if i < 0 {
		return mimeraw.MediaType{Params: map[string]string{}}, false, nil
	}
	field := h.Fields[i]
	for _, known := range t.last {
		if known.raw != nil && bytes.Equal(known.raw, field.Raw) {
			return known.media, true, known.err
		}
	}
	m, err = mimeraw.ParseMediaType(field.Value())
	if len(field.Raw) <= maxTypeField {
		t.last[t.next] = typeField{field.Raw, m, err}
		t.next = (t.next + 1) % len(t.last)
	}
	return m, true, err
}

// of returns the Content-Type of an entity; fallback is the type of one that has
// no field. A field that is malformed stands for text/plain: RFC 2045, Section
// 5.2.
func (t *mediaTypes) of(h *mimeraw.Header, fallback string) mimeraw.MediaType {
	m, ok, err := t.read(h)
	switch {
	case !ok:
		m.Type = fallback
	case err != nil:
		m.Type = textPlain
	}
	return m
}

// A kind is what stands at the root of an entity.
type kind uint8

const (
	kindOther  kind = iota
	kindClear       // multipart/signed
	kindOpaque      // a CMS message
)

var opaqueTypes = []string{
	"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
}

// recognise says what an entity claims to be. RFC 8551, Section 3.10: by its
// type, or by the name of a file where gateways have put another type.
func (t *mediaTypes) recognise(h *mimeraw.Header) kind {
	m, typed, err := t.read(h)
	switch {
	case err != nil:
	case m.Type == TypeMultipartSigned:
		return kindClear
	case slices.Contains(opaqueTypes, m.Type):
		return kindOpaque
	case typed && !strings.HasPrefix(m.Type, "application/"):
		return kindOther
	}
	if slices.Contains([]string{".p7m", ".p7z", ".p7c", ".p7s"}, extension(h, m)) {
		return kindOpaque
	}
	return kindOther
}

// extension returns the last four octets of the file name of an entity, in
// lower case.
func extension(h *mimeraw.Header, m mimeraw.MediaType) string {
	name := ""
	if disposition, ok := h.Get("Content-Disposition"); ok {
		d, _ := mimeraw.ParseMediaType(disposition) // the type has no subtype
		name = d.Params["filename"]
	}
	if name == "" {
		name = m.Params["name"]
	}
	name = strings.TrimRight(name, " \t\r\n")
	return strings.ToLower(name[max(0, len(name)-4):])
}
