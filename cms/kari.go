package cms

import (
	"crypto"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A KeyAgreeRecipientInfo is a key wrapped under a secret that the sender and
// each recipient agree on (RFC 5652, Section 6.2.2; RFC 5753; RFC 8418).
//
//	KeyAgreeRecipientInfo ::= SEQUENCE {
//	  version CMSVersion,  -- always set to 3
//	  originator [0] EXPLICIT OriginatorIdentifierOrKey,
//	  ukm [1] EXPLICIT UserKeyingMaterial OPTIONAL,
//	  keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
//	  recipientEncryptedKeys RecipientEncryptedKeys }
type KeyAgreeRecipientInfo struct {
	// OriginatorID names the sender's certificate, when the sender's key is not
	// an ephemeral one. Such messages are not opened.
	OriginatorID CertificateID
	// OriginatorAlgorithm and OriginatorKey are the sender's ephemeral key.
	OriginatorAlgorithm AlgorithmIdentifier
	OriginatorKey       []byte // the contents of the BIT STRING

	UKM       []byte // nil when absent
	Algorithm AlgorithmIdentifier
	Keys      []RecipientEncryptedKey
}

// A RecipientEncryptedKey is the key for one recipient.
type RecipientEncryptedKey struct {
	ID           CertificateID
	EncryptedKey []byte
}

// String implements RecipientInfo.
func (k *KeyAgreeRecipientInfo) String() string {
	text := "key agreement with " + alg.Name(k.Algorithm.OID)
	for i, key := range k.Keys {
		if i > 0 {
			text += " and"
		}
		text += " to " + key.ID.String()
	}
	return text
}

func (k *KeyAgreeRecipientInfo) minVersion() int { return 2 }

func (k *KeyAgreeRecipientInfo) add(b *der.Builder) {
	b.AddASN1(der.Context(1, true), func(b *der.Builder) {
		b.AddASN1Int64(3)
		b.AddASN1(der.Context(0, true), func(b *der.Builder) {
			b.AddASN1(der.Context(1, true), func(b *der.Builder) { // OriginatorPublicKey
				der.AddAlgorithm(b, k.OriginatorAlgorithm)
				b.AddASN1BitString(k.OriginatorKey)
			})
		})
		if k.UKM != nil {
			b.AddASN1(der.Context(1, true), func(b *der.Builder) { b.AddASN1OctetString(k.UKM) })
		}
		der.AddAlgorithm(b, k.Algorithm)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			for _, key := range k.Keys {
				b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
					key.ID.add(b, true)
					b.AddASN1OctetString(key.EncryptedKey)
				})
			}
		})
	})
}

func readKeyAgree(s cryptobyte.String) (RecipientInfo, error) {
	k := &KeyAgreeRecipientInfo{}
	var originator, ukm, keys cryptobyte.String
	var hasUKM bool
	if !s.SkipASN1(asn1.INTEGER) || !s.ReadASN1(&originator, der.Context(0, true)) || !k.readOriginator(originator) ||
		!s.ReadOptionalASN1(&ukm, &hasUKM, der.Context(1, true)) || (hasUKM && (!der.ReadOctets(&ukm, &k.UKM, -1) || !ukm.Empty())) ||
		!der.ReadAlgorithm(&s, &k.Algorithm) || !s.ReadASN1(&keys, asn1.SEQUENCE) || !s.Empty() {
		return nil, malformed("KeyAgreeRecipientInfo")
	}
	for !keys.Empty() {
		var seq cryptobyte.String
		var key RecipientEncryptedKey
		if !keys.ReadASN1(&seq, asn1.SEQUENCE) || !key.ID.read(&seq, true) || !der.ReadOctets(&seq, &key.EncryptedKey, -1) || !seq.Empty() {
			return nil, malformed("RecipientEncryptedKey")
		}
		k.Keys = append(k.Keys, key)
	}
	return k, nil
}

// readOriginator reads OriginatorIdentifierOrKey.
func (k *KeyAgreeRecipientInfo) readOriginator(s cryptobyte.String) bool {
	if !s.PeekASN1Tag(der.Context(1, true)) {
		return k.OriginatorID.read(&s, false) && s.Empty()
	}
	var seq, bits cryptobyte.String
	if !s.ReadASN1(&seq, der.Context(1, true)) || !s.Empty() || !der.ReadAlgorithm(&seq, &k.OriginatorAlgorithm) ||
		!seq.ReadASN1(&bits, asn1.BIT_STRING) || !seq.Empty() || len(bits) == 0 || bits[0] != 0 {
		return false
	}
	k.OriginatorKey = bits[1:]
	return true
}

