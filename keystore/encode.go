package keystore

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A PKCS12Form says how a PKCS#12 file is protected, and so who can read it.
type PKCS12Form int

// The forms of PKCS#12 files.
const (
	// PKCS12AES has AES-256-CBC, PBKDF2 with HMAC-SHA-256 and a MAC with SHA-256
	// by PKCS#12's own key derivation: what current software reads.
	PKCS12AES PKCS12Form = iota

	// PKCS12PBMAC1 has the MAC of RFC 9579 instead, which is to be read by
	// OpenSSL from 3.4 on and Java from 26 on, and not by older software.
	PKCS12PBMAC1

	// PKCS12Weak3DES has triple DES and SHA-1, and guesses at the password cost
	// little: for gpgsm before 2.4 and Windows before 2019, which read nothing
	// better. The file has to be protected by other means.
	PKCS12Weak3DES
)

// String returns the name of the form, such as "AES-256".
func (f PKCS12Form) String() string {
	switch f {
	case PKCS12AES:
		return "AES-256"
	case PKCS12PBMAC1:
		return "AES-256 with PBMAC1"
	case PKCS12Weak3DES:
		return "triple DES (weak)"
	}
	return fmt.Sprintf("PKCS12Form(%d)", int(f))
}

// The cost of trying a password. Readers pay it three times, and some are twenty
// times as slow as we are; what reads triple DES alone is older still.
const (
	p12Iterations     = 100_000
	p12WeakIterations = 10_000
)

const weakKeySize = 24 // octets of a triple DES key

// EncodePKCS12 returns id, with its Chain, as a PKCS#12 file (RFC 7292) with
// AES-256-CBC, PBKDF2 with HMAC-SHA-256 and a MAC with SHA-256, which current
// software reads; each of them asks for 100,000 iterations. Keys of all kinds
// that are read are written, those of ML-DSA and ML-KEM as their seed, but for
// DSA keys and those on tokens, which are an [*UnsupportedError]. The password is
// UTF-8; it may not be empty. A key that is not that of the certificate is
// [ErrNoMatch].
func EncodePKCS12(id Identity, password string) ([]byte, error) {
	return EncodePKCS12As(id, password, PKCS12AES)
}

// EncodePKCS12As is EncodePKCS12 for a form that the reader needs.
func EncodePKCS12As(id Identity, password string, form PKCS12Form) ([]byte, error) {
	iterations := p12Iterations
	if form == PKCS12Weak3DES {
		iterations = p12WeakIterations
	}
	return encodePKCS12(id, password, form, iterations)
}

func encodePKCS12(id Identity, password string, form PKCS12Form, iterations int) ([]byte, error) {
	switch {
	case password == "":
		return nil, ErrPassphraseNeeded
	case !utf8.ValidString(password):
		return nil, errors.New("keystore: the password is not UTF-8")
	case id.Certificate == nil:
		return nil, ErrNoCertificate
	case id.Key == nil:
		return nil, ErrNoKey
	case !Belongs(id.Key, id.Certificate):
		return nil, ErrNoMatch
	case form < PKCS12AES || form > PKCS12Weak3DES:
		return nil, fmt.Errorf("keystore: %v is no form of PKCS#12", form)
	}
	plain, err := alg.MarshalPrivateKey(id.Key)
	if err != nil {
		return nil, &UnsupportedError{What: fmt.Sprintf("writing a key of type %T", id.Key)}
	}
	defer clear(plain)
	w := p12Writer{password: []byte(password), form: form, iterations: iterations, weakKey: commonKey}
	return w.pfx(plain, id)
}

// A p12Writer writes one PKCS#12 file.
type p12Writer struct {
	password   []byte
	form       PKCS12Form
	iterations int
	weakKey    func(passphrase []byte, iterations int) (salt, key []byte) // commonKey, but for tests
}

func sequence(b *der.Builder, f func(b *der.Builder)) { b.AddASN1(asn1.SEQUENCE, f) }

func explicit(b *der.Builder, f func(b *der.Builder)) {
	b.AddASN1(der.Context(0, true), f)
}

// pfx writes a PFX (RFC 7292, Section 4): a safe with certificates, which is
// encrypted, and one with the key, which is encrypted in its bag.
func (w *p12Writer) pfx(key []byte, id Identity) ([]byte, error) {
	certs, err := w.certSafe(id)
	if err != nil {
		return nil, err
	}
	keys, err := w.keySafe(key, id)
	if err != nil {
		return nil, err
	}
	safe, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddBytes(certs)
			b.AddBytes(keys)
		})
	})
	if err != nil {
		return nil, err
	}
	mac, err := w.mac(safe)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1Int64(3)
			sequence(b, func(b *der.Builder) {
				der.AddOID(b, oid.Data)
				explicit(b, func(b *der.Builder) { b.AddASN1OctetString(safe) })
			})
			b.AddBytes(mac)
		})
	})
}

// certSafe writes the certificates as a ContentInfo of EncryptedData (RFC 5652,
// Section 8).
func (w *p12Writer) certSafe(id Identity) ([]byte, error) {
	plain, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			addCertBag(b, id.Certificate, id.Certificate)
			for _, c := range id.Chain {
				addCertBag(b, c, id.Certificate)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	algorithm, encrypted, err := w.encrypt(plain)
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, oid.EncryptedData)
			explicit(b, func(b *der.Builder) {
				sequence(b, func(b *der.Builder) {
					b.AddASN1Int64(0)
					sequence(b, func(b *der.Builder) {
						der.AddOID(b, oid.Data)
						der.AddAlgorithm(b, algorithm)
						b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddBytes(encrypted) })
					})
				})
			})
		})
	})
}

