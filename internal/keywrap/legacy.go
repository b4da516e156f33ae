package keywrap

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"crypto/subtle"
	"slices"

	"github.com/postseal/postseal/internal/rc2"
)

// outerIV is the initialization vector of the second encryption, RFC 3217,
// Sections 3.1 and 4.1.
var outerIV = [8]byte{0x4a, 0xdd, 0xa2, 0x2c, 0x79, 0xe8, 0x21, 0x05}

const (
	legacyBlock    = 8 // octets, of both Triple-DES and RC2
	legacyIV       = legacyBlock
	legacyChecksum = 8 // octets of SHA-1, RFC 3217, Section 2

	tripleDESKey     = 24 // octets
	tripleDESWrapped = legacyIV + tripleDESKey + legacyChecksum

	// An RC2 key is wrapped with its length in one octet before it.
	rc2MinWrapped = legacyIV + legacyBlock + legacyChecksum
	rc2MaxWrapped = legacyIV + 256 + legacyChecksum
)

// Unwrap3DES opens a Triple-DES key that was wrapped under another, RFC 3217,
// Section 3.2 (RFC 3370, Section 4.3.1). kek is 24 octets, wrapped 40, and the key
// 24. The error is ErrIntegrity. Wrapping in this way is not offered.
func Unwrap3DES(kek, wrapped []byte) ([]byte, error) {
	// RFC 3217, Section 3.2: a wrapped key that is not 40 octets long is an error.
	if len(wrapped) != tripleDESWrapped {
		return nil, ErrIntegrity
	}
	block, err := des.NewTripleDESCipher(kek)
	if err != nil {
		return nil, ErrIntegrity
	}
	// QUIRK(various): RFC 3217, Section 3.2, also refuses a key without odd
	// parity, but not every sender sets the parity, which Triple-DES ignores and
	// the checksum covers.
	return openLegacy(block, wrapped)
}

// UnwrapRC2 opens an RC2 key that was wrapped under another, RFC 3217, Section
// 4.2. The key-encryption key has the given effective bits; the size of the result,
// 1 to 255 octets, is the size that was wrapped. The error is ErrIntegrity.
// Wrapping in this way is not offered.
func UnwrapRC2(kek, wrapped []byte, effectiveBits int) ([]byte, error) {
	// RFC 3217, Section 4.2: a size that is not a multiple of 8 is an error.
	if len(wrapped)%legacyBlock != 0 || len(wrapped) < rc2MinWrapped || len(wrapped) > rc2MaxWrapped {
		return nil, ErrIntegrity
	}
	block, err := rc2.New(kek, effectiveBits)
	if err != nil {
		return nil, ErrIntegrity
	}
	padded, err := openLegacy(block, wrapped)
	if err != nil {
		return nil, err
	}
	// RFC 3217, Section 4.2: the length is to leave less than a block of padding.
	n := int(padded[0])
	pad := len(padded) - 1 - n
	if n == 0 || pad < 0 || pad >= legacyBlock {
		clear(padded)
		return nil, ErrIntegrity
	}
	key := slices.Clone(padded[1 : 1+n])
	clear(padded)
	return key, nil
}

// openLegacy undoes the two encryptions that RFC 3217 has in common for both
// ciphers, checks the checksum and returns what it covers. The size of wrapped is
// a multiple of the block size and at least three blocks.
func openLegacy(block cipher.Block, wrapped []byte) ([]byte, error) {
	buf := make([]byte, len(wrapped))
	cipher.NewCBCDecrypter(block, outerIV[:]).CryptBlocks(buf, wrapped)
	slices.Reverse(buf)
	inner := buf[legacyIV:]
	cipher.NewCBCDecrypter(block, buf[:legacyIV]).CryptBlocks(inner, inner)
	end := len(inner) - legacyChecksum
	sum := sha1.Sum(inner[:end])
	if subtle.ConstantTimeCompare(sum[:legacyChecksum], inner[end:]) != 1 {
		clear(buf)
		return nil, ErrIntegrity
	}
	return inner[:end:end], nil
}