// agree makes a KeyAgreeRecipientInfo with an ephemeral key.
func (c *CertificateRecipient) agree(id CertificateID, pub crypto.PublicKey, cek []byte) (RecipientInfo, error) {
	e, ok := ephemeralTo(pub)
	if !ok {
		return nil, &UnsupportedError{What: "encryption to a public key", OID: c.Certificate.KeyAlgorithm.OID}
	}
	scheme, err := c.scheme(e)
	if err != nil {
		return nil, err
	}
	// RFC 8551, Section 2.7: the wrap is of the size of the content key.
	wrapOID, ok := map[int]OID{16: oid.AES128Wrap, 24: oid.AES192Wrap, 32: oid.AES256Wrap}[len(cek)]
	if !ok {
		wrapOID = oid.AES256Wrap
	}
	wrap := AlgorithmIdentifier{OID: wrapOID} // RFC 3565, Section 2.3.2: parameters absent
	k := &KeyAgreeRecipientInfo{UKM: c.UKM, OriginatorAlgorithm: AlgorithmIdentifier{OID: e.algorithm}}
	params, err := der.Marshal(func(b *der.Builder) { der.AddAlgorithm(b, wrap) })
	if err != nil {
		return nil, err
	}
	k.Algorithm = AlgorithmIdentifier{OID: scheme.OID, Parameters: params}
	var secret []byte
	if k.OriginatorKey, secret, err = e.agree(); err != nil {
		return nil, err
	}
	size, _ := alg.WrapKeySize(wrapOID)
	kek, err := scheme.KEK(secret, wrap, k.UKM, size)
	if err != nil {
		return nil, err
	}
	wrapped, err := alg.WrapKey(wrapOID, kek, cek)
	if err != nil {
		return nil, err
	}
	k.Keys = []RecipientEncryptedKey{{ID: id, EncryptedKey: wrapped}}
	return k, nil
}

// scheme chooses the key agreement scheme.
func (c *CertificateRecipient) scheme(e ephemeral) (alg.Agreement, error) {
	x963 := map[crypto.Hash]OID{crypto.SHA224: oid.ECDHSHA224KDF, crypto.SHA256: oid.ECDHSHA256KDF, crypto.SHA384: oid.ECDHSHA384KDF, crypto.SHA512: oid.ECDHSHA512KDF}
	hkdf := map[crypto.Hash]OID{crypto.SHA256: oid.DHHKDFSHA256, crypto.SHA384: oid.DHHKDFSHA384, crypto.SHA512: oid.DHHKDFSHA512}
	schemes, hash := x963, e.hash
	if e.hkdf {
		schemes = hkdf
	}
	if c.KDF != 0 {
		hash = c.KDF
	}
	scheme, ok := alg.AgreementByOID(schemes[hash])
	if !ok {
		return scheme, usage("there is no key agreement with %v for this key", hash)
	}
	return scheme, nil
}

// open agrees on the secret and unwraps the key.
func (k *KeyAgreeRecipientInfo) open(agree exchange, wrapped []byte) ([]byte, error) {
	agreement, ok := alg.AgreementByOID(k.Algorithm.OID)
	if !ok {
		return nil, &UnsupportedError{What: "key agreement", OID: k.Algorithm.OID}
	}
	var wrap AlgorithmIdentifier
	params := cryptobyte.String(k.Algorithm.Parameters)
	if !der.ReadAlgorithm(&params, &wrap) || !params.Empty() {
		return nil, ErrDecrypt
	}
	size, ok := alg.WrapKeySize(wrap.OID)
	if !ok {
		return nil, &UnsupportedError{What: "key wrap", OID: wrap.OID}
	}
	if k.OriginatorKey == nil {
		return nil, &UnsupportedError{What: "key agreement with the sender's certificate"}
	}
	secret, err := agree(k.OriginatorKey)
	if unavailable(err) {
		return nil, err
	}
	if err != nil {
		return nil, ErrDecrypt
	}
	kek, err := agreement.KEK(secret, wrap, k.UKM, size)
	if err != nil {
		return nil, ErrDecrypt
	}
	cek, err := alg.UnwrapKey(wrap, kek, wrapped)
	if err != nil {
		return nil, ErrDecrypt
	}
	return cek, nil
}
