package alg

import (
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// FitsKey applies what the algorithm identifier in a SubjectPublicKeyInfo says
// about the use of the key: a signature that it does not allow is ErrKeyType.
// Parameters that cannot be read are ErrParameters or ErrUnknown.
func FitsKey(key der.Algorithm, sig Signature) error {
	switch key.OID {
	case oid.RSAES:
		return ErrKeyType // RFC 4055, Section 1.2: for encryption only
	case oid.ECDH:
		return ErrKeyType // RFC 5480, Section 2.1.2: for key agreement only
	case oid.RSAPSS:
		if sig.Scheme != PSS {
			return ErrKeyType
		}
		if key.NoParameters() {
			return nil
		}
		// RFC 4055, Section 3.3: the same hash functions, and at least as much
		// salt as the parameters of the key say.
		want, err := ParsePSS(key.Parameters)
		if err != nil {
			return err
		}
		if want.Digest != sig.PSS.Digest || want.MGF != sig.PSS.MGF || sig.PSS.Salt < want.Salt {
			return ErrKeyType
		}
	}
	return nil
}
