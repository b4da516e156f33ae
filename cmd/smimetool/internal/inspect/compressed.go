package inspect

import (
	"bytes"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
)

// compressed reads a CompressedData (RFC 3274). It is expanded under the limits
// of package cms.
func (s structure) compressed() error {
	a, err := readAlgorithm(s.r)
	if err != nil {
		return err
	}
	s.n.set("compression", alg.Name(a.OID))
	if err = s.r.Enter(ber.Sequence); err != nil {
		return err
	}
	contentType, err := readOID(s.r)
	if err != nil {
		return err
	}
	if err = s.r.Enter(ber.Context(0)); err != nil {
		return err
	}
	octets, err := s.r.Octets(ber.OctetString)
	if err != nil {
		return err
	}
	content, err := expand(a, octets)
	if err != nil {
		return err
	}
	if err = s.content(s.n, contentType, content); err != nil {
		return err
	}
	if _, err = drain(octets); err != nil {
		return err
	}
	if err = s.r.Leave(); err != nil {
		return err
	}
	return s.r.Leave()
}

// expand returns the content of a CompressedData, of which it makes one anew
// for package cms.
func expand(a cms.AlgorithmIdentifier, compressed io.Reader) (io.Reader, error) {
	fields, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(0)
		der.AddAlgorithm(b, a)
	})
	if err != nil {
		return nil, err
	}
	id, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, cms.TypeData) })
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	start, end := around(cms.TypeCompressedData)
	head.Write(start)
	head.Write([]byte{0x30, 0x80})
	head.Write(fields)
	head.Write([]byte{0x30, 0x80})
	head.Write(id)
	head.Write([]byte{0xa0, 0x80, 0x24, 0x80})
	tail := bytes.NewReader(append(make([]byte, 8), end...))
	r, err := cms.NewReader(io.MultiReader(&head, &segments{src: compressed}, tail), nil)
	if err != nil {
		return nil, err
	}
	return r.Decompress()
}

// segments gives a stream as the segments of a constructed OCTET STRING.
type segments struct {
	src  io.Reader
	rest []byte
	buf  [4 + bufferSize]byte
}

func (s *segments) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		n, err := s.src.Read(s.buf[4:])
		if n == 0 && err != nil {
			return 0, err
		}
		if n == 0 {
			continue
		}
		head := ber.AppendHeader(nil, ber.OctetString, false, int64(n))
		s.rest = s.buf[4-len(head) : 4+n]
		copy(s.rest, head)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
