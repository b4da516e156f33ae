package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
)

// nonceSize is the size of a nonce in octets (RFC 9654, Section 2.1).
const nonceSize = 32

// maxNonce is the size of the largest nonce that is read, in octets.
const maxNonce = 128

// An OCSPRequest asks for the status of one certificate (RFC 6960, Section 4.1).
type OCSPRequest struct {
	// Raw is the OCSPRequest in DER.
	Raw []byte
	// CertID is the CertID in DER. It is the same in every request that asks
	// for the same certificate in the same way.
	CertID []byte
	// Nonce is the content of the nonce, or nil when there is none (RFC 9654,
	// which takes the place of RFC 8954).
	Nonce []byte
}

// OCSPRequestOptions says how to ask. The zero value asks under SHA-1 with a
// nonce, which is what all responders understand (RFC 5019, Section 2.1.1).
type OCSPRequestOptions struct {
	// Hash is crypto.SHA1 or crypto.SHA256, for the names of the issuer and its
	// key alone, which need no collision resistance; 0 means SHA-1.
	Hash crypto.Hash
	// NoNonce leaves out the nonce, so that an answer made before can be given.
	NoNonce bool
}

// NewOCSPRequest makes a request for the status of c, a certificate by issuer.
// It fails when a certificate cannot be read that far, or for another hash.
func NewOCSPRequest(c, issuer *Certificate, opts OCSPRequestOptions) (*OCSPRequest, error) {
	hash := opts.Hash
	if hash == 0 {
		hash = crypto.SHA1
	}
	digest, ok := alg.DigestByHash(hash)
	if !ok || hash != crypto.SHA1 && hash != crypto.SHA256 {
		return nil, fmt.Errorf("pki: OCSP requests with hash %d: %w", hash, alg.ErrUnknown)
	}
	if c == nil || issuer == nil {
		return nil, &RevocationUnknownError{}
	}
	key, ok := keyBits(issuer)
	if !ok {
		return nil, &RevocationParseError{What: "certificate", Field: "subjectPublicKey"}
	}
	r := &OCSPRequest{}
	var err error
	r.CertID, err = der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddAlgorithm(b, der.WithNull(digest.OID))
			b.AddASN1OctetString(sum(digest, c.RawIssuer))
			b.AddASN1OctetString(sum(digest, key))
			b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(c.Serial) })
		})
	})
	if err != nil {
		return nil, err
	}
	if !opts.NoNonce {
		r.Nonce = make([]byte, nonceSize)
		if _, err = io.ReadFull(rand.Reader, r.Nonce); err != nil {
			return nil, err
		}
	}
	r.Raw, err = der.Marshal(r.marshal)
	return r, err
}

// marshal writes the request:
//
//	OCSPRequest ::= SEQUENCE { tbsRequest TBSRequest, … }
//	TBSRequest  ::= SEQUENCE { …, requestList SEQUENCE OF SEQUENCE { reqCert CertID, … },
//	                           requestExtensions [2] EXPLICIT Extensions OPTIONAL }
func (r *OCSPRequest) marshal(b *der.Builder) {
	sequence := func(b *der.Builder, f func(b *der.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }
	sequence(b, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				sequence(b, func(b *der.Builder) { b.AddBytes(r.CertID) })
			})
			if r.Nonce == nil {
				return
			}
			b.AddASN1(der.Context(2, true), func(b *der.Builder) {
				sequence(b, func(b *der.Builder) {
					sequence(b, func(b *der.Builder) {
						der.AddOID(b, ocspNonce)
						// RFC 9654, Section 2.1: Nonce ::= OCTET STRING (SIZE(1..128))
						b.AddASN1(asn1.OCTET_STRING, func(b *der.Builder) { b.AddASN1OctetString(r.Nonce) })
					})
				})
			})
		})
	})
}

// checkNonce compares a response with its request. RFC 9654, Section 2.1: a
// responder may leave out the nonce, and one that is there has to be the same.
func (r *OCSPRequest) checkNonce(resp *OCSPResponse, required bool) bool {
	if r.Nonce == nil {
		return true
	}
	if resp.Nonce == nil {
		return !required
	}
	return bytes.Equal(resp.Nonce, r.Nonce)
}

// keyBits returns the content of subjectPublicKey, which is what is hashed to
// name a key (RFC 6960, Section 4.1.1).
func keyBits(c *Certificate) ([]byte, bool) {
	in := cryptobyte.String(c.RawSPKI)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.SEQUENCE) {
		return nil, false
	}
	return readBits(&seq)
}

func sum(d alg.Digest, data []byte) []byte {
	h := d.New()
	h.Write(data)
	return h.Sum(nil)
}
