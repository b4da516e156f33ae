package cms

import (
	"crypto"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	//lint:ignore SA1019 DSA signatures are read from old mail, never made
	"crypto/dsa"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A SignerResult is what was found out about one signer.
type SignerResult struct {
	ID                 CertificateID
	Certificate        *pki.Certificate // nil when it is not at hand
	Digest             string           // by name, or its identifier when unknown
	SignatureAlgorithm string
	SigningTime        time.Time // as the signer claims; zero when it claims none
	Signed             Attributes
	Unsigned           Attributes

	// Valid says that the signature is the certificate's key's, over this
	// content, with algorithms that are good or allowed. It does not say whose
	// the certificate is.
	Valid bool
	// Trusted says that Trust accepted the signer. It is false with
	// InsecureTrustAnySigner.
	Trusted bool
	// Err is nil if and only if the signature is valid and Trust had no
	// objection. Else it is a *VerifyError.
	Err error

	// Countersigners signed this signature in turn (RFC 5652, Section 11.4).
	// They have no part in the verdict.
	Countersigners []*SignerResult
}

// verdict judges all signers. RFC 5652, Section 5.6 leaves several signers to
// the application: here all of them have to be good. Only where one signer
// signed several times with different algorithms, a signature of an
// unsupported kind is made good by another one (RFC 5752).
func (s *SignedReader) verdict() error {
	if len(s.infos) == 0 {
		return &VerifyError{Reason: ReasonNoSigners}
	}
	if s.opts.Hashed != nil {
		if missing := s.hashed.missing(s.infos); len(missing) > 0 {
			return &VerifyError{Reason: ReasonContent, Err: &MissingDigestsError{missing}}
		}
	}
	var first error
	for _, si := range s.infos {
		s.signers = append(s.signers, s.judge(si, s.encap.contentType, s.hashed, true))
	}
	for i, result := range s.signers {
		if result.Err != nil && first == nil && !s.signedAgain(i) {
			first = result.Err
		}
	}
	return first
}

// signedAgain reports whether signer i, whose signature is of an unsupported
// kind, has another one that is good.
func (s *SignedReader) signedAgain(i int) bool {
	ve, ok := s.signers[i].Err.(*VerifyError)
	if !ok || ve.Reason != ReasonUnsupported {
		return false
	}
	for j, other := range s.signers {
		if j != i && other.Err == nil && other.ID.equal(s.signers[i].ID) {
			return true
		}
	}
	return false
}

// judge finds out about one signer. contentType is "" for a countersignature.
func (s *SignedReader) judge(si *signerInfo, contentType OID, content *ContentHash, counter bool) *SignerResult {
	result := &SignerResult{ID: si.id, SigningTime: si.signed.SigningTime(), Signed: si.signed, Unsigned: si.unsigned,
		Digest: alg.Name(si.digest.OID), SignatureAlgorithm: alg.Name(si.signatureAlg.OID)}
	for _, certs := range [][]*pki.Certificate{s.certs, s.opts.Certificates} {
		for _, cert := range certs {
			if result.Certificate == nil && si.id.Matches(cert) {
				result.Certificate = cert
			}
		}
	}
	if err := s.check(si, result, contentType, content); err != nil {
		result.Err = err
	} else {
		result.Valid = true
		result.Err = s.trust(result)
		_, insecure := s.opts.Trust.(insecureTrust)
		result.Trusted = result.Err == nil && !insecure
	}
	if counter {
		result.Countersigners = s.countersigners(si)
	}
	return result
}

// check verifies one signature. It returns nil or a *VerifyError.
func (s *SignedReader) check(si *signerInfo, result *SignerResult, contentType OID, content *ContentHash) error {
	unsupported := func(what string, o OID) error {
		return &VerifyError{Reason: ReasonUnsupported, Err: &UnsupportedError{What: what, OID: o}}
	}
	digest, ok := alg.DigestByAlgorithm(si.digest)
	sig, err := alg.ParseSignature(si.signatureAlg, digest)
	if bare := !si.hasSigned && sig.Whole(); bare {
		// RFC 9882, Section 3.3; RFC 9814, Section 4: nothing is hashed, and the
		// field has no meaning.
		sig.Digest, digest = alg.Digest{}, alg.Digest{}
	} else if !ok {
		return unsupported("digest", si.digest.OID)
	}
	if errors.Is(err, alg.ErrUnknown) {
		return unsupported("signature", si.signatureAlg.OID)
	}
	if err != nil {
		// Malformed parameters are never a reason to fall back to others.
		return &VerifyError{Reason: ReasonSignature, Err: err}
	}
	contentDigest, ok := content.sum(digest.Hash)
	if !ok && digest.Hash != 0 {
		return unsupported("digest that the message did not announce:", si.digest.OID)
	}
	if result.Certificate == nil {
		return &VerifyError{Reason: ReasonNoCertificate, Err: attributeError(si.id.String())}
	}
	// The content is compared first: "changed" is the more useful word.
	if si.hasSigned {
		if verr := si.checkAttributes(contentType, contentDigest); verr != nil {
			return verr
		}
	} else if verr := checkBare(contentType, content); verr != nil {
		return verr
	}
	key, verr := s.publicKey(result.Certificate)
	if verr != nil {
		return verr
	}
	if err = si.matches(sig, key, contentDigest, content); err != nil {
		if errors.Is(err, alg.ErrUnknown) {
			return unsupported("signature", si.signatureAlg.OID)
		}
		return &VerifyError{Reason: ReasonSignature, Err: err}
	}
	if verr = si.checkSigningCertificate(result.Certificate); verr != nil {
		return verr
	}
	for _, weak := range append(sig.Weak(), digest.Weak, alg.WeakKey(key)) {
		if !allowed(s.opts.Allow, weak) {
			return &VerifyError{Reason: ReasonWeak, Err: &UnsupportedError{What: weak, Allow: Allowance(weak)}}
		}
	}
	return nil
}

// publicKey returns a certificate's key, with DSA's parameters inherited.
func (s *SignedReader) publicKey(cert *pki.Certificate) (crypto.PublicKey, *VerifyError) {
	key := cert.PublicKey
	if key == nil {
		return nil, &VerifyError{Reason: ReasonUnsupported, Err: &UnsupportedError{What: "public key", OID: cert.KeyAlgorithm.OID}}
	}
	if d, ok := key.(*dsa.PublicKey); ok && d.P == nil {
		inherited := pki.InheritDSA(cert, append(s.certs[:len(s.certs):len(s.certs)], s.opts.Certificates...))
		if inherited == nil {
			return nil, &VerifyError{Reason: ReasonUnsupported, Err: attributeError("the parameters of the DSA key are not at hand")}
		}
		return inherited, nil
	}
	return key, nil
}

// checkBare is for signatures without signed attributes. RFC 5652, Section 5.3:
// they MUST be there when the content is not data.
func checkBare(contentType OID, content *ContentHash) *VerifyError {
	if contentType != "" && contentType != TypeData {
		return &VerifyError{Reason: ReasonAttributes, Err: attributeError("there are none, and the content is not data")}
	}
	// Whoever holds a signature over attributes could present these attributes
	// as content. No mail is a SET of attributes.
	whole, ok := content.whole()
	if !ok || len(whole) == 0 || whole[0] != byte(asn1.SET) {
		return nil
	}
	limits := (*Limits)(nil).withDefaults()
	s := cryptobyte.String(whole)
	var set cryptobyte.String
	if !s.ReadASN1(&set, asn1.SET) || !s.Empty() {
		return nil
	}
	if attrs, err := parseAttributes(set, &limits); err == nil && attrs.Has(oid.AttrMessageDigest) {
		return &VerifyError{Reason: ReasonAttributes, Err: attributeError("the content is the attributes of another signature")}
	}
	return nil
}

// matches verifies the signature value. RFC 5652, Section 5.4: with signed
// attributes it is over their DER as a SET OF; else over the content.
func (si *signerInfo) matches(sig alg.Signature, key crypto.PublicKey, contentDigest []byte, content *ContentHash) error {
	if !si.hasSigned {
		if sig.Digest.Hash != 0 && !sig.Whole() {
			if other, ok := content.sum(sig.Digest.Hash); ok {
				contentDigest = other
			}
		}
		whole, ok := content.whole()
		if sig.Whole() && !ok {
			return alg.ErrUnknown
		}
		return sig.Verify(key, whole, contentDigest, si.signature)
	}
	err := si.matchesSet(sig, key, si.rawSigned)
	if err == alg.ErrSignature {
		// The set may have been put in order for signing alone.
		if sorted, ok := sortSet(si.rawSigned); ok && string(sorted) != string(si.rawSigned) {
			err = si.matchesSet(sig, key, sorted)
		}
	}
	return err
}

func (si *signerInfo) matchesSet(sig alg.Signature, key crypto.PublicKey, contents []byte) error {
	message, err := retag(asn1.SET, contents)
	if err != nil {
		return alg.ErrSignature
	}
	h := sig.Digest.New()
	h.Write(message)
	return sig.Verify(key, message, h.Sum(nil), si.signature)
}

// trust asks whether a signer whose signature is valid is acceptable.
func (s *SignedReader) trust(result *SignerResult) error {
	if _, insecure := s.opts.Trust.(insecureTrust); insecure {
		return nil
	}
	// RFC 8550, Section 4.4.2.
	if !result.Certificate.CanSign() {
		return &VerifyError{Reason: ReasonUntrusted, Err: attributeError("the certificate is not for signing")}
	}
	at := s.opts.Time
	if at.IsZero() {
		at = time.Now()
	}
	err := s.opts.Trust.TrustSigner(&TrustRequest{Certificate: result.Certificate, Time: at, SigningTime: result.SigningTime, Allow: s.opts.Allow,
		Intermediates: append(s.certs[:len(s.certs):len(s.certs)], s.opts.Certificates...), revocation: s.revocationInfo})
	if err != nil {
		return &VerifyError{Reason: ReasonUntrusted, Err: err}
	}
	return nil
}

// maxCountersigners bounds the work that unsigned attributes can ask for.
const maxCountersigners = 10

// countersigners judges the countersignatures of a signature. Those that are
// malformed are passed over: nothing vouches for unsigned attributes.
func (s *SignedReader) countersigners(si *signerInfo) []*SignerResult {
	var out []*SignerResult
	for _, attr := range si.unsigned {
		if attr.Type != oid.AttrCountersignature {
			continue
		}
		for _, value := range attr.Values {
			counter, err := parseSignerInfo(value, &s.r.limits)
			if err != nil || len(out) == maxCountersigners {
				continue
			}
			content := NewContentHash(hashesOf([]*signerInfo{counter})...)
			_, _ = content.Write(si.signature) // never fails
			out = append(out, s.judge(counter, "", content, false))
		}
	}
	return out
}