// addCertBag writes a CertBag (RFC 7292, Section 4.2.3). The certificate of the
// key is marked as that.
func addCertBag(b *der.Builder, c, own *pki.Certificate) {
	sequence(b, func(b *der.Builder) {
		der.AddOID(b, oid.BagCert)
		explicit(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				der.AddOID(b, oid.CertTypeX509)
				explicit(b, func(b *der.Builder) { b.AddASN1OctetString(c.Raw) })
			})
		})
		if c == own {
			addLocalKeyID(b, own)
		}
	})
}

// addLocalKeyID writes the attribute that holds key and certificate together
// (RFC 2985, Section 5.5.2).
func addLocalKeyID(b *der.Builder, cert *pki.Certificate) {
	sum := sha1.Sum(cert.Raw) // what others take; it is a name and no more
	b.AddASN1(asn1.SET, func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, oid.AttrLocalKeyID)
			b.AddASN1(asn1.SET, func(b *der.Builder) { b.AddASN1OctetString(sum[:]) })
		})
	})
}

// keySafe writes the key as a ContentInfo with a PKCS8ShroudedKeyBag (RFC 7292,
// Section 4.2.2).
func (w *p12Writer) keySafe(key []byte, id Identity) ([]byte, error) {
	algorithm, encrypted, err := w.encrypt(key)
	if err != nil {
		return nil, err
	}
	safe, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				der.AddOID(b, oid.BagShroudedKey)
				explicit(b, func(b *der.Builder) {
					sequence(b, func(b *der.Builder) {
						der.AddAlgorithm(b, algorithm)
						b.AddASN1OctetString(encrypted)
					})
				})
				addLocalKeyID(b, id.Certificate)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			der.AddOID(b, oid.Data)
			explicit(b, func(b *der.Builder) { b.AddASN1OctetString(safe) })
		})
	})
}

// encrypt encrypts a safe or a key.
func (w *p12Writer) encrypt(plain []byte) (der.Algorithm, []byte, error) {
	if w.form != PKCS12Weak3DES {
		// RFC 9579, Section 5: the password in PBKDF2 is UTF-8.
		return alg.EncryptPBES2(plain, w.password, w.iterations)
	}
	form := bmpForms(w.password)[0]
	salt, key := w.weakKey(form, w.iterations)
	block, err := des.NewTripleDESCipher(key)
	if err != nil {
		return der.Algorithm{}, nil, err
	}
	iv := pkcs12Key(sha1.New, forIV, form, salt, w.iterations, des.BlockSize)
	out := alg.PadBlocks(plain, des.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, out)
	params, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			b.AddASN1OctetString(salt)
			b.AddASN1Int64(int64(w.iterations))
		})
	})
	return der.Algorithm{OID: oid.P123DES3, Parameters: params}, out, err
}

// commonKey draws a salt, and derives a triple DES key that GnuPG 2.2 derives
// from it too: PKCS12Weak3DES is there for that above all.
func commonKey(passphrase []byte, iterations int) (salt, key []byte) {
	for {
		salt = randomOctets(8)
		key = pkcs12Key(sha1.New, forKey, passphrase, salt, iterations, weakKeySize)
		if bytes.Equal(key, gnupgKey(sha1.New, forKey, passphrase, salt, iterations, weakKeySize)) {
			return salt, key
		}
	}
}

// mac writes a MacData (RFC 7292, Section 4) of what was written.
func (w *p12Writer) mac(safe []byte) ([]byte, error) {
	if w.form == PKCS12PBMAC1 {
		return w.pbmac1(safe)
	}
	newHash, digest, salt := sha256.New, oid.SHA256, randomOctets(16)
	if w.form == PKCS12Weak3DES {
		newHash, digest, salt = sha1.New, oid.SHA1, randomOctets(8)
	}
	key := pkcs12Key(newHash, forMAC, bmpForms(w.password)[0], salt, w.iterations, newHash().Size())
	return macData(der.WithNull(digest), hmacSum(newHash, key, safe), salt, w.iterations)
}

// pbmac1 writes a MacData by RFC 9579.
func (w *p12Writer) pbmac1(safe []byte) ([]byte, error) {
	const size = sha256.Size
	salt := randomOctets(16)
	key, err := pbkdf2.Key(sha256.New, string(w.password), salt, w.iterations, size)
	if err != nil {
		return nil, err
	}
	params, err := der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				der.AddOID(b, oid.PBKDF2)
				sequence(b, func(b *der.Builder) {
					b.AddASN1OctetString(salt)
					b.AddASN1Int64(int64(w.iterations))
					// RFC 9579, Section 4: the length MUST be there.
					b.AddASN1Int64(size)
					der.AddAlgorithm(b, der.WithNull(oid.HMACSHA256))
				})
			})
			der.AddAlgorithm(b, der.WithNull(oid.HMACSHA256))
		})
	})
	if err != nil {
		return nil, err
	}
	// RFC 9579, Section 4: the salt and iterations of MacData are not used; they
	// have to be something.
	return macData(der.Algorithm{OID: oid.PBMAC1, Parameters: params}, hmacSum(sha256.New, key, safe), []byte("NOT USED"), 1)
}

func macData(algorithm der.Algorithm, sum, salt []byte, iterations int) ([]byte, error) {
	return der.Marshal(func(b *der.Builder) {
		sequence(b, func(b *der.Builder) {
			sequence(b, func(b *der.Builder) {
				der.AddAlgorithm(b, algorithm)
				b.AddASN1OctetString(sum)
			})
			b.AddASN1OctetString(salt)
			// X.690, Section 11.5: the default is left out.
			if iterations != 1 {
				b.AddASN1Int64(int64(iterations))
			}
		})
	})
}

func randomOctets(size int) []byte {
	out := make([]byte, size)
	_, _ = rand.Read(out) // never returns an error
	return out
}
