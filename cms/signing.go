package cms

import (
	"bytes"
	"crypto"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A signing is a SignedData that is being made.
type signing struct {
	opts        SignOptions
	contentType OID
	signers     []*preparedSigner
	content     *ContentHash
}

// A preparedSigner is a Signer that has been checked.
type preparedSigner struct {
	Signer
	id           CertificateID
	sig          alg.Signature
	algorithm    AlgorithmIdentifier
	countersigns []*preparedSigner
}

func newSigning(signers []Signer, opts *SignOptions) (*signing, error) {
	s := &signing{contentType: TypeData}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.ContentType != "" {
		s.contentType = s.opts.ContentType
	}
	if len(signers) == 0 {
		return nil, usage("there are no signers")
	}
	if s.opts.Size < 0 {
		return nil, usage("the Size is negative")
	}
	var hashes []crypto.Hash
	for _, signer := range signers {
		p, err := prepare(signer)
		if err != nil {
			return nil, err
		}
		if p.NoAttributes && (s.contentType != TypeData || p.sig.Whole()) {
			return nil, usage("signed attributes cannot be left out here")
		}
		s.signers = append(s.signers, p)
		hashes = append(hashes, p.sig.Digest.Hash)
	}
	s.content = NewContentHash(hashes...)
	s.content.noHead = true // what signs the content itself has been refused
	return s, nil
}

// prepare checks a signer.
func prepare(signer Signer) (*preparedSigner, error) {
	if signer.Certificate == nil || signer.Key == nil {
		return nil, usage("a signer has no certificate or no key")
	}
	cert := signer.Certificate
	pub := signer.Key.Public()
	if k, ok := pub.(interface{ Equal(crypto.PublicKey) bool }); !ok || cert.PublicKey == nil || !k.Equal(cert.PublicKey) {
		return nil, usage("the key is not that of the certificate of %q", cert.Subject())
	}
	// RFC 8550, Section 4.4.2.
	if !cert.CanSign() {
		return nil, usage("the certificate of %q is not for signing", cert.Subject())
	}
	if alg.WeakKey(pub) != "" {
		return nil, usage("the key of %q is too small to sign with", cert.Subject())
	}
	p := &preparedSigner{Signer: signer}
	salt := signer.SaltLength
	if salt == 0 {
		salt = -1
	}
	var err error
	// A key that is for PSS alone is used so (RFC 4055, Section 1.2).
	if p.sig, err = alg.SignatureFor(pub, signer.Digest, signer.PSS || cert.KeyAlgorithm.OID == oid.RSAPSS, salt); err != nil {
		return nil, usage("signer %q: %v", cert.Subject(), err)
	}
	if p.algorithm, err = p.sig.Algorithm(); err != nil {
		return nil, err
	}
	if p.id, err = newCertificateID(cert, signer.KeyID); err != nil {
		return nil, err
	}
	for _, c := range signer.Countersigners {
		counter, err := prepare(c)
		if err != nil {
			return nil, err
		}
		p.countersigns = append(p.countersigns, counter)
	}
	return p, nil
}

// prefix is what comes before encapContentInfo.
func (s *signing) prefix() ([]byte, error) {
	// RFC 5652, Section 5.1.
	version := int64(1)
	if s.contentType != TypeData {
		version = 3
	}
	var digests []AlgorithmIdentifier
	for _, p := range s.signers {
		if p.KeyID {
			version = 3
		}
		digests = append(digests, p.sig.Digest.Algorithm())
	}
	return signedPrefix(version, digests)
}

func signedPrefix(version int64, digests []AlgorithmIdentifier) ([]byte, error) {
	set, err := marshalAlgorithms(digests)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		b.AddASN1Int64(version)
		b.AddBytes(set)
	})
}

