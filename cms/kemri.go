package cms

import (
	"crypto"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A KEMRecipientInfo is a key wrapped under a secret that is encapsulated to a
// public key (RFC 9629, Section 3). It travels as an OtherRecipientInfo.
//
//	KEMRecipientInfo ::= SEQUENCE {
//	  version CMSVersion,  -- always set to 0
//	  rid RecipientIdentifier,
//	  kem KEMAlgorithmIdentifier,
//	  kemct OCTET STRING,
//	  kdf KeyDerivationAlgorithmIdentifier,
//	  kekLength INTEGER (1..65535),
//	  ukm [0] EXPLICIT UserKeyingMaterial OPTIONAL,
//	  wrap KeyEncryptionAlgorithmIdentifier,
//	  encryptedKey EncryptedKey }
type KEMRecipientInfo struct {
	ID           CertificateID
	Algorithm    AlgorithmIdentifier // of the KEM
	Ciphertext   []byte              // of the KEM
	KDF          AlgorithmIdentifier
	KEKLength    int    // of the key-encryption key, in octets
	UKM          []byte // nil when absent
	Wrap         AlgorithmIdentifier
	EncryptedKey []byte
}

// String implements RecipientInfo.
func (k *KEMRecipientInfo) String() string {
	return "key encapsulation with " + alg.Name(k.Algorithm.OID) + " to " + k.ID.String()
}

// minVersion is that of EnvelopedData with an OtherRecipientInfo (RFC 5652,
// Section 6.1).
func (k *KEMRecipientInfo) minVersion() int { return 3 }

func (k *KEMRecipientInfo) add(b *der.Builder) {
	b.AddASN1(der.Context(4, true), func(b *der.Builder) {
		der.AddOID(b, oid.ORIKEM)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1Int64(0)
			k.ID.add(b, false)
			der.AddAlgorithm(b, k.Algorithm)
			b.AddASN1OctetString(k.Ciphertext)
			der.AddAlgorithm(b, k.KDF)
			b.AddASN1Int64(int64(k.KEKLength))
			if k.UKM != nil {
				b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1OctetString(k.UKM) })
			}
			der.AddAlgorithm(b, k.Wrap)
			b.AddASN1OctetString(k.EncryptedKey)
		})
	})
}

func readKEM(s cryptobyte.String) (RecipientInfo, error) {
	k := &KEMRecipientInfo{}
	var seq, ukm cryptobyte.String
	var hasUKM bool
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !seq.SkipASN1(asn1.INTEGER) || !k.ID.read(&seq, false) ||
		!der.ReadAlgorithm(&seq, &k.Algorithm) || !der.ReadOctets(&seq, &k.Ciphertext, -1) ||
		!der.ReadAlgorithm(&seq, &k.KDF) || !seq.ReadASN1Integer(&k.KEKLength) || k.KEKLength < 1 || k.KEKLength > 65535 ||
		!seq.ReadOptionalASN1(&ukm, &hasUKM, der.Context(0, true)) || (hasUKM && (!der.ReadOctets(&ukm, &k.UKM, -1) || !ukm.Empty())) ||
		!der.ReadAlgorithm(&seq, &k.Wrap) || !der.ReadOctets(&seq, &k.EncryptedKey, -1) || !seq.Empty() {
		return nil, malformed("KEMRecipientInfo")
	}
	return k, nil
}

// encapsulate makes a KEMRecipientInfo.
func (c *CertificateRecipient) encapsulate(id CertificateID, kem alg.KEM, pub crypto.Encapsulator, cek []byte) (RecipientInfo, error) {
	hash := c.KDF
	if hash == 0 {
		hash = crypto.SHA256 // RFC 9936: the one that all implementations have
	}
	kdf, ok := alg.KEMKDF(hash)
	if !ok {
		return nil, usage("there is no key encapsulation with %v", hash)
	}
	k := &KEMRecipientInfo{ID: id, Algorithm: AlgorithmIdentifier{OID: kem.OID}, KDF: AlgorithmIdentifier{OID: kdf}, UKM: c.UKM}
	// RFC 9629, Section 7: the wrap is no weaker than the KEM and the content key.
	k.Wrap.OID = oid.AES256Wrap
	if len(cek) == 16 {
		k.Wrap.OID = kem.MinWrap
	}
	k.KEKLength, _ = alg.WrapKeySize(k.Wrap.OID)
	var secret []byte
	secret, k.Ciphertext = pub.Encapsulate()
	kek, err := alg.KEMKEK(k.KDF, secret, k.Wrap, k.UKM, k.KEKLength)
	if err != nil {
		return nil, err
	}
	k.EncryptedKey, err = alg.WrapKey(k.Wrap.OID, kek, cek)
	return k, err
}

// open decapsulates the secret and unwraps the key.
//
// A ciphertext that was changed gives another secret (FIPS 203, Section 6.3),
// with which the wrap does not open: that is ErrDecrypt like all that follows,
// and tells a sender nothing but that the message was changed.
func (k *KEMRecipientInfo) open(key crypto.Decapsulator) ([]byte, error) {
	size, ok := alg.WrapKeySize(k.Wrap.OID)
	if !ok {
		return nil, &UnsupportedError{What: "key wrap", OID: k.Wrap.OID}
	}
	// RFC 9629, Section 3: kekLength is that of the wrap.
	if k.KEKLength != size || len(k.Algorithm.Parameters) > 0 {
		return nil, ErrDecrypt
	}
	secret, err := key.Decapsulate(k.Ciphertext)
	if err != nil {
		return nil, ErrDecrypt
	}
	kek, err := alg.KEMKEK(k.KDF, secret, k.Wrap, k.UKM, size)
	if err != nil {
		return nil, &UnsupportedError{What: "key derivation", OID: k.KDF.OID}
	}
	cek, err := alg.UnwrapKey(k.Wrap, kek, k.EncryptedKey)
	if err != nil {
		return nil, ErrDecrypt
	}
	return cek, nil
}

// decapsulator returns a private key as one of the KEM that k asks for.
func (k *KEMRecipientInfo) decapsulator(key crypto.PrivateKey) (crypto.Decapsulator, error) {
	d, ok := key.(crypto.Decapsulator)
	if !ok {
		return nil, ErrNoMatch
	}
	if _, known := alg.KEMByOID(k.Algorithm.OID); !known {
		return nil, &UnsupportedError{What: "key encapsulation", OID: k.Algorithm.OID}
	}
	if kem, _, known := alg.KEMOf(d.Encapsulator()); !known || kem.OID != k.Algorithm.OID {
		return nil, ErrNoMatch
	}
	return d, nil
}
