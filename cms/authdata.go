package cms

import (
	"crypto/hmac"
	"crypto/subtle"
	"hash"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// An AuthenticatedReader releases the content of an AuthenticatedData. Read
// returns io.EOF only if its message authentication code is right; else it
// ends with a [*VerifyError]. Close reads the rest and returns the verdict.
//
// A right code says that the content comes from one of those who hold the key:
// the sender, or any of the recipients.
type AuthenticatedReader struct {
	contentReader
	contentType OID
	mac         string
	attributes  Attributes
}

// ContentType returns the type of the content.
func (a *AuthenticatedReader) ContentType() OID { return a.contentType }

// MAC returns the name of the algorithm, such as "hmac-sha256".
func (a *AuthenticatedReader) MAC() string { return a.mac }

// Attributes returns the authenticated attributes. It is complete at io.EOF.
func (a *AuthenticatedReader) Attributes() Attributes { return a.attributes }

// An authData is an AuthenticatedData that is being read.
type authData struct {
	r      *Reader
	out    *AuthenticatedReader
	encap  encap
	mac    hash.Hash
	digest hash.Hash // nil when the MAC is over the content itself
	failed bool
}

// VerifyMAC opens an AuthenticatedData (RFC 5652, Section 9) with the first of
// ids that is a recipient. When none is, the error is a [*NoMatchError].
//
//	AuthenticatedData ::= SEQUENCE {
//	  version CMSVersion,
//	  originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
//	  recipientInfos RecipientInfos,
//	  macAlgorithm MessageAuthenticationCodeAlgorithm,
//	  digestAlgorithm [1] DigestAlgorithmIdentifier OPTIONAL,
//	  encapContentInfo EncapsulatedContentInfo,
//	  authAttrs [2] IMPLICIT AuthAttributes OPTIONAL,
//	  mac MessageAuthenticationCode,
//	  unauthAttrs [3] IMPLICIT UnauthAttributes OPTIONAL }
func (r *Reader) VerifyMAC(ids []Identity) (*AuthenticatedReader, error) {
	if r.contentType != TypeAuthenticatedData {
		return nil, &UnsupportedError{What: "VerifyMAC of a message of type", OID: r.contentType}
	}
	e, err := r.readRecipients("VerifyMAC")
	if err != nil {
		return nil, err
	}
	if e.used {
		return nil, usage("VerifyMAC: the message has been read already")
	}
	e.used = true
	macAlg, err := r.readAlgorithm("macAlgorithm")
	if err != nil {
		return nil, err
	}
	mac, ok := alg.MACByOID(macAlg.OID)
	if !ok {
		return nil, &UnsupportedError{What: "message authentication code", OID: macAlg.OID}
	}
	a := &authData{r: r, out: &AuthenticatedReader{mac: mac.Name}}
	if err = a.readDigestAlgorithm(); err != nil {
		return nil, err
	}
	var key []byte
	if key, a.failed, err = unwrap(ids, e.infos, 0); err != nil {
		return nil, err
	}
	a.mac = hmac.New(mac.Digest.New, key)
	if a.encap, err = r.readEncap(); err != nil {
		return nil, err
	}
	if a.encap.content == nil {
		return nil, &VerifyError{Reason: ReasonContent}
	}
	a.out.contentType = a.encap.contentType
	a.out.src, a.out.field, a.out.finish = a.encap.content, "eContent", a.finish
	a.out.sink = func(p []byte) { a.mac.Write(p) }
	if a.digest != nil {
		a.out.sink = func(p []byte) { a.digest.Write(p) }
	}
	return a.out, nil
}

func (a *authData) readDigestAlgorithm() error {
	const field = "digestAlgorithm"
	tag, _, err := a.r.peekTag(field)
	if err != nil || tag != ber.Context(1) {
		return err
	}
	raw, err := a.r.budget.der(a.r.r, field)
	if err != nil {
		return err
	}
	var id AlgorithmIdentifier
	s := cryptobyte.String(raw)
	if !der.ReadAlgorithmTagged(&s, &id, der.Context(1, true)) {
		return &SyntaxError{Offset: a.r.r.Offset(), Field: field}
	}
	d, ok := alg.DigestByAlgorithm(id)
	if !ok {
		return &UnsupportedError{What: "digest", OID: id.OID}
	}
	a.digest = d.New()
	return nil
}

func (a *authData) finish() error {
	if err := a.r.closeEncap(a.encap); err != nil {
		return err
	}
	contents, present, err := a.r.readRawAttributes("authAttrs", ber.Context(2))
	if err != nil {
		return err
	}
	raw, err := a.r.budget.der(a.r.r, "mac")
	if err != nil {
		return err
	}
	var mac []byte
	s := cryptobyte.String(raw)
	if !der.ReadOctets(&s, &mac, -1) {
		return &SyntaxError{Offset: a.r.r.Offset(), Field: "mac"}
	}
	if _, err = a.r.readAttributes("unauthAttrs", ber.Context(3)); err != nil {
		return err
	}
	if err = a.r.r.Leave(); err != nil {
		return wire(err, "AuthenticatedData")
	}
	if err = a.r.close(); err != nil {
		return err
	}
	return a.verdict(contents, present, mac)
}

// verdict checks the MAC: RFC 5652, Section 9.3.
func (a *authData) verdict(contents []byte, present bool, mac []byte) error {
	bad := &VerifyError{Reason: ReasonMAC}
	// RFC 5652, Section 9.1: digestAlgorithm and authAttrs come together, and
	// content that is not data needs them.
	if present != (a.digest != nil) || (!present && a.encap.contentType != TypeData) {
		return &VerifyError{Reason: ReasonAttributes}
	}
	if !present {
		if a.failed || subtle.ConstantTimeCompare(mac, a.mac.Sum(nil)) != 1 {
			return bad
		}
		return nil
	}
	forms, err := authenticatedForms(contents, true)
	if err != nil {
		return err
	}
	good := 0
	for _, form := range forms {
		a.mac.Reset()
		a.mac.Write(form)
		good |= subtle.ConstantTimeCompare(mac, a.mac.Sum(nil))
	}
	if a.failed || good != 1 {
		return bad
	}
	if a.out.attributes, err = parseAttributes(contents, &a.r.limits); err != nil {
		return err
	}
	// The checks are those of signed attributes: RFC 5652, Sections 9.2, 11.1, 11.2.
	si := &signerInfo{signed: a.out.attributes}
	if si.signed.Has(oid.AttrAlgorithmProtection) {
		si.signed = nil
		for _, attr := range a.out.attributes {
			if attr.Type != oid.AttrAlgorithmProtection {
				si.signed = append(si.signed, attr)
			}
		}
	}
	if verr := si.checkAttributes(a.encap.contentType, a.digest.Sum(nil)); verr != nil {
		return verr
	}
	return nil
}
