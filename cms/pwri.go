package cms

import (
	"crypto"
	"crypto/pbkdf2"
	"crypto/rand"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/keywrap"
	"github.com/postseal/postseal/internal/oid"
)

// A PasswordRecipientInfo is a key wrapped under a password (RFC 5652, Section
// 6.2.4; RFC 3211).
//
//	PasswordRecipientInfo ::= SEQUENCE {
//	  version CMSVersion,   -- Always set to 0
//	  keyDerivationAlgorithm [0] KeyDerivationAlgorithmIdentifier OPTIONAL,
//	  keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
//	  encryptedKey EncryptedKey }
type PasswordRecipientInfo struct {
	Derivation   AlgorithmIdentifier // OID is "" when absent
	Algorithm    AlgorithmIdentifier
	EncryptedKey []byte
}

// String implements RecipientInfo.
func (p *PasswordRecipientInfo) String() string {
	return "password with " + alg.Name(p.Algorithm.OID)
}

func (p *PasswordRecipientInfo) minVersion() int { return 3 }

func (p *PasswordRecipientInfo) add(b *der.Builder) {
	b.AddASN1(der.Context(3, true), func(b *der.Builder) {
		b.AddASN1Int64(0)
		der.AddAlgorithmTagged(b, p.Derivation, der.Context(0, true))
		der.AddAlgorithm(b, p.Algorithm)
		b.AddASN1OctetString(p.EncryptedKey)
	})
}

func readPassword(s cryptobyte.String) (RecipientInfo, error) {
	p := &PasswordRecipientInfo{}
	if !s.SkipASN1(asn1.INTEGER) ||
		(s.PeekASN1Tag(der.Context(0, true)) && !der.ReadAlgorithmTagged(&s, &p.Derivation, der.Context(0, true))) ||
		!der.ReadAlgorithm(&s, &p.Algorithm) || !der.ReadOctets(&s, &p.EncryptedKey, -1) || !s.Empty() {
		return nil, malformed("PasswordRecipientInfo")
	}
	return p, nil
}

// MaxIterations bounds the work that one message can ask of a [Password], in
// iterations of PBKDF2.
const MaxIterations = 10_000_000

// defaultIterations is for HMAC-SHA-256.
const defaultIterations = 600_000

// A Password is a password that sender and recipient share. It implements
// [Recipient] and [Identity].
type Password struct {
	Password   []byte
	Iterations int // for Wrap; 0: 600,000
}

// Wrap implements Recipient, with PBKDF2 over HMAC-SHA-256 and AES-256.
func (p *Password) Wrap(cek []byte) ([]RecipientInfo, error) {
	iterations := p.Iterations
	if iterations == 0 {
		iterations = defaultIterations
	}
	if iterations < 1000 || iterations > MaxIterations {
		return nil, usage("%d iterations; from 1,000 to %d are possible", iterations, MaxIterations)
	}
	if len(p.Password) == 0 {
		return nil, usage("the password is empty")
	}
	salt, iv := make([]byte, 16), make([]byte, 16)
	_, _ = rand.Read(salt) // never returns an error
	_, _ = rand.Read(iv)
	c, _ := alg.CipherByOID(oid.AES256CBC)
	kek, err := pbkdf2.Key(crypto.SHA256.New, string(p.Password), salt, iterations, c.KeySize)
	if err != nil {
		return nil, err
	}
	block, err := c.Block(kek, alg.CipherParams{})
	if err != nil {
		return nil, err
	}
	info := &PasswordRecipientInfo{Derivation: AlgorithmIdentifier{OID: oid.PBKDF2}, Algorithm: AlgorithmIdentifier{OID: oid.PWRIKEK}}
	if info.EncryptedKey, err = keywrap.WrapPWRI(block, iv, cek); err != nil {
		return nil, err
	}
	info.Derivation.Parameters, err = der.Marshal(func(b *der.Builder) { // PBKDF2-params, RFC 8018
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			b.AddASN1OctetString(salt)
			b.AddASN1Int64(int64(iterations))
			der.AddAlgorithm(b, der.WithNull(oid.HMACSHA256))
		})
	})
	if err != nil {
		return nil, err
	}
	info.Algorithm.Parameters, err = der.Marshal(func(b *der.Builder) {
		inner, aerr := c.Algorithm(iv)
		if aerr != nil {
			b.SetError(aerr)
			return
		}
		der.AddAlgorithm(b, inner)
	})
	return []RecipientInfo{info}, err
}

