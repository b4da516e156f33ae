package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"encoding/binary"
	"io"
)

// hashMechanisms are the hashes that PKCS #11 has names for, in the parameters
// of mechanisms: CK_MECHANISM_TYPE and CK_RSA_PKCS_MGF_TYPE.
var hashMechanisms = map[crypto.Hash]struct{ hash, mgf uint }{
	crypto.SHA1: {0x220, 1}, crypto.SHA224: {0x255, 5}, crypto.SHA256: {0x250, 2}, crypto.SHA384: {0x260, 3}, crypto.SHA512: {0x270, 4},
}

// mgf1 adds MGF1 of the seed to out, by exclusive or (RFC 8017, Appendix B.2.1).
func mgf1(out []byte, hash crypto.Hash, seed []byte) {
	h := hash.New()
	var counter [4]byte
	for i := uint32(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		h.Reset()
		h.Write(seed)
		h.Write(counter[:])
		n := subtle.XORBytes(out, out, h.Sum(nil))
		out = out[n:]
	}
}

// encodePSS is EMSA-PSS-ENCODE (RFC 8017, Section 9.1.1), for a digest and an
// encoded message of a number of bits, which is enough.
func encodePSS(rand io.Reader, hash crypto.Hash, digest []byte, saltLen, bits int) ([]byte, error) {
	salt := make([]byte, saltLen)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	h.Write(salt)
	sum := h.Sum(nil)

	em := make([]byte, (bits+7)/8)
	db := em[:len(em)-len(sum)-1]
	db[len(db)-saltLen-1] = 1
	copy(db[len(db)-saltLen:], salt)
	mgf1(db, hash, sum)
	db[0] &= 0xff >> (8*len(em) - bits)
	copy(em[len(db):], sum)
	em[len(em)-1] = 0xbc
	return em, nil
}

// openSessionKey copies a message of just the length of key from an encoded
// message of PKCS #1 v1.5 into key (RFC 8017, Section 7.2.2), if it is well
// formed, and else leaves key as it is. The time it takes does not depend on
// the contents. em is as long as the modulus, and has room for the key.
func openSessionKey(em, key []byte) {
	padding := em[2 : len(em)-len(key)-1]
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeByteEq(em[1], 2)
	for _, c := range padding {
		good &= 1 - subtle.ConstantTimeByteEq(c, 0)
	}
	good &= subtle.ConstantTimeByteEq(em[len(em)-len(key)-1], 0)
	subtle.ConstantTimeCopy(good, key, em[len(em)-len(key):])
}

// openV15 returns the message in an encoded message of PKCS #1 v1.5, of whatever
// length. It tells whether the padding was good, which is dangerous by nature.
func openV15(em []byte) ([]byte, bool) {
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeByteEq(em[1], 2)
	looking, index := 1, 0
	for i := 2; i < len(em); i++ {
		zero := subtle.ConstantTimeByteEq(em[i], 0)
		index = subtle.ConstantTimeSelect(looking&zero, i, index)
		looking = subtle.ConstantTimeSelect(zero, 0, looking)
	}
	// RFC 8017, Section 7.2.2: at least eight octets of padding.
	good &= (1 - looking) & subtle.ConstantTimeLessOrEq(2+8, index)
	if good != 1 {
		return nil, false
	}
	return bytes.Clone(em[index+1:]), true
}

// openOAEP is EME-OAEP decoding (RFC 8017, Section 7.1.2, step 3), in a time
// that does not depend on the contents but for the length of the message. It
// destroys em, which is as long as the modulus and at least 2 hashes and 2
// octets long.
func openOAEP(em []byte, hash, mgf crypto.Hash, label []byte) ([]byte, bool) {
	h := hash.New()
	h.Write(label)
	want := h.Sum(nil)
	seed, db := em[1:1+len(want)], em[1+len(want):]
	mgf1(seed, mgf, db)
	mgf1(db, mgf, seed)
	// RFC 8017, Section 7.1.2: which of the checks failed must not be told.
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeCompare(db[:len(want)], want)
	rest := db[len(want):]
	looking, index, invalid := 1, 0, 0
	for i, c := range rest {
		zero, one := subtle.ConstantTimeByteEq(c, 0), subtle.ConstantTimeByteEq(c, 1)
		index = subtle.ConstantTimeSelect(looking&one, i, index)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		invalid = subtle.ConstantTimeSelect(looking&(1-zero), 1, invalid)
	}
	if good&(1-looking)&(1-invalid) != 1 {
		return nil, false
	}
	return bytes.Clone(rest[index+1:]), true
}
