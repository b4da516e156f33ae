package pkcs11

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/keystore"
)

// An RSAKey is an RSA key on a token. It implements [crypto.Signer] and
// [crypto.Decrypter].
type RSAKey struct {
	*key
	public *rsa.PublicKey
}

// errSignature says that what the token returned is not a signature.
var errSignature = errors.New("the token made a signature that is not valid")

// errDigest says that a caller gave a digest of another length than the hash.
var errDigest = errors.New("pkcs11: the digest has not the length of the hash")

// Sign implements crypto.Signer: RSASSA-PSS with [*rsa.PSSOptions], whose salt
// lengths mean what they mean in crypto/rsa, and else RSASSA-PKCS1-v1_5, with
// the DigestInfo of opts.HashFunc() or, for 0, without one (RFC 8017, Section
// 8). The random numbers are those of the token; rand is used for the salt
// where the token does no PSS itself. The error is a [*KeyError] if the key
// could not be used.
func (k *RSAKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		return nil, errDigest
	}
	hash := opts.HashFunc()
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		return k.signPSS(rand, digest, hash, pss)
	}
	prefix, ok := digestInfos[hash]
	if !ok {
		return nil, &keystore.UnsupportedError{What: fmt.Sprintf("RSASSA-PKCS1-v1_5 with %v", hash)}
	}
	if hash != 0 && len(digest) != hash.Size() {
		return nil, errDigest
	}
	data := append([]byte(prefix), digest...)
	signature, err := k.sign([]mechanism{{id: ckmRSAPKCS}}, func(int) ([]byte, error) { return data, nil })
	if err != nil {
		return nil, err
	}
	signature = leftPad(signature, k.public.Size())
	if rsa.VerifyPKCS1v15(k.public, hash, digest, signature) != nil {
		return nil, k.t.keyError(errSignature)
	}
	return signature, nil
}

// digestInfos are the DER heads of DigestInfo (RFC 8017, Section 9.2).
var digestInfos = map[crypto.Hash]string{
	0:               "",
	crypto.MD5:      "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.SHA1:     "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA224:   "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
	crypto.SHA256:   "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA384:   "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
	crypto.SHA512:   "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
	crypto.SHA3_256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x08\x05\x00\x04\x20",
	crypto.SHA3_384: "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x09\x05\x00\x04\x30",
	crypto.SHA3_512: "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x0a\x05\x00\x04\x40",
}

func (k *RSAKey) signPSS(rand io.Reader, digest []byte, hash crypto.Hash, opts *rsa.PSSOptions) ([]byte, error) {
	if hash == 0 || !hash.Available() {
		return nil, &keystore.UnsupportedError{What: fmt.Sprintf("RSASSA-PSS with %v", hash)}
	}
	if len(digest) != hash.Size() {
		return nil, errDigest
	}
	bits := k.public.N.BitLen() - 1
	most := (bits+7)/8 - hash.Size() - 2
	salt := opts.SaltLength
	switch {
	case salt == rsa.PSSSaltLengthEqualsHash:
		salt = hash.Size()
	case salt == rsa.PSSSaltLengthAuto:
		salt = most
	}
	if salt < 0 || salt > most {
		return nil, errors.New("pkcs11: the salt of RSASSA-PSS is too long, or negative")
	}
	mechanisms := []mechanism{{id: ckmRSAPKCSPSS, hash: hash, mgf: hash, salt: salt}, {id: ckmRSAX509}}
	if _, ok := hashMechanisms[hash]; !ok {
		mechanisms = mechanisms[1:]
	}
	signature, err := k.sign(mechanisms, func(chosen int) ([]byte, error) {
		if mechanisms[chosen].id == ckmRSAPKCSPSS {
			return digest, nil
		}
		encoded, err := encodePSS(rand, hash, digest, salt, bits)
		return leftPad(encoded, k.public.Size()), err
	})
	if err != nil {
		return nil, err
	}
	signature = leftPad(signature, k.public.Size())
	if rsa.VerifyPSS(k.public, hash, digest, signature, &rsa.PSSOptions{SaltLength: salt}) != nil {
		return nil, k.t.keyError(errSignature)
	}
	return signature, nil
}

// sign signs what data returns for the mechanism that was chosen.
func (k *key) sign(mechanisms []mechanism, data func(chosen int) ([]byte, error)) ([]byte, error) {
	var signature []byte
	err := k.run(func(s *session, o object) error {
		chosen, err := k.begin(s, o, "C_SignInit", k.t.mod.api.SignInit, mechanisms)
		if err != nil {
			return err
		}
		input, err := data(chosen)
		if err != nil {
			return err
		}
		signature, err = k.t.mod.api.Sign(s.h, input)
		return called("C_Sign", err)
	})
	return signature, err
}

// leftPad brings the leading zeros of a number back, which some tokens leave
// out.
func leftPad(b []byte, size int) []byte {
	if len(b) >= size {
		return b
	}
	out := make([]byte, size)
	copy(out[size-len(b):], b)
	return out
}

// An ECKey is a key for P-256, P-384 or P-521 on a token. It implements [crypto.Signer]
// and [ecdh.KeyExchanger].
type ECKey struct {
	*key
	public *ecdsa.PublicKey
	point  *ecdh.PublicKey // the same
}

// Sign implements crypto.Signer: ECDSA, with the signature in DER as
// Ecdsa-Sig-Value. A digest that is longer than the order of the curve is cut.
// The random numbers are those of the token. The error is a [*KeyError] if the
// key could not be used.
func (k *ECKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signECDSA(k.public, digest, opts)
}

func (k *key) signECDSA(public *ecdsa.PublicKey, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != 0 && opts.HashFunc().Size() != len(digest) || len(digest) == 0 {
		return nil, errDigest
	}
	bits := public.Params().N.BitLen()
	input := digest
	// The curves whose order is not of whole octets have longer ones than any hash.
	if bits%8 == 0 && len(input) > bits/8 {
		input = input[:bits/8]
	}
	raw, err := k.sign([]mechanism{{id: ckmECDSA}}, func(int) ([]byte, error) { return input, nil })
	if err != nil {
		return nil, err
	}
	signature, ok := encodeECDSA(raw)
	if !ok || !ecdsa.VerifyASN1(public, digest, signature) {
		return nil, k.t.keyError(errSignature)
	}
	return signature, nil
}

// encodeECDSA makes an Ecdsa-Sig-Value of two numbers of the same length.
func encodeECDSA(raw []byte) ([]byte, bool) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, false
	}
	out, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
			b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
		})
	})
	return out, err == nil
}

// An Ed25519Key is an Ed25519 key on a token. It implements [crypto.Signer].
type Ed25519Key struct {
	*key
	public ed25519.PublicKey
}

// Sign implements crypto.Signer: pure Ed25519 over a message that was not
// hashed (RFC 8032, Section 5.1). Other forms are a
// [*keystore.UnsupportedError]. The error is a [*KeyError] if the key could not
// be used.
func (k *Ed25519Key) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != 0 {
		return nil, &keystore.UnsupportedError{What: "Ed25519 with a hash"}
	}
	if o, ok := opts.(*ed25519.Options); ok && o.Context != "" {
		return nil, &keystore.UnsupportedError{What: "Ed25519 with a context"}
	}
	signature, err := k.sign([]mechanism{{id: ckmEDDSA}}, func(int) ([]byte, error) { return message, nil })
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(k.public, message, signature) {
		return nil, k.t.keyError(errSignature)
	}
	return signature, nil
}
