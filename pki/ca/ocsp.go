package ca

import (
	"bytes"
	"crypto"
	"crypto/sha1" // the name of a key in OCSP, which needs no collision resistance
	"time"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

const ocspBasic oid.OID = "1.3.6.1.5.5.7.48.1.1"

// A Status is what an authority knows of a certificate.
type Status struct {
	// Status is good, revoked, or unknown when it never issued the certificate.
	Status pki.RevocationStatus
	// At and Reason are those of a revocation.
	At     time.Time
	Reason pki.RevocationReason
}

// A Lookup returns the status of the certificate with a serial number (as
// [pki.Certificate.Serial]). It may be called by several goroutines.
type Lookup func(serial []byte) (Status, error)

// A Responder answers OCSP requests with a certificate of its own, which an
// authority has issued for that.
type Responder struct {
	// Certificate is the responder's.
	Certificate *pki.Certificate

	issuer *pki.Certificate
	key    crypto.Signer
	lookup Lookup
	keyID  []byte // SHA-1 digest of the responder's key
	bits   []byte // the issuer's key
}

// NewResponder issues a responder's certificate, valid for so long, to a key.
func (a *Authority) NewResponder(key crypto.PrivateKey, lookup Lookup, validity time.Duration, now time.Time) (*Responder, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refuse("key", "cannot sign")
	}
	if err := checkKey(signer.Public()); err != nil {
		return nil, err
	}
	if lookup == nil {
		return nil, refuse("lookup", "is missing")
	}
	subject, err := name("", "", "OCSP responder")
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	t := &template{
		subject: subject, key: signer.Public(), notBefore: now.Add(-skew), notAfter: now.Add(validity),
		extensions: []extension{
			keyUsage(usageDigitalSignature),
			// RFC 6960, Section 4.2.2.2: issued by the CA itself, with id-kp-OCSPSigning.
			extKeyUsage(ekuOCSPSigning),
			// RFC 6960, Section 4.2.2.2.1: short-lived, and not to be checked.
			{extOCSPNoCheck, false, func(b *der.Builder) { b.AddASN1NULL() }},
		},
	}
	if err = a.covers(t); err != nil {
		return nil, err
	}
	r := &Responder{issuer: a.Certificate, key: signer, lookup: lookup}
	if r.Certificate, err = t.make(a.Certificate, a.key); err != nil {
		return nil, err
	}
	_, own, err := marshalKey(signer.Public())
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(own)
	r.keyID = sum[:]
	_, r.bits, err = marshalKey(a.key.Public())
	return r, err
}

// An Answer is an OCSP response.
type Answer struct {
	// DER is the OCSPResponse.
	DER []byte
	// Reusable says that it is signed and has no nonce: the same may be given to
	// others until NextUpdate (RFC 5019, Section 6).
	Reusable               bool
	ThisUpdate, NextUpdate time.Time
}

// Respond answers a request, whatever is in it; what cannot be read, or be
// answered, gets an unsigned response that says so. The statuses are good for so
// long from now on. The error is that of the lookup or of signing; with it there
// is an answer, too.
func (r *Responder) Respond(request []byte, now time.Time, validity time.Duration) (*Answer, error) {
	req, ok := parseOCSPRequest(request)
	if !ok {
		return failure(pki.OCSPMalformedRequest), nil
	}
	this := now.UTC().Truncate(time.Second)
	next := this.Add(validity)
	statuses := make([]Status, len(req.ids))
	for i, id := range req.ids {
		if !r.isOurs(&id) {
			statuses[i] = Status{Status: pki.RevocationUnknown}
			continue
		}
		var err error
		if statuses[i], err = r.lookup(id.sn); err != nil {
			return failure(pki.OCSPInternalError), err
		}
	}
	tbs, err := der.Marshal(func(b *der.Builder) { r.addData(b, req, statuses, this, next) })
	if err != nil {
		return failure(pki.OCSPInternalError), err
	}
	basic, err := signed(r.key, tbs, func(b *der.Builder) {
		b.AddASN1(der.Context(0, true), func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				b.AddBytes(r.Certificate.Raw)
				b.AddBytes(r.issuer.Raw) // for clients that know the root alone
			})
		})
	})
	if err != nil {
		return failure(pki.OCSPInternalError), err
	}
	full, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1Enum(0) // successful
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				sequence(b, func(b *der.Builder) {
					der.AddOID(b, ocspBasic)
					b.AddASN1OctetString(basic)
				})
			})
		})
	})
	if err != nil {
		return failure(pki.OCSPInternalError), err
	}
	return &Answer{DER: full, Reusable: req.nonce == nil, ThisUpdate: this, NextUpdate: next}, nil
}

// failure returns an unsigned response (RFC 6960, Section 2.3).
func failure(status pki.OCSPStatus) *Answer {
	return &Answer{DER: []byte{0x30, 3, 0x0A, 1, byte(status)}}
}

// isOurs reports whether a certificate is named as one of our issuer's.
func (r *Responder) isOurs(id *certID) bool {
	digest, ok := alg.DigestByOID(id.hash)
	if !ok || !digest.Hash.Available() {
		return false
	}
	sum := func(data []byte) []byte {
		h := digest.New()
		h.Write(data)
		return h.Sum(nil)
	}
	return bytes.Equal(sum(r.issuer.RawSubject), id.nameHash) && bytes.Equal(sum(r.bits), id.keyHash)
}

// addData appends ResponseData (RFC 6960, Section 4.2.1).
func (r *Responder) addData(b *der.Builder, req *ocspRequest, statuses []Status, this, next time.Time) {
	sequence(b, func(b *der.Builder) {
		b.AddASN1(der.Context(2, true), func(b *der.Builder) { b.AddASN1OctetString(r.keyID) })
		b.AddASN1GeneralizedTime(this)
		sequence(b, func(b *der.Builder) {
			for i, id := range req.ids {
				sequence(b, func(b *der.Builder) {
					b.AddBytes(id.raw)
					statuses[i].add(b)
					b.AddASN1GeneralizedTime(this)
					b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1GeneralizedTime(next) })
				})
			}
		})
		if req.nonce == nil {
			return
		}
		// RFC 9654, Section 2.1: the nonce comes back as it was sent.
		b.AddASN1(der.Context(1, true), func(b *der.Builder) {
			addExtensions(b, []extension{{ocspNonce, false, func(b *der.Builder) { b.AddBytes(req.nonce) }}})
		})
	})
}

// add appends a CertStatus.
func (s Status) add(b *der.Builder) {
	switch s.Status {
	case pki.RevocationGood:
		b.AddASN1(der.Context(0, false), func(*der.Builder) {})
	case pki.RevocationRevoked:
		b.AddASN1(der.Context(1, true), func(b *der.Builder) {
			b.AddASN1GeneralizedTime(s.At.UTC())
			if s.Reason != pki.RevokedUnspecified {
				b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1Enum(int64(s.Reason)) })
			}
		})
	default:
		b.AddASN1(der.Context(2, false), func(*der.Builder) {})
	}
}
