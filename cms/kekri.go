package cms

import (
	"bytes"
	"encoding/hex"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// A KEKRecipientInfo is a key wrapped under a key that both sides hold already
// (RFC 5652, Section 6.2.3).
//
//	KEKRecipientInfo ::= SEQUENCE {
//	  version CMSVersion,  -- always set to 4
//	  kekid KEKIdentifier,
//	  keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
//	  encryptedKey EncryptedKey }
type KEKRecipientInfo struct {
	KeyID        []byte
	Algorithm    AlgorithmIdentifier
	EncryptedKey []byte
}

// String implements RecipientInfo.
func (k *KEKRecipientInfo) String() string {
	return "shared key " + hex.EncodeToString(k.KeyID) + " with " + alg.Name(k.Algorithm.OID)
}

func (k *KEKRecipientInfo) minVersion() int { return 2 }

func (k *KEKRecipientInfo) add(b *der.Builder) {
	b.AddASN1(der.Context(2, true), func(b *der.Builder) {
		b.AddASN1Int64(4)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { b.AddASN1OctetString(k.KeyID) })
		der.AddAlgorithm(b, k.Algorithm)
		b.AddASN1OctetString(k.EncryptedKey)
	})
}

func readKEK(s cryptobyte.String) (RecipientInfo, error) {
	k := &KEKRecipientInfo{}
	var kekid cryptobyte.String
	// A date and other attributes may follow the key identifier.
	if !s.SkipASN1(asn1.INTEGER) || !s.ReadASN1(&kekid, asn1.SEQUENCE) || !der.ReadOctets(&kekid, &k.KeyID, -1) ||
		!der.ReadAlgorithm(&s, &k.Algorithm) || !der.ReadOctets(&s, &k.EncryptedKey, -1) || !s.Empty() {
		return nil, malformed("KEKRecipientInfo")
	}
	return k, nil
}

// A KEK is a key-encryption key that sender and recipient share. It implements
// [Recipient] and [Identity].
type KEK struct {
	ID  []byte // names the key; any octets
	Key []byte // 16, 24 or 32 octets
}

// Wrap implements Recipient, by AES key wrap (RFC 3565, Section 2.3).
func (k *KEK) Wrap(cek []byte) ([]RecipientInfo, error) {
	wrap, ok := map[int]OID{16: oid.AES128Wrap, 24: oid.AES192Wrap, 32: oid.AES256Wrap}[len(k.Key)]
	if !ok {
		return nil, usage("a key-encryption key has %d octets; it needs 16, 24 or 32", len(k.Key))
	}
	wrapped, err := alg.WrapKey(wrap, k.Key, cek)
	if err != nil {
		return nil, err
	}
	return []RecipientInfo{&KEKRecipientInfo{KeyID: k.ID, Algorithm: AlgorithmIdentifier{OID: wrap}, EncryptedKey: wrapped}}, nil
}

// Unwrap implements Identity.
func (k *KEK) Unwrap(infos []RecipientInfo, _ int) ([]byte, error) {
	for _, info := range infos {
		kek, ok := info.(*KEKRecipientInfo)
		if !ok || !bytes.Equal(kek.KeyID, k.ID) {
			continue
		}
		if _, ok = alg.WrapKeySize(kek.Algorithm.OID); !ok {
			return nil, &UnsupportedError{What: "key wrap", OID: kek.Algorithm.OID}
		}
		cek, err := alg.UnwrapKey(kek.Algorithm, k.Key, kek.EncryptedKey)
		if err != nil {
			return nil, ErrDecrypt
		}
		return cek, nil
	}
	return nil, ErrNoMatch
}
