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

// addPrefix appends what comes before encapContentInfo.
func (s *signing) addPrefix(b *der.Builder) {
	// RFC 5652, Section 5.1.
	version := int64(1)
	if s.contentType != TypeData {
		version = 3
	}
	digests := make([]AlgorithmIdentifier, 0, 4)
	for _, p := range s.signers {
		if p.KeyID {
			version = 3
		}
		digests = append(digests, p.sig.Digest.Algorithm())
	}
	b.AddASN1Int64(version)
	addAlgorithms(b, digests)
}

// sign returns the SignerInfos.
func (s *signing) sign() ([]*signerInfo, error) {
	infos := make([]*signerInfo, 0, len(s.signers))
	for _, p := range s.signers {
		digest, _ := s.content.sum(p.sig.Digest.Hash)
		si, err := p.sign(s.contentType, digest, s.time())
		if err != nil {
			return nil, err
		}
		infos = append(infos, si)
	}
	return infos, nil
}

// time returns the signing time, which is the same for all signers.
func (s *signing) time() time.Time {
	if s.opts.Time.IsZero() {
		s.opts.Time = time.Now()
	}
	return s.opts.Time
}

// suffix signs, and returns what follows encapContentInfo.
func (s *signing) suffix() ([]byte, error) {
	infos, err := s.sign()
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) { s.addSuffix(b, infos) })
}

// addSuffix appends what follows encapContentInfo.
func (s *signing) addSuffix(b *der.Builder, infos []*signerInfo) {
	var certs []*pki.Certificate
	if !s.opts.NoCertificates {
		for _, p := range s.signers {
			certs = p.appendCertificates(certs)
		}
	}
	addCertificates(b, append(certs, s.opts.Certificates...), s.opts.CRLs)
	b.AddSetOfFunc(asn1.SET, len(infos), func(b *der.Builder, i int) { infos[i].add(b) })
}

// suffixSize foretells the size of suffix, or returns ber.Indefinite.
func (s *signing) suffixSize() (int64, error) {
	var infos []*signerInfo
	for _, p := range s.signers {
		size := p.sig.FixedSize(p.Key.Public())
		if size == 0 || len(p.countersigns) > 0 {
			return ber.Indefinite, nil
		}
		si, _, err := p.unsigned(s.contentType, make([]byte, p.sig.Digest.Size()), s.time())
		if err != nil {
			return 0, err
		}
		si.signature = make([]byte, size)
		infos = append(infos, si)
	}
	suffix, err := der.Marshal(func(b *der.Builder) { s.addSuffix(b, infos) })
	return int64(len(suffix)), err
}

// appendCertificates appends the certificates of a signer and its countersigners.
func (p *preparedSigner) appendCertificates(out []*pki.Certificate) []*pki.Certificate {
	out = append(append(out, p.Certificate), p.Chain...)
	for _, c := range p.countersigns {
		out = c.appendCertificates(out)
	}
	return out
}

// unsigned returns the SignerInfo over content, but for the signature, and the
// octets that are to be signed: the DER of the attributes as a SET OF (RFC 5652,
// Section 5.4), or nil when there are none. contentType is "" for a
// countersignature.
func (p *preparedSigner) unsigned(contentType OID, digest []byte, at time.Time) (*signerInfo, []byte, error) {
	si := &signerInfo{id: p.id, digest: p.sig.Digest.Algorithm(), signatureAlg: p.algorithm, unsigned: p.Unsigned[:len(p.Unsigned):len(p.Unsigned)]}
	if p.NoAttributes {
		return si, nil, nil
	}
	double, ok := p.Signed.doubled()
	var room [5]OID
	types := room[:0]
	for _, t := range [...]OID{oid.AttrContentType, oid.AttrMessageDigest, oid.AttrSigningTime, oid.AttrSigningCertV2, oid.AttrAlgorithmProtection} {
		switch has := p.Signed.Has(t); {
		case t == oid.AttrContentType && contentType == "":
		case !has:
			types = append(types, t)
		case t == oid.AttrContentType || t == oid.AttrMessageDigest:
			double, ok = t, true // nobody else can know it
		}
	}
	if ok {
		return nil, nil, usage("the signed attribute %s is given twice", alg.Name(double))
	}
	set, err := der.Marshal(func(b *der.Builder) {
		b.AddSetOfFunc(asn1.SET, len(p.Signed)+len(types), func(b *der.Builder, i int) {
			if i < len(p.Signed) {
				p.Signed[i].add(b)
				return
			}
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				t := types[i-len(p.Signed)]
				der.AddOID(b, t)
				b.AddASN1(asn1.SET, func(b *der.Builder) { p.addValue(b, t, contentType, digest, at) })
			})
		})
	})
	if err != nil {
		return nil, nil, usage("signed attributes: %v", err)
	}
	si.hasSigned, si.rawSigned = true, setContents(set)
	return si, set, nil
}

// addValue appends the value of one of the attributes that are always there (RFC
// 5652, Section 11; RFC 6211; RFC 5035).
func (p *preparedSigner) addValue(b *der.Builder, t, contentType OID, digest []byte, at time.Time) {
	switch t {
	case oid.AttrContentType:
		der.AddOID(b, contentType)
	case oid.AttrMessageDigest:
		b.AddASN1OctetString(digest)
	case oid.AttrSigningTime:
		der.AddTime(b, at)
	case oid.AttrSigningCertV2:
		addSigningCertificate(b, p.Certificate)
	case oid.AttrAlgorithmProtection:
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, p.sig.Digest.Algorithm())
			der.AddAlgorithmTagged(b, p.algorithm, der.Context(1, true))
		})
	}
}

// sign returns the SignerInfo over content with the given digest.
func (p *preparedSigner) sign(contentType OID, digest []byte, at time.Time) (*signerInfo, error) {
	si, message, err := p.unsigned(contentType, digest, at)
	if err != nil {
		return nil, err
	}
	if si.hasSigned {
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
		counter, err := c.sign("", h.Sum(nil), at)
		if err != nil {
			return nil, err
		}
		value, err := der.Marshal(counter.add)
		if err != nil {
			return nil, err
		}
		si.unsigned = append(si.unsigned, Attribute{Type: oid.AttrCountersignature, Values: [][]byte{value}})
	}
	return si, nil
}

// addCertificates appends the fields certificates and crls, without doubles.
func addCertificates(b *der.Builder, certs []*pki.Certificate, crls [][]byte) {
	raws := make([][]byte, 0, 8)
	for _, c := range certs {
		raws = append(raws, c.Raw)
	}
	for tag, elems := range [][][]byte{raws, crls} {
		if tag > 0 {
			elems = slices.Clone(elems)
		}
		slices.SortFunc(elems, bytes.Compare)
		elems = slices.CompactFunc(elems, bytes.Equal)
		if len(elems) > 0 {
			der.AddSetOf(b, der.Context(uint8(tag), true), elems)
		}
	}
}