// Unwrap implements Identity. It tries the RecipientInfos for passwords, which
// bear no name, until the iterations they ask for add up to MaxIterations.
func (p *Password) Unwrap(infos []RecipientInfo, _ int) ([]byte, error) {
	found := error(ErrNoMatch)
	left := MaxIterations
	for _, info := range infos {
		pwri, ok := info.(*PasswordRecipientInfo)
		if !ok {
			continue
		}
		cek, err := pwri.open(p.Password, &left)
		if err == nil {
			return cek, nil
		}
		if found == ErrNoMatch || err == ErrDecrypt {
			found = err
		}
	}
	return nil, found
}

func (p *PasswordRecipientInfo) open(password []byte, left *int) ([]byte, error) {
	if p.Algorithm.OID != oid.PWRIKEK {
		return nil, &UnsupportedError{What: "key wrap under a password", OID: p.Algorithm.OID}
	}
	if p.Derivation.OID != oid.PBKDF2 {
		return nil, &UnsupportedError{What: "key derivation from a password", OID: p.Derivation.OID}
	}
	var inner AlgorithmIdentifier
	s := cryptobyte.String(p.Algorithm.Parameters)
	if !der.ReadAlgorithm(&s, &inner) || !s.Empty() {
		return nil, malformed("PWRI-KEK parameters")
	}
	c, ok := alg.CipherByOID(inner.OID)
	if !ok || c.Mode != alg.CBC || c.KeySize == 0 {
		return nil, &UnsupportedError{What: "cipher of a key wrap under a password", OID: inner.OID}
	}
	params, err := c.ParseParams(inner.Parameters)
	if err != nil {
		return nil, malformed("PWRI-KEK parameters")
	}
	kek, err := derivePBKDF2(p.Derivation.Parameters, password, c.KeySize, left)
	if err != nil {
		return nil, err
	}
	block, err := c.Block(kek, params)
	if err != nil {
		return nil, ErrDecrypt
	}
	cek, err := keywrap.UnwrapPWRI(block, params.IV, p.EncryptedKey)
	if err != nil {
		return nil, ErrDecrypt
	}
	return cek, nil
}

// derivePBKDF2 reads PBKDF2-params (RFC 8018, Appendix A.2) and derives a key.
func derivePBKDF2(params, password []byte, size int, left *int) ([]byte, error) {
	s := cryptobyte.String(params)
	var seq cryptobyte.String
	var salt []byte
	var iterations, keyLength int
	prf := AlgorithmIdentifier{OID: oid.HMACSHA1R}
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !der.ReadOctets(&seq, &salt, -1) || !seq.ReadASN1Integer(&iterations) ||
		(seq.PeekASN1Tag(asn1.INTEGER) && !seq.ReadASN1Integer(&keyLength)) ||
		(seq.PeekASN1Tag(asn1.SEQUENCE) && !der.ReadAlgorithm(&seq, &prf)) || !seq.Empty() || iterations < 1 ||
		(keyLength != 0 && keyLength != size) {
		return nil, malformed("PBKDF2-params")
	}
	if iterations > *left {
		return nil, &LimitError{Limit: "iterations of PBKDF2", Max: MaxIterations}
	}
	*left -= iterations
	mac, ok := alg.MACByOID(prf.OID)
	if !ok {
		return nil, &UnsupportedError{What: "PBKDF2 with", OID: prf.OID}
	}
	return pbkdf2.Key(mac.Digest.New, string(password), salt, iterations, size)
}