// suffix signs, and returns what follows encapContentInfo.
func (s *signing) suffix() ([]byte, error) {
	at := s.opts.Time
	if at.IsZero() {
		at = time.Now()
	}
	var infos [][]byte
	for _, p := range s.signers {
		digest, _ := s.content.sum(p.sig.Digest.Hash)
		info, err := p.sign(s.contentType, digest, at)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return s.tail(infos)
}

func (s *signing) tail(infos [][]byte) ([]byte, error) {
	var certs []*pki.Certificate
	if !s.opts.NoCertificates {
		for _, p := range s.signers {
			certs = append(certs, p.certificates()...)
		}
	}
	certs = append(certs, s.opts.Certificates...)
	return der.Marshal(func(b *der.Builder) {
		addCertificates(b, certs, s.opts.CRLs)
		der.AddSetOf(b, asn1.SET, infos)
	})
}

// suffixSize foretells the size of suffix, or returns ber.Indefinite.
func (s *signing) suffixSize() (int64, error) {
	at := s.opts.Time
	if at.IsZero() {
		at = time.Now()
	}
	var infos [][]byte
	for _, p := range s.signers {
		size := p.sig.FixedSize(p.Key.Public())
		if size == 0 || len(p.countersigns) > 0 {
			return ber.Indefinite, nil
		}
		si, err := p.unsigned(s.contentType, make([]byte, p.sig.Digest.Size()), at)
		if err != nil {
			return 0, err
		}
		si.signature = make([]byte, size)
		info, err := der.Marshal(si.add)
		if err != nil {
			return 0, err
		}
		infos = append(infos, info)
	}
	tail, err := s.tail(infos)
	return int64(len(tail)), err
}

// certificates returns the certificates of a signer and its countersigners.
func (p *preparedSigner) certificates() []*pki.Certificate {
	out := append([]*pki.Certificate{p.Certificate}, p.Chain...)
	for _, c := range p.countersigns {
		out = append(out, c.certificates()...)
	}
	return out
}

// unsigned returns the SignerInfo over content, but for the signature.
// contentType is "" for a countersignature.
func (p *preparedSigner) unsigned(contentType OID, digest []byte, at time.Time) (*signerInfo, error) {
	si := &signerInfo{id: p.id, digest: p.sig.Digest.Algorithm(), signatureAlg: p.algorithm, unsigned: slices.Clone(p.Unsigned)}
	if p.NoAttributes {
		return si, nil
	}
	attrs, err := p.attributes(contentType, digest, at)
	if err != nil {
		return nil, err
	}
	if double, ok := attrs.doubled(); ok {
		return nil, usage("the signed attribute %s is given twice", alg.Name(double))
	}
	si.hasSigned = true
	si.rawSigned, err = attrs.encode()
	return si, err
}

// attributes returns the signed attributes (RFC 5652, Section 11; RFC 6211;
// RFC 5035).
func (p *preparedSigner) attributes(contentType OID, digest []byte, at time.Time) (Attributes, error) {
	attrs := slices.Clone(p.Signed)
	var first error
	push := func(attr Attribute, err error) {
		if err != nil && first == nil {
			first = err
		}
		attrs = append(attrs, attr)
	}
	if contentType != "" {
		push(newAttribute(oid.AttrContentType, func(b *der.Builder) { der.AddOID(b, contentType) }))
	}
	push(newAttribute(oid.AttrMessageDigest, func(b *der.Builder) { b.AddASN1OctetString(digest) }))
	if !p.Signed.Has(oid.AttrSigningTime) {
		push(newAttribute(oid.AttrSigningTime, func(b *der.Builder) { der.AddTime(b, at) }))
	}
	if !p.Signed.Has(oid.AttrSigningCertV2) {
		push(newSigningCertificate(p.Certificate))
	}
	if !p.Signed.Has(oid.AttrAlgorithmProtection) {
		push(newAttribute(oid.AttrAlgorithmProtection, func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				der.AddAlgorithm(b, p.sig.Digest.Algorithm())
				der.AddAlgorithmTagged(b, p.algorithm, der.Context(1, true))
			})
		}))
	}
	return attrs, first
}

// sign returns the DER of the SignerInfo over content with the given digest.
func (p *preparedSigner) sign(contentType OID, digest []byte, at time.Time) ([]byte, error) {
	si, err := p.unsigned(contentType, digest, at)
	if err != nil {
		return nil, err
	}
	var message []byte
	if si.hasSigned {
		// RFC 5652, Section 5.4: the DER of the attributes as a SET OF.
		if message, err = retag(asn1.SET, si.rawSigned); err != nil {
			return nil, err
		}
		h := p.sig.Digest.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	if si.signature, err = p.sig.Sign(p.Key, message, digest); err != nil {
		return nil, err
	}
	for _, c := range p.countersigns {
		h := c.sig.Digest.New()
		h.Write(si.signature)
		value, err := c.sign("", h.Sum(nil), at)
		if err != nil {
			return nil, err
		}
		si.unsigned = append(si.unsigned, Attribute{Type: oid.AttrCountersignature, Values: [][]byte{value}})
	}
	return der.Marshal(si.add)
}

// addCertificates appends the fields certificates and crls, without doubles.
func addCertificates(b *der.Builder, certs []*pki.Certificate, crls [][]byte) {
	var raws [][]byte
	for _, c := range certs {
		raws = append(raws, c.Raw)
	}
	for tag, elems := range [][][]byte{raws, crls} {
		elems = slices.Clone(elems)
		slices.SortFunc(elems, bytes.Compare)
		elems = slices.CompactFunc(elems, bytes.Equal)
		if len(elems) > 0 {
			der.AddSetOf(b, der.Context(uint8(tag), true), elems)
		}
	}
}
