package cms

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A KeyTransRecipientInfo is a key encrypted to a public key (RFC 5652, Section
// 6.2.1).
//
//	KeyTransRecipientInfo ::= SEQUENCE {
//	  version CMSVersion,  -- 0 or 2
//	  rid RecipientIdentifier,
//	  keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
//	  encryptedKey EncryptedKey }
type KeyTransRecipientInfo struct {
	ID           CertificateID
	Algorithm    AlgorithmIdentifier
	EncryptedKey []byte
}

// String implements RecipientInfo.
func (k *KeyTransRecipientInfo) String() string {
	return "key transport with " + alg.Name(k.Algorithm.OID) + " to " + k.ID.String()
}

func (k *KeyTransRecipientInfo) minVersion() int {
	if k.ID.Issuer == nil {
		return 2
	}
	return 0
}

func (k *KeyTransRecipientInfo) add(b *der.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
		b.AddASN1Int64(int64(k.minVersion()))
		k.ID.add(b, false)
		der.AddAlgorithm(b, k.Algorithm)
		b.AddASN1OctetString(k.EncryptedKey)
	})
}

func readKeyTrans(s cryptobyte.String) (RecipientInfo, error) {
	k := &KeyTransRecipientInfo{}
	// The version says nothing that the identifier does not, and is often wrong.
	if !s.SkipASN1(asn1.INTEGER) || !k.ID.read(&s, false) || !der.ReadAlgorithm(&s, &k.Algorithm) ||
		!der.ReadOctets(&s, &k.EncryptedKey, -1) || !s.Empty() {
		return nil, malformed("KeyTransRecipientInfo")
	}
	return k, nil
}

// OAEPOptions are the parameters of RSAES-OAEP (RFC 8017, Section 7.1).
type OAEPOptions struct {
	Hash    crypto.Hash // 0: SHA-256
	MGFHash crypto.Hash // of MGF1; 0: Hash
	Label   []byte
}

// A CertificateRecipient is the holder of a certificate: with an RSA key by key
// transport, with an EC, X25519 or X448 key by key agreement, with an ML-KEM key
// by key encapsulation. It implements [Recipient].
type CertificateRecipient struct {
	Certificate *pki.Certificate

	// KeyID names the recipient by the subject key identifier in place of
	// issuer and serial number.
	KeyID bool

	// OAEP selects RSAES-OAEP for an RSA key. Nil is PKCS #1 v1.5, which every
	// peer reads. Certificates whose key is for OAEP alone need it.
	OAEP *OAEPOptions

	// KDF is the hash of the key derivation for keys that are not RSA keys. 0:
	// SHA-256 for P-256, X25519 and ML-KEM, SHA-384 for P-384, SHA-512 for P-521
	// and X448 (RFC 5753, Section 8; RFC 8418, Section 3.1; RFC 9936).
	KDF crypto.Hash

	// UKM is the user keying material for key agreement and key encapsulation;
	// nil for none.
	UKM []byte

	// Allow can let an RSA key pass that is too small (AllowRSA1024).
	Allow []Allowance
}

// NewRecipient returns the holder of a certificate as a recipient, with all
// options zero.
func NewRecipient(cert *x509.Certificate) *CertificateRecipient {
	return &CertificateRecipient{Certificate: pki.FromX509(cert)}
}

// Wrap implements Recipient. A certificate whose key usage does not permit
// encryption, or whose key is too small, is a UsageError; a key that cannot
// encrypt is an UnsupportedError.
func (c *CertificateRecipient) Wrap(cek []byte) ([]RecipientInfo, error) {
	if c.Certificate == nil {
		return nil, usage("a recipient has no certificate")
	}
	pub := c.Certificate.PublicKey
	if pub == nil {
		return nil, &UnsupportedError{What: "public key", OID: c.Certificate.KeyAlgorithm.OID}
	}
	// RFC 8550, Section 4.4.2.
	if !c.Certificate.CanEncrypt() {
		return nil, usage("the certificate of %q is not for encryption", c.Certificate.Subject())
	}
	if weak := alg.WeakKey(pub); !allowed(c.Allow, weak) {
		return nil, usage("the key of %q is too small", c.Certificate.Subject())
	}
	id, err := newCertificateID(c.Certificate, c.KeyID)
	if err != nil {
		return nil, err
	}
	var info RecipientInfo
	if key, ok := pub.(*rsa.PublicKey); ok {
		info, err = c.transport(id, key, cek)
	} else if kem, key, isKEM := alg.KEMOf(pub); isKEM {
		info, err = c.encapsulate(id, kem, key, cek)
	} else {
		info, err = c.agree(id, pub, cek)
	}
	if err != nil {
		return nil, err
	}
	return []RecipientInfo{info}, nil
}

