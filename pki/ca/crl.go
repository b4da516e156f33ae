package ca

import (
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

const (
	extCRLNumber  oid.OID = "2.5.29.20"
	extReasonCode oid.OID = "2.5.29.21"
)

// A Revoked is a certificate that is revoked.
type Revoked struct {
	Serial []byte // as [pki.Certificate.Serial]
	At     time.Time
	Reason pki.RevocationReason
}

// CRL makes a complete CRL of version 2 (RFC 5280, Section 5) in DER. number has
// to be larger than that of every CRL of a before, and next later than this. The
// error is a [*RequestError] otherwise.
func (a *Authority) CRL(list []Revoked, number *big.Int, this, next time.Time) ([]byte, error) {
	switch {
	case number == nil || number.Sign() <= 0 || number.BitLen() > 159:
		return nil, refuse("number", "of a CRL is positive and of 20 octets at most") // RFC 5280, Section 5.2.3
	case !this.Before(next):
		return nil, refuse("validity", "ends before it begins")
	}
	_, algorithm, err := algorithmOf(a.key.Public())
	if err != nil {
		return nil, err
	}
	tbs, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1Int64(1) // version 2
			der.AddAlgorithm(b, algorithm)
			b.AddBytes(a.Certificate.RawSubject)
			der.AddTime(b, this)
			// RFC 5280, Section 5.1.2.5: nextUpdate is not left out.
			der.AddTime(b, next)
			if len(list) > 0 { // RFC 5280, Section 5.1.2.6: absent when nothing is revoked
				sequence(b, func(b *der.Builder) {
					for i := range list {
						list[i].add(b)
					}
				})
			}
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				addExtensions(b, []extension{
					authorityKeyID(a.Certificate.SubjectKeyID),
					{extCRLNumber, false, func(b *der.Builder) { b.AddASN1BigInt(number) }},
				})
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return signed(a.key, tbs, nil)
}

func (r *Revoked) add(b *der.Builder) {
	sequence(b, func(b *der.Builder) {
		b.AddASN1(asn1.INTEGER, func(b *der.Builder) { b.AddBytes(r.Serial) })
		der.AddTime(b, r.At)
		if r.Reason == pki.RevokedUnspecified {
			return // RFC 5280, Section 5.3.1: the reason is left out
		}
		addExtensions(b, []extension{{extReasonCode, false, func(b *der.Builder) { b.AddASN1Enum(int64(r.Reason)) }}})
	})
}
