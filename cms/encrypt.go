package cms

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"io"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/aead"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// EncryptOptions says how an encrypted message is written. Nil is the zero
// value.
type EncryptOptions struct {
	// Cipher is the content cipher. "": AES256GCM. An authenticated cipher makes
	// an AuthEnvelopedData, another one an EnvelopedData.
	Cipher Cipher

	// ContentType is the type of the content. "": TypeData.
	ContentType OID

	// Size is the size of the content in octets when it is known; the message is
	// then in DER. 0 is unknown. Content of up to 64 KiB needs no Size to become
	// DER.
	Size int64

	// Authenticated are attributes that an authenticated cipher protects beside
	// the content. With another cipher they are a UsageError.
	Authenticated Attributes

	// Unprotected are attributes that nothing protects.
	Unprotected Attributes
}

// Encrypt writes an AuthEnvelopedData (RFC 5083) or EnvelopedData (RFC 5652,
// Section 6) to the given recipients, under a fresh key. The content is to be
// written to the result; Close finishes the message and does not close dst.
// Without Close the message is incomplete. The caller's mistakes, recipients
// that cannot be encrypted to among them, are errors here, before anything is
// written.
func Encrypt(dst io.Writer, to []Recipient, opts *EncryptOptions) (io.WriteCloser, error) {
	var o EncryptOptions
	if opts != nil {
		o = *opts
	}
	c, err := o.Cipher.lookup()
	if err != nil {
		return nil, err
	}
	if len(o.Authenticated) > 0 && !c.AEAD() {
		return nil, usage("%s cannot protect attributes", c.Name)
	}
	cek := make([]byte, c.KeySize)
	_, _ = rand.Read(cek) // never returns an error
	infos, version, err := wrapAll(to, cek)
	if err != nil {
		return nil, err
	}
	if len(o.Unprotected) > 0 && !c.AEAD() {
		version = max(version, 2) // RFC 5652, Section 6.1
	}
	if c.AEAD() {
		version = 0 // RFC 5083, Section 2.1
	}
	prefix, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(int64(version))
		b.AddBytes(infos)
	})
	if err != nil {
		return nil, err
	}
	if c.AEAD() {
		return newSealing(dst, c, cek, prefix, o)
	}
	return newCBCWriter(dst, TypeEnvelopedData, c, cek, prefix, o)
}

// EncryptWithKey writes an EncryptedData (RFC 5652, Section 8) under a key
// that the reader has already. The Cipher must be one of those in CBC mode
// ("": AES256CBC) and key of its size; else the error is a UsageError. The
// content is to be written to the result; Close finishes the message.
func EncryptWithKey(dst io.Writer, key []byte, opts *EncryptOptions) (io.WriteCloser, error) {
	var o EncryptOptions
	if opts != nil {
		o = *opts
	}
	if o.Cipher == "" {
		o.Cipher = AES256CBC
	}
	c, err := o.Cipher.lookup()
	if err != nil {
		return nil, err
	}
	if c.AEAD() || len(o.Authenticated) > 0 {
		return nil, usage("EncryptedData has no place for authentication")
	}
	if len(key) != c.KeySize {
		return nil, usage("the key has %d octets; %s takes %d", len(key), c.Name, c.KeySize)
	}
	version := int64(0)
	if len(o.Unprotected) > 0 {
		version = 2 // RFC 5652, Section 8
	}
	prefix, err := der.Marshal(func(b *der.Builder) { b.AddASN1Int64(version) })
	if err != nil {
		return nil, err
	}
	return newCBCWriter(dst, TypeEncryptedData, c, key, prefix, o)
}

// wrapAll returns the SET OF RecipientInfo, and the version it asks for.
func wrapAll(to []Recipient, cek []byte) (set []byte, version int, err error) {
	if len(to) == 0 {
		return nil, 0, usage("there are no recipients")
	}
	var elems [][]byte
	for _, recipient := range to {
		var infos []RecipientInfo
		if infos, err = recipient.Wrap(cek); err != nil {
			return nil, 0, err
		}
		for _, info := range infos {
			version = max(version, info.minVersion())
			var elem []byte
			if elem, err = der.Marshal(info.add); err != nil {
				return nil, 0, err
			}
			elems = append(elems, elem)
		}
	}
	set, err = der.Marshal(func(b *der.Builder) { der.AddSetOf(b, asn1.SET, elems) })
	return set, version, err
}

// cipherLayout is the layout of a content type that encloses an
// EncryptedContentInfo.
func cipherLayout(dst io.Writer, outer OID, c alg.Cipher, iv, prefix []byte, o EncryptOptions) (*layout, error) {
	if o.Size < 0 {
		return nil, usage("the Size is negative")
	}
	contentType := o.ContentType
	if contentType == "" {
		contentType = TypeData
	}
	algorithm, err := c.Algorithm(iv)
	if err != nil {
		return nil, err
	}
	info, err := der.Marshal(func(b *der.Builder) {
		der.AddOID(b, contentType)
		der.AddAlgorithm(b, algorithm)
	})
	if err != nil {
		return nil, usage("content type %q: %v", contentType, err)
	}
	return newLayout(dst, outer, ber.Context(0), frame{ber.Sequence, prefix}, frame{ber.Sequence, info})
}

