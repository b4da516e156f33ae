package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

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

func (k *KeyAgreeRecipientInfo) add(b *cryptobyte.Builder) {
	b.AddASN1(der.Context(1, true), func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		b.AddASN1(der.Context(0, true), func(b *cryptobyte.Builder) {
			b.AddASN1(der.Context(1, true), func(b *cryptobyte.Builder) { // OriginatorPublicKey
				der.AddAlgorithm(b, k.OriginatorAlgorithm)
				b.AddASN1BitString(k.OriginatorKey)
			})
		})
		if k.UKM != nil {
			b.AddASN1(der.Context(1, true), func(b *cryptobyte.Builder) { b.AddASN1OctetString(k.UKM) })
		}
		der.AddAlgorithm(b, k.Algorithm)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, key := range k.Keys {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
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
	peer, scheme, err := c.scheme(pub)
	if err != nil {
		return nil, err
	}
	// RFC 8551, Section 2.7: the wrap is of the size of the content key.
	wrapOID, ok := map[int]OID{16: oid.AES128Wrap, 24: oid.AES192Wrap, 32: oid.AES256Wrap}[len(cek)]
	if !ok {
		wrapOID = oid.AES256Wrap
	}
	wrap := AlgorithmIdentifier{OID: wrapOID} // RFC 3565, Section 2.3.2: parameters absent
	k := &KeyAgreeRecipientInfo{UKM: c.UKM, OriginatorAlgorithm: AlgorithmIdentifier{OID: oid.EC}}
	if peer.Curve() == ecdh.X25519() {
		k.OriginatorAlgorithm.OID = oid.X25519
	}
	params, err := der.Marshal(func(b *cryptobyte.Builder) { der.AddAlgorithm(b, wrap) })
	if err != nil {
		return nil, err
	}
	k.Algorithm = AlgorithmIdentifier{OID: scheme, Parameters: params}
	ephemeral, err := peer.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k.OriginatorKey = ephemeral.PublicKey().Bytes()
	secret, err := ephemeral.ECDH(peer)
	if err != nil {
		return nil, err
	}
	agreement, _ := alg.AgreementByOID(scheme)
	size, _ := alg.WrapKeySize(wrapOID)
	kek, err := agreement.KEK(secret, wrap, k.UKM, size)
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

// scheme chooses the key agreement scheme for a public key.
func (c *CertificateRecipient) scheme(pub crypto.PublicKey) (*ecdh.PublicKey, OID, error) {
	none := &UnsupportedError{What: "encryption to a public key", OID: c.Certificate.KeyAlgorithm.OID}
	x963 := map[crypto.Hash]OID{crypto.SHA224: oid.ECDHSHA224KDF, crypto.SHA256: oid.ECDHSHA256KDF, crypto.SHA384: oid.ECDHSHA384KDF, crypto.SHA512: oid.ECDHSHA512KDF}
	hkdf := map[crypto.Hash]OID{crypto.SHA256: oid.DHHKDFSHA256, crypto.SHA384: oid.DHHKDFSHA384, crypto.SHA512: oid.DHHKDFSHA512}
	schemes, hash := hkdf, crypto.SHA256
	var peer *ecdh.PublicKey
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		var err error
		if peer, err = k.ECDH(); err != nil {
			return nil, "", none
		}
		schemes = x963
		switch k.Curve {
		case elliptic.P384():
			hash = crypto.SHA384
		case elliptic.P521():
			hash = crypto.SHA512
		}
	case *ecdh.PublicKey:
		peer = k
	default:
		return nil, "", none
	}
	if c.KDF != 0 {
		hash = c.KDF
	}
	scheme, ok := schemes[hash]
	if !ok {
		return nil, "", usage("there is no key agreement with %v for this key", hash)
	}
	return peer, scheme, nil
}

// open agrees on the secret and unwraps the key.
func (k *KeyAgreeRecipientInfo) open(key ecdh.KeyExchanger, wrapped []byte) ([]byte, error) {
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
	peer, err := originatorKey(key.Curve(), k.OriginatorKey)
	if err != nil {
		return nil, ErrDecrypt
	}
	secret, err := key.ECDH(peer)
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

// originatorKey reads the sender's public key, on the recipient's curve: the
// curve that OriginatorPublicKey names, or leaves out (RFC 5753, Section 3.1.1),
// can be no other.
func originatorKey(curve ecdh.Curve, point []byte) (*ecdh.PublicKey, error) {
	if len(point) > 0 && (point[0] == 2 || point[0] == 3) && curve != ecdh.X25519() {
		c := map[ecdh.Curve]elliptic.Curve{ecdh.P256(): elliptic.P256(), ecdh.P384(): elliptic.P384(), ecdh.P521(): elliptic.P521()}[curve]
		if c == nil {
			return nil, ErrDecrypt
		}
		x, y := elliptic.UnmarshalCompressed(c, point)
		if x == nil {
			return nil, ErrDecrypt
		}
		size := (c.Params().BitSize + 7) / 8
		point = make([]byte, 1+2*size)
		point[0] = 4
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
	}
	return curve.NewPublicKey(point)
}
