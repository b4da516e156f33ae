package alg

import (
	"crypto"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/postseal/postseal/internal/oid"
)

// An SLHDSA is a parameter set of SLH-DSA (FIPS 205).
type SLHDSA struct {
	Name string
	OID  oid.OID
	ID   slhdsa.ID
	Hash crypto.Hash // of signed attributes: RFC 9814, Section 4
	// Strength are the octets that a digest needs: twice the security strength.
	Strength int
}

var slhdsas = []SLHDSA{
	{"SLH-DSA-SHA2-128s", oid.SLHDSASHA2128s, slhdsa.SHA2_128s, crypto.SHA256, 32},
	{"SLH-DSA-SHA2-128f", oid.SLHDSASHA2128f, slhdsa.SHA2_128f, crypto.SHA256, 32},
	{"SLH-DSA-SHA2-192s", oid.SLHDSASHA2192s, slhdsa.SHA2_192s, crypto.SHA512, 48},
	{"SLH-DSA-SHA2-192f", oid.SLHDSASHA2192f, slhdsa.SHA2_192f, crypto.SHA512, 48},
	{"SLH-DSA-SHA2-256s", oid.SLHDSASHA2256s, slhdsa.SHA2_256s, crypto.SHA512, 64},
	{"SLH-DSA-SHA2-256f", oid.SLHDSASHA2256f, slhdsa.SHA2_256f, crypto.SHA512, 64},
	{"SLH-DSA-SHAKE-128s", oid.SLHDSASHAKE128s, slhdsa.SHAKE_128s, SHAKE128, 32},
	{"SLH-DSA-SHAKE-128f", oid.SLHDSASHAKE128f, slhdsa.SHAKE_128f, SHAKE128, 32},
	{"SLH-DSA-SHAKE-192s", oid.SLHDSASHAKE192s, slhdsa.SHAKE_192s, SHAKE256, 48},
	{"SLH-DSA-SHAKE-192f", oid.SLHDSASHAKE192f, slhdsa.SHAKE_192f, SHAKE256, 48},
	{"SLH-DSA-SHAKE-256s", oid.SLHDSASHAKE256s, slhdsa.SHAKE_256s, SHAKE256, 64},
	{"SLH-DSA-SHAKE-256f", oid.SLHDSASHAKE256f, slhdsa.SHAKE_256f, SHAKE256, 64},
}

// SLHDSAByOID finds a parameter set by its identifier.
func SLHDSAByOID(o oid.OID) (SLHDSA, bool) {
	for _, s := range slhdsas {
		if s.OID == o {
			return s, true
		}
	}
	return SLHDSA{}, false
}

// SLHDSAOf returns the parameter set of a key.
func SLHDSAOf(key slhdsa.PublicKey) (SLHDSA, bool) {
	for _, s := range slhdsas {
		if s.ID == key.ID {
			return s, true
		}
	}
	return SLHDSA{}, false
}

// NewPublicKey reads an encoded public key (RFC 9909, Section 4). One of
// another size is ErrParameters.
func (s SLHDSA) NewPublicKey(bits []byte) (slhdsa.PublicKey, error) {
	key := slhdsa.PublicKey{ID: s.ID}
	if len(bits) != s.ID.Scheme().PublicKeySize() || key.UnmarshalBinary(bits) != nil {
		return key, ErrParameters
	}
	return key, nil
}

// NewPrivateKey reads an encoded private key (RFC 9909, Section 6). One of
// another size is ErrParameters.
func (s SLHDSA) NewPrivateKey(octets []byte) (slhdsa.PrivateKey, error) {
	key := slhdsa.PrivateKey{ID: s.ID}
	if len(octets) != s.ID.Scheme().PrivateKeySize() || key.UnmarshalBinary(octets) != nil {
		return key, ErrParameters
	}
	return key, nil
}