// marshalTagged returns attributes with an implicit tag, or nil for none.
func marshalTagged(attrs Attributes, tag uint8) ([]byte, error) {
	if len(attrs) == 0 {
		return nil, nil
	}
	contents, err := attrs.encode()
	if err != nil {
		return nil, err
	}
	return retag(der.Context(tag, true), contents)
}

// newCBCWriter encrypts in CBC mode.
func newCBCWriter(dst io.Writer, outer OID, c alg.Cipher, key, prefix []byte, o EncryptOptions) (io.WriteCloser, error) {
	iv := make([]byte, c.IVSize())
	_, _ = rand.Read(iv) // never returns an error
	block, err := c.Block(key, alg.CipherParams{IV: iv})
	if err != nil {
		return nil, err
	}
	l, err := cipherLayout(dst, outer, c, iv, prefix, o)
	if err != nil {
		return nil, err
	}
	suffix, err := marshalTagged(o.Unprotected, 1)
	if err != nil {
		return nil, err
	}
	return &contentWriter{layout: l, known: o.Size, suffixSize: int64(len(suffix)), suffix: func() ([]byte, error) { return suffix, nil },
		transform: newCBCTransform(block, iv)}, nil
}

// A cbcTransform encrypts in CBC mode with the padding of RFC 5652, Section 6.3.
type cbcTransform struct {
	chunker
	blockSize int
}

func newCBCTransform(block cipher.Block, iv []byte) *cbcTransform {
	mode := cipher.NewCBCEncrypter(block, iv)
	t := &cbcTransform{blockSize: block.BlockSize()}
	t.process = func(chunk []byte) error {
		mode.CryptBlocks(chunk, chunk)
		return nil
	}
	return t
}

// padding returns what follows n octets of content.
func (t *cbcTransform) padding(n int) []byte {
	pad := t.blockSize - n%t.blockSize
	return bytes.Repeat([]byte{byte(pad)}, pad)
}

func (t *cbcTransform) small(content []byte) ([]byte, error) {
	return t.chunker.small(append(content, t.padding(len(content))...))
}

func (t *cbcTransform) finish() error {
	return t.flush(t.padding(t.Buffered())...)
}

func (t *cbcTransform) size(n int64) int64 {
	block := int64(t.blockSize)
	return n + block - n%block
}

// A sealing is an AuthEnvelopedData that is being made.
type sealing struct {
	chunker
	stream aead.Stream
}

func newSealing(dst io.Writer, c alg.Cipher, key, prefix []byte, o EncryptOptions) (io.WriteCloser, error) {
	if o.ContentType != "" && o.ContentType != TypeData && !o.Authenticated.Has(oid.AttrContentType) {
		// RFC 5083, Section 2.1: the content type MUST be authenticated when it
		// is not data.
		attr, err := newAttribute(oid.AttrContentType, func(b *der.Builder) { der.AddOID(b, o.ContentType) })
		if err != nil {
			return nil, usage("content type %q: %v", o.ContentType, err)
		}
		o.Authenticated = append(o.Authenticated[:len(o.Authenticated):len(o.Authenticated)], attr)
	}
	attrs, err := marshalTagged(o.Authenticated, 1)
	if err != nil {
		return nil, err
	}
	var aad []byte
	if len(o.Authenticated) > 0 {
		contents, _ := o.Authenticated.encode() // marshalTagged has checked it
		if aad, err = retag(asn1.SET, contents); err != nil {
			return nil, err
		}
	}
	unprotected, err := marshalTagged(o.Unprotected, 2)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, c.IVSize())
	_, _ = rand.Read(nonce) // never returns an error
	s := &sealing{}
	if s.stream, err = c.Stream(key, alg.CipherParams{IV: nonce}, aad); err != nil {
		return nil, err
	}
	s.process = func(chunk []byte) error { return s.stream.Seal(chunk, chunk) }
	l, err := cipherLayout(dst, TypeAuthEnvelopedData, c, nonce, prefix, o)
	if err != nil {
		return nil, err
	}
	macSize := ber.HeaderLen(ber.OctetString, aead.TagSize) + aead.TagSize
	suffix := func() ([]byte, error) {
		tag, err := s.stream.Tag(aad)
		if err != nil {
			return nil, err
		}
		return der.Marshal(func(b *der.Builder) {
			b.AddBytes(attrs)
			b.AddASN1OctetString(tag[:])
			b.AddBytes(unprotected)
		})
	}
	return &contentWriter{layout: l, known: o.Size, suffixSize: int64(len(attrs) + macSize + len(unprotected)), suffix: suffix, transform: s}, nil
}

func (s *sealing) finish() error      { return s.flush() }
func (s *sealing) size(n int64) int64 { return n }
