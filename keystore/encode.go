package keystore

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// The cost of trying a password, and the length of the salt of a MAC in octets.
// Readers pay the cost three times, and some are twenty times as slow as we are.
const (
	p12Iterations = 100_000
	macSalt       = 16
)

// EncodePKCS12 returns id, with its Chain, as a PKCS#12 file (RFC 7292) with
// AES-256-CBC, PBKDF2 with HMAC-SHA-256 and a MAC with SHA-256, which current
// software reads; each of them asks for 100,000 iterations. Keys of all kinds
// that are read are written, those of ML-DSA and ML-KEM as their seed, but for
// DSA keys and those on tokens, which are an [*UnsupportedError]. The password is
// UTF-8; it may not be empty. A key that is not that of the certificate is
// [ErrNoMatch].
func EncodePKCS12(id Identity, password string) ([]byte, error) {
	switch {
	case password == "":
		return nil, ErrPassphraseNeeded
	case id.Certificate == nil:
		return nil, ErrNoCertificate
	case id.Key == nil:
		return nil, ErrNoKey
	case !Belongs(id.Key, id.Certificate):
		return nil, ErrNoMatch
	}
	plain, err := alg.MarshalPrivateKey(id.Key)
	if err != nil {
		return nil, &UnsupportedError{What: "writing a private key of this kind"}
	}
	defer clear(plain)
	// What is the user's own is told from the chain by its local ID.
	sum := sha1.Sum(id.Certificate.Raw)
	certs, err := der.Marshal(func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			addCertBag(b, id.Certificate, sum[:])
			for _, c := range id.Chain {
				addCertBag(b, c, nil)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	certSafe, err := encryptedSafe(certs, []byte(password))
	if err != nil {
		return nil, err
	}
	shrouded, err := keySafe(plain, []byte(password), sum[:])
	if err != nil {
		return nil, err
	}
	safe, err := der.Marshal(func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			b.AddBytes(certSafe)
			b.AddBytes(shrouded)
		})
	})
	if err != nil {
		return nil, err
	}
	return encodePFX(safe, []byte(password))
}

func addSequence(b *cryptobyte.Builder, f func(b *cryptobyte.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }

func addExplicit(b *cryptobyte.Builder, f func(b *cryptobyte.Builder)) {
	b.AddASN1(der.Context(0, true), f)
}

// addBag appends a SafeBag (RFC 7292, Section 4.2).
func addBag(b *cryptobyte.Builder, id oid.OID, localID []byte, value func(b *cryptobyte.Builder)) {
	addSequence(b, func(b *cryptobyte.Builder) {
		der.AddOID(b, id)
		addExplicit(b, value)
		if localID == nil {
			return
		}
		b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
			addSequence(b, func(b *cryptobyte.Builder) {
				der.AddOID(b, oid.AttrLocalKeyID)
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddASN1OctetString(localID) })
			})
		})
	})
}

// addCertBag appends a CertBag (RFC 7292, Section 4.2.3).
func addCertBag(b *cryptobyte.Builder, c *pki.Certificate, localID []byte) {
	addBag(b, oid.BagCert, localID, func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			der.AddOID(b, oid.CertTypeX509)
			addExplicit(b, func(b *cryptobyte.Builder) { b.AddASN1OctetString(c.Raw) })
		})
	})
}

// encryptedSafe returns a ContentInfo with an EncryptedData (RFC 5652, Section 8).
func encryptedSafe(plain, password []byte) ([]byte, error) {
	a, data, err := alg.EncryptPBES2(plain, password, p12Iterations)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			der.AddOID(b, oid.EncryptedData)
			addExplicit(b, func(b *cryptobyte.Builder) {
				addSequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(0)
					addSequence(b, func(b *cryptobyte.Builder) {
						der.AddOID(b, oid.Data)
						der.AddAlgorithm(b, a)
						b.AddASN1(der.Context(0, false), func(b *cryptobyte.Builder) { b.AddBytes(data) })
					})
				})
			})
		})
	})
}

// keySafe returns a ContentInfo with a PKCS8ShroudedKeyBag (RFC 7292, Section
// 4.2.2).
func keySafe(plain, password, localID []byte) ([]byte, error) {
	a, data, err := alg.EncryptPBES2(plain, password, p12Iterations)
	if err != nil {
		return nil, err
	}
	safe, err := der.Marshal(func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			addBag(b, oid.BagShroudedKey, localID, func(b *cryptobyte.Builder) {
				addSequence(b, func(b *cryptobyte.Builder) {
					der.AddAlgorithm(b, a)
					b.AddASN1OctetString(data)
				})
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *cryptobyte.Builder) { addData(b, safe) })
}

// addData appends a ContentInfo with octets.
func addData(b *cryptobyte.Builder, content []byte) {
	addSequence(b, func(b *cryptobyte.Builder) {
		der.AddOID(b, oid.Data)
		addExplicit(b, func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
	})
}

// encodePFX returns a PFX with a MacData (RFC 7292, Section 4). The MAC takes as
// long to try a password on as the rest does.
func encodePFX(safe, password []byte) ([]byte, error) {
	salt := make([]byte, macSalt)
	_, _ = rand.Read(salt) // never returns an error
	key := pkcs12Key(sha256.New, forMAC, bmpForms(password)[0], salt, p12Iterations, sha256.Size)
	defer clear(key)
	mac := hmacSum(sha256.New, key, safe)
	return der.Marshal(func(b *cryptobyte.Builder) {
		addSequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(3)
			addData(b, safe)
			addSequence(b, func(b *cryptobyte.Builder) {
				addSequence(b, func(b *cryptobyte.Builder) {
					der.AddAlgorithm(b, der.WithNull(oid.SHA256))
					b.AddASN1OctetString(mac)
				})
				b.AddASN1OctetString(salt)
				b.AddASN1Int64(p12Iterations)
			})
		})
	})
}
