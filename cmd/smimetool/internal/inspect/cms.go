package inspect

import (
	"bufio"
	"bytes"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
)

// A structure is a CMS structure that is being read.
type structure struct {
	*walker
	n *Node
	r *ber.Reader
}

// contentInfo reads a ContentInfo (RFC 5652, Section 3).
func (w *walker) contentInfo(parent *Node, br *bufio.Reader) error {
	leave, err := w.enter()
	defer leave()
	if err != nil {
		return err
	}
	r := ber.NewReader(br, 2*maxDepth)
	if err = r.Enter(ber.Sequence); err != nil {
		return err
	}
	contentType, err := readOID(r)
	if err != nil {
		return err
	}
	n, err := w.node(parent, alg.Name(contentType), "")
	if err != nil {
		return err
	}
	s := structure{w, n, r}
	if err = r.Enter(ber.Context(0)); err != nil {
		return err
	}
	if err = s.body(contentType); err != nil {
		return err
	}
	if err = r.Leave(); err != nil {
		return err
	}
	return r.Leave()
}

func (s structure) body(contentType cms.OID) error {
	readers := map[cms.OID]func() error{
		cms.TypeSignedData:        s.signed,
		cms.TypeEnvelopedData:     s.enveloped,
		cms.TypeAuthEnvelopedData: s.enveloped,
		cms.TypeAuthenticatedData: s.authenticated,
		cms.TypeEncryptedData:     s.encrypted,
		cms.TypeDigestedData:      s.digested,
		cms.TypeCompressedData:    s.compressed,
	}
	if contentType == cms.TypeData {
		content, err := s.r.Octets(ber.OctetString)
		if err != nil {
			return err
		}
		return s.content(s.n, contentType, content)
	}
	read, ok := readers[contentType]
	if !ok {
		s.n.set("note", "a content of this type is not known")
		_, err := s.r.Raw(maxElement)
		return err
	}
	if err := s.r.Enter(ber.Sequence); err != nil {
		return err
	}
	if _, err := s.r.Expect(ber.Integer); err != nil {
		return err
	}
	if _, err := s.r.Raw(maxElement); err != nil { // the version
		return err
	}
	if err := read(); err != nil {
		return err
	}
	return s.r.Leave()
}

// content reads content that is open to everybody, and goes on inside.
func (w *walker) content(n *Node, contentType cms.OID, src io.Reader) error {
	if contentType != cms.TypeData {
		n.set("content_type", alg.Name(contentType))
	}
	count := &counter{src: src}
	br := newBuffered(count)
	head, err := br.Peek(256)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case isContentInfo(head):
		err = w.contentInfo(n, br)
	case isStructure(contentType):
		// RFC 5652, Section 5.2: the content is the structure itself, without a
		// ContentInfo around it.
		start, end := around(contentType)
		err = w.contentInfo(n, newBuffered(io.MultiReader(bytes.NewReader(start), br, bytes.NewReader(end))))
	case contentType == cms.TypeData && looksLikeEntity(head):
		var child *Node
		if child, err = w.node(n, "entity", ""); err == nil {
			err = w.entity(child, br)
		}
	default:
		err = nil
	}
	if err == nil {
		_, err = drain(br)
	}
	n.set("content_octets", count.n)
	return err
}

func isStructure(t cms.OID) bool {
	switch t {
	case cms.TypeSignedData, cms.TypeEnvelopedData, cms.TypeAuthEnvelopedData, cms.TypeAuthenticatedData,
		cms.TypeEncryptedData, cms.TypeDigestedData, cms.TypeCompressedData:
		return true
	}
	return false
}

// around returns what makes a structure a ContentInfo: of indefinite length, as
// the size is not known.
func around(t cms.OID) (start, end []byte) {
	id, err := der.Marshal(func(b *der.Builder) { der.AddOID(b, t) })
	if err != nil {
		return nil, nil
	}
	start = append([]byte{0x30, 0x80}, id...)
	return append(start, 0xa0, 0x80), make([]byte, 4)
}

func isContentInfo(head []byte) bool {
	if len(head) < 3 || head[0] != 0x30 {
		return false
	}
	skip := 2
	if head[1] > 0x80 && head[1] <= 0x88 {
		skip += int(head[1] - 0x80)
	}
	return len(head) > skip && head[skip] == 0x06
}

