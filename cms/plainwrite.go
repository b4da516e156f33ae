package cms

import (
	"compress/zlib"
	"crypto"
	"io"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// Digest writes a DigestedData (RFC 5652, Section 7) with the given digest; 0
// is SHA-256. contentType "" is TypeData. The content is to be written to the
// result; Close finishes the message and does not close dst.
func Digest(dst io.Writer, digest crypto.Hash, contentType OID) (io.WriteCloser, error) {
	if digest == 0 {
		digest = crypto.SHA256
	}
	if contentType == "" {
		contentType = TypeData
	}
	d, ok := alg.DigestByHash(digest)
	if !ok || d.Weak != "" {
		return nil, usage("no DigestedData is made with %v", digest)
	}
	version := int64(0)
	if contentType != TypeData {
		version = 2
	}
	prefix, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(version)
		der.AddAlgorithm(b, d.Algorithm())
	})
	if err != nil {
		return nil, err
	}
	l, err := encapLayout(dst, TypeDigestedData, contentType, prefix)
	if err != nil {
		return nil, err
	}
	h := d.New()
	suffix := func() ([]byte, error) {
		return der.Marshal(func(b *der.Builder) { b.AddASN1OctetString(h.Sum(nil)) })
	}
	size := h.Size() + ber.HeaderLen(ber.OctetString, int64(h.Size()))
	return &contentWriter{layout: l, suffix: suffix, suffixSize: int64(size), transform: &plainTransform{sink: func(p []byte) { h.Write(p) }}}, nil
}

// Compress writes a CompressedData (RFC 3274). contentType "" is TypeData. The
// content is to be written to the result; Close finishes the message and does
// not close dst.
func Compress(dst io.Writer, contentType OID) (io.WriteCloser, error) {
	if contentType == "" {
		contentType = TypeData
	}
	prefix, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(0)
		der.AddAlgorithm(b, AlgorithmIdentifier{OID: oid.ZLIB}) // RFC 3274, Section 2: parameters SHOULD be absent
	})
	if err != nil {
		return nil, err
	}
	l, err := encapLayout(dst, TypeCompressedData, contentType, prefix)
	if err != nil {
		return nil, err
	}
	c := &contentWriter{layout: l, transform: &plainTransform{}, suffix: func() ([]byte, error) { return nil, nil }}
	return &compressor{z: zlib.NewWriter(c), c: c}, nil
}

// A compressor compresses content on its way into a message.
type compressor struct {
	z *zlib.Writer
	c *contentWriter
}

func (c *compressor) Write(p []byte) (int, error) {
	if c.c.closed {
		return 0, usage("Write after Close")
	}
	return c.z.Write(p)
}

func (c *compressor) Close() error {
	if c.c.closed {
		return c.c.err
	}
	if err := c.z.Close(); err != nil {
		return err
	}
	return c.c.Close()
}
