package keystore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"errors"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/rc2"
)

// decryptObject decrypts what holds one element, and returns it with definite
// lengths. Whatever does not turn out to be a SEQUENCE was decrypted with a
// wrong passphrase.
func decryptObject(a der.Algorithm, data, passphrase []byte, inPKCS12 bool, w *work) ([]byte, error) {
	ways, isBMP, err := scheme(a)
	if err != nil {
		return nil, err
	}
	forms := rawForms(passphrase, inPKCS12)
	if isBMP {
		forms = bmpForms(passphrase)
	}
	var object []byte
	for _, decrypt := range ways {
		object, err = tryForms(forms, func(form []byte) ([]byte, error) {
			plain, failed := decrypt(data, form, w)
			if failed != nil {
				return nil, failed
			}
			normal, failed := ber.Normalize(plain, maxDepth)
			if failed != nil || len(normal) == 0 || normal[0] != byte(asn1.SEQUENCE) {
				return nil, ErrPassphrase
			}
			return normal, nil
		})
		if !errors.Is(err, ErrPassphrase) {
			break
		}
	}
	return object, err
}

type decrypter func(data, passphrase []byte, w *work) ([]byte, error)

// scheme returns how to decrypt by a password-based encryption scheme, in the
// order to try, and whether that takes the passphrase as a BMPString.
func scheme(a der.Algorithm) (ways []decrypter, isBMP bool, err error) {
	if a.OID == oid.PBES2 {
		d, readErr := readPBES2(a.Parameters)
		return []decrypter{d}, false, readErr
	}
	p12, isBMP := pkcs12Schemes[a.OID]
	old, ok := pbes1Schemes[a.OID]
	if !isBMP && !ok {
		return nil, false, &UnsupportedError{"encryption scheme", a.OID}
	}
	salt, iterations, err := readPBEParams(a.Parameters)
	if !isBMP {
		return []decrypter{old.decrypter(salt, iterations)}, false, err
	}
	ways = []decrypter{p12.decrypter(pkcs12Key, salt, iterations)}
	if p12.keyLen > sha1.Size {
		ways = append(ways, p12.decrypter(gnupgKey, salt, iterations))
	}
	return ways, true, err
}

// readPBEParams reads PBEParameter (RFC 8018, Appendix A.3), which is also
// pkcs-12PbeParams (RFC 7292, Appendix C).
func readPBEParams(params cryptobyte.String) (salt []byte, iterations int64, err error) {
	var seq, octets cryptobyte.String
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&octets, asn1.OCTET_STRING) || !readInt(&seq, &iterations) {
		return nil, 0, malformed("parameters of the encryption")
	}
	return octets, iterations, nil
}

// A pkcs12Scheme is an encryption scheme of RFC 7292, Appendix C.
type pkcs12Scheme struct {
	keyLen int
	block  func(key []byte) (cipher.Block, error) // nil for RC4
}

func rc2Block(bits int) func([]byte) (cipher.Block, error) {
	return func(key []byte) (cipher.Block, error) { return rc2.New(key, bits) }
}

var pkcs12Schemes = map[oid.OID]pkcs12Scheme{
	oid.P12RC4128: {16, nil},
	oid.P12RC440:  {5, nil},
	oid.P123DES3:  {24, des.NewTripleDESCipher},
	oid.P123DES2: {16, func(key []byte) (cipher.Block, error) {
		return des.NewTripleDESCipher(append(bytes.Clone(key), key[:8]...))
	}},
	oid.P12RC2128: {16, rc2Block(128)},
	oid.P12RC240:  {5, rc2Block(40)},
}

// A derivation is pkcs12Key or gnupgKey.
type derivation func(newHash func() hash.Hash, purpose byte, passphrase, salt []byte, iterations, size int) []byte

func (s pkcs12Scheme) decrypter(derive derivation, salt []byte, iterations int64) decrypter {
	return func(data, passphrase []byte, w *work) ([]byte, error) {
		// A key of more than a digest costs all iterations again; so does the IV.
		blocks := int64((s.keyLen+sha1.Size-1)/sha1.Size + 1)
		if iterations > maxIterations {
			return nil, &LimitError{"iterations for a passphrase"}
		}
		if err := w.spend(iterations * blocks); err != nil {
			return nil, err
		}
		key := derive(sha1.New, forKey, passphrase, salt, int(iterations), s.keyLen)
		if s.block == nil {
			stream, err := rc4.NewCipher(key)
			if err != nil {
				return nil, err
			}
			out := make([]byte, len(data))
			stream.XORKeyStream(out, data)
			return out, nil
		}
		block, err := s.block(key)
		if err != nil {
			return nil, err
		}
		iv := pkcs12Key(sha1.New, forIV, passphrase, salt, int(iterations), block.BlockSize())
		return decryptCBC(block, iv, data)
	}
}

// A pbes1Scheme is an encryption scheme of RFC 8018, Appendix A.3.
type pbes1Scheme struct {
	hash  func() hash.Hash
	block func(key []byte) (cipher.Block, error)
}