// encap reads an EncapsulatedContentInfo (RFC 5652, Section 5.2).
func (s structure) encap() error {
	if err := s.r.Enter(ber.Sequence); err != nil {
		return err
	}
	contentType, err := readOID(s.r)
	if err != nil {
		return err
	}
	if _, err = s.r.Peek(); err == io.EOF {
		s.n.set("content", "detached")
		if contentType != cms.TypeData {
			s.n.set("content_type", alg.Name(contentType))
		}
		return s.r.Leave()
	}
	if err = s.r.Enter(ber.Context(0)); err != nil {
		return err
	}
	h, err := s.r.Peek()
	if err != nil {
		return err
	}
	if h.Tag != ber.OctetString { // PKCS #7 allowed any type
		raw, rawErr := s.r.Raw(maxElement)
		if rawErr != nil {
			return rawErr
		}
		s.n.set("content_type", alg.Name(contentType))
		s.n.set("content_octets", int64(len(raw)))
	} else {
		octets, octetsErr := s.r.Octets(ber.OctetString)
		if octetsErr != nil {
			return octetsErr
		}
		if err = s.content(s.n, contentType, octets); err != nil {
			return err
		}
	}
	if err = s.r.Leave(); err != nil {
		return err
	}
	return s.r.Leave()
}

// encryptedContent reads an EncryptedContentInfo (RFC 5652, Section 6.1).
func (s structure) encryptedContent() error {
	if err := s.r.Enter(ber.Sequence); err != nil {
		return err
	}
	contentType, err := readOID(s.r)
	if err != nil {
		return err
	}
	if contentType != cms.TypeData {
		s.n.set("content_type", alg.Name(contentType))
	}
	cipher, err := readAlgorithm(s.r)
	if err != nil {
		return err
	}
	s.n.set("cipher", alg.Name(cipher.OID))
	if _, err = s.r.Peek(); err == io.EOF {
		s.n.set("content", "detached")
		return s.r.Leave()
	}
	content, err := s.r.Octets(ber.Context(0))
	if err != nil {
		return err
	}
	size, err := drain(content)
	if err != nil {
		return err
	}
	s.n.set("encrypted_octets", size)
	return s.r.Leave()
}

func (s structure) encrypted() error {
	if err := s.encryptedContent(); err != nil {
		return err
	}
	return s.tail("")
}

func (s structure) digested() error {
	digest, err := readAlgorithm(s.r)
	if err != nil {
		return err
	}
	s.n.set("digest", alg.Name(digest.OID))
	if err = s.encap(); err != nil {
		return err
	}
	return s.tail("digest_value")
}

func (s structure) authenticated() error {
	if err := s.recipients(); err != nil {
		return err
	}
	mac, err := readAlgorithm(s.r)
	if err != nil {
		return err
	}
	s.n.set("mac", alg.Name(mac.OID))
	h, err := s.r.Peek()
	if err == nil && h.Tag == ber.Context(1) { // digestAlgorithm
		_, err = s.r.Raw(maxElement)
	}
	if err != nil {
		return err
	}
	if err = s.encap(); err != nil {
		return err
	}
	return s.tail("mac_value")
}

// tail reads the rest of a structure: attributes, and a value in an OCTET
// STRING.
func (s structure) tail(value string) error {
	for {
		h, err := s.r.Peek()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		raw, err := s.r.DER(maxElement)
		if err != nil {
			return err
		}
		if h.Tag == ber.OctetString {
			var octets []byte
			in := cryptobyte.String(raw)
			if der.ReadOctets(&in, &octets, -1) {
				s.n.set(value, hexText(octets))
			}
			continue
		}
		if err = s.tagged(h.Tag, raw); err != nil {
			return err
		}
	}
}

// tagged reads attributes at the end of a structure.
func (s structure) tagged(_ ber.Tag, raw []byte) error {
	in := cryptobyte.String(raw)
	var set cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&set, &tag) {
		return errMalformed
	}
	for !set.Empty() {
		var seq, values cryptobyte.String
		var id cms.OID
		if !set.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadOID(&seq, &id) || !seq.ReadASN1(&values, asn1.SET) {
			return errMalformed
		}
		attr := cms.Attribute{Type: id}
		for !values.Empty() {
			var element cryptobyte.String
			var elementTag asn1.Tag
			if !values.ReadAnyASN1Element(&element, &elementTag) {
				return errMalformed
			}
			attr.Values = append(attr.Values, element)
		}
		if err := s.attribute(s.n, "attribute", attr); err != nil {
			return err
		}
	}
	return nil
}
