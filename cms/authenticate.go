package cms

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"io"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// AuthenticateOptions says how an AuthenticatedData is written. Nil is the
// zero value.
type AuthenticateOptions struct {
	// Digest is that of the HMAC and of the message digest: SHA-256 (0),
	// SHA-384 or SHA-512.
	Digest crypto.Hash

	// ContentType is the type of the content. "": TypeData.
	ContentType OID

	// Size is the size of the content in octets when it is known; the message is
	// then in DER. 0 is unknown.
	Size int64

	// Attributes are authenticated beside content type and message digest.
	Attributes Attributes
}

// Authenticate writes an AuthenticatedData (RFC 5652, Section 9): content in
// the clear with a message authentication code that each recipient can check,
// and make. The content is to be written to the result; Close finishes the
// message and does not close dst.
func Authenticate(dst io.Writer, to []Recipient, opts *AuthenticateOptions) (io.WriteCloser, error) {
	var o AuthenticateOptions
	if opts != nil {
		o = *opts
	}
	if o.Digest == 0 {
		o.Digest = crypto.SHA256
	}
	if o.ContentType == "" {
		o.ContentType = TypeData
	}
	mac, ok := alg.MACByHash(o.Digest)
	if !ok || mac.Digest.Weak != "" || o.Digest.Size() < 32 {
		return nil, usage("no AuthenticatedData is made with %v", o.Digest)
	}
	// A key of 32 octets fits every key wrap, and HMAC with all three digests.
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never returns an error
	infos, _, err := wrapAll(to, key)
	if err != nil {
		return nil, err
	}
	prefix, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(infos)
		der.AddAlgorithm(b, AlgorithmIdentifier{OID: mac.OID})
		der.AddAlgorithmTagged(b, mac.Digest.Algorithm(), der.Context(1, true))
	})
	if err != nil {
		return nil, err
	}
	l, err := encapLayout(dst, TypeAuthenticatedData, o.ContentType, prefix)
	if err != nil {
		return nil, err
	}
	content := mac.Digest.New()
	suffix := func(digest []byte) ([]byte, error) { return authSuffix(mac, key, o, digest) }
	sample, err := suffix(make([]byte, content.Size()))
	if err != nil {
		return nil, err
	}
	if o.Size < 0 {
		return nil, usage("the Size is negative")
	}
	return &contentWriter{layout: l, known: o.Size, suffixSize: int64(len(sample)),
		suffix:    func() ([]byte, error) { return suffix(content.Sum(nil)) },
		transform: &plainTransform{sink: func(p []byte) { content.Write(p) }}}, nil
}

// authSuffix returns authAttrs and mac: RFC 5652, Section 9.2.
func authSuffix(mac alg.MAC, key []byte, o AuthenticateOptions, digest []byte) ([]byte, error) {
	contentType, err := newAttribute(oid.AttrContentType, func(b *der.Builder) { der.AddOID(b, o.ContentType) })
	if err != nil {
		return nil, err
	}
	messageDigest, err := newAttribute(oid.AttrMessageDigest, func(b *der.Builder) { b.AddASN1OctetString(digest) })
	if err != nil {
		return nil, err
	}
	attrs := append(o.Attributes[:len(o.Attributes):len(o.Attributes)], contentType, messageDigest)
	if double, ok := attrs.doubled(); ok {
		return nil, usage("the attribute %s is given twice", alg.Name(double))
	}
	contents, err := attrs.encode()
	if err != nil {
		return nil, err
	}
	message, err := retag(asn1.SET, contents)
	if err != nil {
		return nil, err
	}
	h := hmac.New(mac.Digest.New, key)
	h.Write(message)
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1(der.Context(2, true), func(b *der.Builder) { b.AddBytes(contents) })
		b.AddASN1OctetString(h.Sum(nil))
	})
}