var pbes1Schemes = map[oid.OID]pbes1Scheme{
	oid.PBEMD5DES:  {md5.New, des.NewCipher},
	oid.PBESHA1DES: {sha1.New, des.NewCipher},
	oid.PBEMD5RC2:  {md5.New, rc2Block(64)},
	oid.PBESHA1RC2: {sha1.New, rc2Block(64)},
}

func (s pbes1Scheme) decrypter(salt []byte, iterations int64) decrypter {
	return func(data, passphrase []byte, w *work) ([]byte, error) {
		if err := w.spend(iterations); err != nil {
			return nil, err
		}
		// RFC 8018, Section 6.1.2: the first eight octets are the key, the
		// others the IV.
		dk := pbkdf1(s.hash, passphrase, salt, iterations)
		block, err := s.block(dk[:8])
		if err != nil {
			return nil, err
		}
		return decryptCBC(block, dk[8:], data)
	}
}

// readPBES2 reads PBES2-params (RFC 8018, Appendix A.4).
func readPBES2(params cryptobyte.String) (decrypter, error) {
	var seq cryptobyte.String
	var kdfAlg, cipherAlg der.Algorithm
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &kdfAlg) || !der.ReadAlgorithm(&seq, &cipherAlg) {
		return nil, malformed("parameters of PBES2")
	}
	k, err := readKDF(kdfAlg)
	if err != nil {
		return nil, err
	}
	c, err := readCipher(cipherAlg, k.keyLen)
	if err != nil {
		return nil, err
	}
	return func(data, passphrase []byte, w *work) ([]byte, error) {
		key, err := k.key(passphrase, c.keyLen, w)
		if err != nil {
			return nil, err
		}
		block, err := c.block(key)
		if err != nil {
			return nil, err
		}
		return decryptCBC(block, c.iv, data)
	}, nil
}

// A cbcCipher is an encryption scheme of RFC 8018, Appendix B.2.
type cbcCipher struct {
	keyLen int
	block  func(key []byte) (cipher.Block, error)
	iv     []byte
}

var ciphers = map[oid.OID]cbcCipher{
	oid.AES128CBC: {16, aes.NewCipher, nil}, oid.AES192CBC: {24, aes.NewCipher, nil}, oid.AES256CBC: {32, aes.NewCipher, nil},
	oid.DESEDE3CBC: {24, des.NewTripleDESCipher, nil}, oid.DESCBC: {8, des.NewCipher, nil},
}

// readCipher reads the cipher of PBES2. keyLen is the length that the key
// derivation tells, or zero.
func readCipher(a der.Algorithm, keyLen int64) (cbcCipher, error) {
	params := cryptobyte.String(a.Parameters)
	var iv cryptobyte.String
	if a.OID == oid.RC2CBC {
		return readRC2(params, keyLen)
	}
	c, ok := ciphers[a.OID]
	if !ok {
		return c, &UnsupportedError{"cipher", a.OID}
	}
	if !params.ReadASN1(&iv, asn1.OCTET_STRING) || (keyLen != 0 && keyLen != int64(c.keyLen)) {
		return c, malformed("parameters of the cipher")
	}
	c.iv = iv
	return c, nil
}

// readRC2 reads RC2-CBC-Parameter (RFC 8018, Appendix B.2.3).
func readRC2(params cryptobyte.String, keyLen int64) (cbcCipher, error) {
	var iv cryptobyte.String
	bits := 32 // without a version
	if params.PeekASN1Tag(asn1.OCTET_STRING) {
		if !params.ReadASN1(&iv, asn1.OCTET_STRING) {
			return cbcCipher{}, malformed("parameters of RC2")
		}
	} else {
		var seq cryptobyte.String
		if !params.ReadASN1(&seq, asn1.SEQUENCE) {
			return cbcCipher{}, malformed("parameters of RC2")
		}
		if seq.PeekASN1Tag(asn1.INTEGER) {
			var version int
			ok := seq.ReadASN1Integer(&version)
			if ok {
				bits, ok = rc2.EffectiveBits(version)
			}
			if !ok {
				return cbcCipher{}, malformed("version of RC2")
			}
		}
		if !seq.ReadASN1(&iv, asn1.OCTET_STRING) {
			return cbcCipher{}, malformed("parameters of RC2")
		}
	}
	if keyLen == 0 {
		keyLen = int64(bits+7) / 8
	}
	if keyLen < 1 || keyLen > 128 {
		return cbcCipher{}, malformed("key length of RC2")
	}
	return cbcCipher{int(keyLen), rc2Block(bits), iv}, nil
}

// decryptCBC decrypts data and takes its padding off (RFC 8018, Section 6.1.1).
// The padding of a file on disk is no oracle: a wrong one says that the
// passphrase is.
func decryptCBC(block cipher.Block, iv, data []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size {
		return nil, malformed("initialisation vector")
	}
	if len(data) == 0 || len(data)%size != 0 {
		return nil, malformed("encrypted data")
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, data)
	n := int(out[len(out)-1])
	if n < 1 || n > size {
		return nil, ErrPassphrase
	}
	body := out[:len(out)-n]
	for _, c := range out[len(body):] {
		if int(c) != n {
			return nil, ErrPassphrase
		}
	}
	return body, nil
}
