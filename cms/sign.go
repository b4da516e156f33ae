package cms

import (
	"crypto"
	"crypto/x509"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/pki"
)

// A Signer is somebody who signs a message. One value can serve many messages
// at the same time when its Key can.
type Signer struct {
	// Certificate and Key are the signer's. Key is of type *rsa.PrivateKey,
	// *ecdsa.PrivateKey (P-256, P-384, P-521), ed25519.PrivateKey, or another
	// crypto.Signer for such a key, which must belong to the certificate.
	Certificate *pki.Certificate
	Key         crypto.Signer

	// Chain are the certificates of the issuers that go into the message
	// behind the signer's.
	Chain []*pki.Certificate

	// Digest is the digest. 0: SHA-256 for RSA and P-256, SHA-384 for P-384,
	// SHA-512 for P-521 and Ed25519. SHA-1 and MD5 are not for signing.
	Digest crypto.Hash

	// PSS selects RSASSA-PSS for an RSA key, with a salt of SaltLength octets;
	// 0: as many as the digest has.
	PSS        bool
	SaltLength int

	// KeyID names the signer by the subject key identifier in place of issuer
	// and serial number.
	KeyID bool

	// NoAttributes leaves all signed attributes out. It is possible for content
	// of type data alone (RFC 5652, Section 5.3), and not advised.
	NoAttributes bool

	// Signed and Unsigned are attributes beside those that are always there:
	// content type, message digest, signing time, algorithm protection and
	// signing certificate.
	Signed, Unsigned Attributes

	// Countersigners sign the signature in turn.
	Countersigners []Signer
}

// NewSigner returns the holder of a certificate and its private key, with all
// options zero.
func NewSigner(cert *x509.Certificate, key crypto.Signer) Signer {
	return Signer{Certificate: pki.FromX509(cert), Key: key}
}

// SignOptions says how a SignedData is written. Nil is the zero value.
type SignOptions struct {
	// ContentType is the type of the content. "": TypeData.
	ContentType OID

	// Time is the signing time. Zero is now.
	Time time.Time

	// Size is the size of the content in octets when it is known; the message is
	// then in DER, or nearly so: with signatures of varying size, as those of
	// ECDSA, the outermost lengths stay indefinite. 0 is unknown. Content of up
	// to 64 KiB needs no Size to become DER.
	Size int64

	// NoCertificates leaves all certificates out, those of the signers too.
	NoCertificates bool

	// Certificates and CRLs go into the message beside those of the signers.
	Certificates []*pki.Certificate
	CRLs         [][]byte
}

// Sign writes a SignedData that carries its content (RFC 5652, Section 5). The
// content is to be written to the result; Close signs and finishes the message,
// and does not close dst. Without Close the message is incomplete. The caller's
// mistakes are a UsageError here, before anything is written.
func Sign(dst io.Writer, signers []Signer, opts *SignOptions) (io.WriteCloser, error) {
	s, err := newSigning(signers, opts)
	if err != nil {
		return nil, err
	}
	prefix, err := der.Marshal(s.addPrefix)
	if err != nil {
		return nil, err
	}
	l, err := encapLayout(dst, TypeSignedData, s.contentType, prefix)
	if err != nil {
		return nil, err
	}
	c := &contentWriter{layout: l, known: s.opts.Size, suffix: s.suffix, suffixSize: ber.Indefinite}
	c.transform = &plainTransform{sink: func(p []byte) { _, _ = s.content.Write(p) }} // never fails
	if c.known > 0 {
		c.suffixSize, err = s.suffixSize()
	}
	return c, err
}

// A DetachedSigner signs content that it does not carry. It is not safe for
// concurrent use.
type DetachedSigner struct {
	s        *signing
	finished bool
}

// NewDetachedSigner returns a DetachedSigner. The content is to be written to
// it; Finish then writes the SignedData. The caller's mistakes are a UsageError.
func NewDetachedSigner(signers []Signer, opts *SignOptions) (*DetachedSigner, error) {
	s, err := newSigning(signers, opts)
	if err != nil {
		return nil, err
	}
	return &DetachedSigner{s: s}, nil
}

// Write adds content. It never fails.
func (d *DetachedSigner) Write(p []byte) (int, error) { return d.s.content.Write(p) }

// Digests returns the signers' digests, in their order, without doubles.
func (d *DetachedSigner) Digests() []crypto.Hash {
	var out []crypto.Hash
	for _, p := range d.s.signers {
		if !slices.Contains(out, p.sig.Digest.Hash) {
			out = append(out, p.sig.Digest.Hash)
		}
	}
	return out
}

// Finish signs and writes the message, in DER. It can be called once.
func (d *DetachedSigner) Finish(dst io.Writer) error {
	if d.finished {
		return usage("Finish has been called already")
	}
	d.finished = true
	infos, err := d.s.sign()
	if err != nil {
		return err
	}
	return writeDetached(dst, d.s.contentType, d.s.addPrefix, func(b *der.Builder) { d.s.addSuffix(b, infos) })
}

// writeDetached writes a SignedData without eContent.
func writeDetached(dst io.Writer, contentType OID, prefix, suffix func(b *der.Builder)) error {
	return der.Write(dst, func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddOID(b, TypeSignedData)
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
					prefix(b)
					b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddOID(b, contentType) })
					suffix(b)
				})
			})
		})
	})
}

// WriteCertificates writes a certs-only SignedData in DER (RFC 5652, Section
// 5.2; RFC 8551, Section 3.8): certificates and CRLs, no content, no signers.
func WriteCertificates(dst io.Writer, certs []*pki.Certificate, crls [][]byte) error {
	if len(certs) == 0 && len(crls) == 0 {
		return usage("WriteCertificates: there are no certificates")
	}
	return writeDetached(dst, TypeData, func(b *der.Builder) {
		b.AddASN1Int64(1)
		addAlgorithms(b, nil)
	}, func(b *der.Builder) {
		addCertificates(b, certs, crls)
		b.AddASN1(asn1.SET, func(*der.Builder) {})
	})
}