func (c *CertificateRecipient) transport(id CertificateID, key *rsa.PublicKey, cek []byte) (RecipientInfo, error) {
	k := &KeyTransRecipientInfo{ID: id}
	var err error
	if c.OAEP == nil && c.Certificate.KeyAlgorithm.OID != oid.RSAES {
		k.Algorithm = der.WithNull(oid.RSA) // RFC 3370, Section 4.2.1: NULL
		//lint:ignore SA1019 RFC 8551, Section 2.3: the key transport that every peer reads; OAEP is an option
		k.EncryptedKey, err = rsa.EncryptPKCS1v15(rand.Reader, key, cek)
		return k, err
	}
	var opts OAEPOptions
	if c.OAEP != nil {
		opts = *c.OAEP
	}
	if opts.Hash == 0 {
		opts.Hash = crypto.SHA256
	}
	if opts.MGFHash == 0 {
		opts.MGFHash = opts.Hash
	}
	var params alg.OAEP
	var ok, okMGF bool
	params.Digest, ok = alg.DigestByHash(opts.Hash)
	params.MGF, okMGF = alg.DigestByHash(opts.MGFHash)
	if !ok || !okMGF || !params.Digest.Standard() || !params.MGF.Standard() {
		return nil, usage("OAEP with hashes %v and %v", opts.Hash, opts.MGFHash)
	}
	params.Label = opts.Label
	if k.Algorithm, err = params.Algorithm(); err != nil {
		return nil, err
	}
	k.EncryptedKey, err = rsa.EncryptOAEPWithOptions(rand.Reader, key, cek, &rsa.OAEPOptions{Hash: opts.Hash, MGFHash: opts.MGFHash, Label: opts.Label})
	return k, err
}

// open decrypts the key. See Identity for what v1.5 returns.
func (k *KeyTransRecipientInfo) open(key crypto.Decrypter, cekLen int) ([]byte, error) {
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return nil, ErrNoMatch
	}
	switch k.Algorithm.OID {
	case oid.RSA:
		return openV15(key, pub, k.EncryptedKey, cekLen)
	case oid.RSAES:
		// Malformed parameters are no reason to try v1.5.
		p, err := alg.ParseOAEP(k.Algorithm.Parameters)
		if errors.Is(err, alg.ErrUnknown) {
			return nil, &UnsupportedError{What: "a parameter of key transport", OID: k.Algorithm.OID}
		}
		if err != nil {
			return nil, &SyntaxError{Offset: -1, Field: "RSAES-OAEP-params", Err: err}
		}
		cek, err := key.Decrypt(rand.Reader, k.EncryptedKey, &rsa.OAEPOptions{Hash: p.Digest.Hash, MGFHash: p.MGF.Hash, Label: p.Label})
		if unavailable(err) {
			return nil, err
		}
		if err != nil {
			return nil, ErrDecrypt
		}
		return cek, nil
	}
	return nil, &UnsupportedError{What: "key transport", OID: k.Algorithm.OID}
}

// openV15 is the session-key form: RFC 3218, Section 2.3.2. Where the size of
// the key is not known beforehand, as with RC2, a failure gives a random key
// too, but the time it takes may differ.
func openV15(key crypto.Decrypter, pub *rsa.PublicKey, encrypted []byte, cekLen int) ([]byte, error) {
	// Leading zeros that an encoder lost belong to the number; longer input is
	// public knowledge and cannot be a number below the modulus.
	if modulus := pub.Size(); len(encrypted) < modulus {
		encrypted = append(make([]byte, modulus-len(encrypted)), encrypted...)
	}
	size := cekLen
	if size == 0 {
		size = 16
	}
	spare := make([]byte, size)
	_, _ = rand.Read(spare) // never returns an error
	//lint:ignore SA1019 most mail that is encrypted to RSA keys is so; the session-key form keeps the padding secret
	cek, err := key.Decrypt(rand.Reader, encrypted, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: cekLen})
	if unavailable(err) {
		return nil, err
	}
	if err != nil {
		return spare, nil
	}
	return cek, nil
}
