package keystore

import (
	"crypto"
	"crypto/hmac"
	"hash"
	"math"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// contents are the keys and certificates of a file.
type contents struct {
	keys  []foundKey
	certs []foundCert
}

// A foundKey is a private key; err says why it could not be read.
type foundKey struct {
	key     crypto.PrivateKey
	localID []byte // localKeyID of PKCS#12, or nil
	err     error
}

type foundCert struct {
	cert    *pki.Certificate
	localID []byte
}

func (c *contents) full() bool { return len(c.keys)+len(c.certs) > maxObjects }

// A p12 is a PKCS#12 file that is being read.
type p12 struct {
	*asker
	w   *work
	out contents
}

// parsePKCS12 reads a PFX (RFC 7292, Section 4).
func parsePKCS12(object cryptobyte.String, a *asker, w *work) (*contents, error) {
	var pfx, info, content, mac cryptobyte.String
	var id oid.OID
	var version int64
	if !object.ReadASN1(&pfx, asn1.SEQUENCE) || !readInt(&pfx, &version) || !pfx.ReadASN1(&info, asn1.SEQUENCE) ||
		!der.ReadOID(&info, &id) {
		return nil, malformed("PFX")
	}
	if id != oid.Data {
		return nil, &UnsupportedError{"integrity of a PKCS#12 file by", id}
	}
	var safe []byte
	if !info.ReadASN1(&content, der.Context(0, true)) || !der.ReadOctets(&content, &safe, -1) {
		return nil, malformed("authSafe")
	}
	p := &p12{asker: a, w: w}
	if pfx.ReadASN1(&mac, asn1.SEQUENCE) {
		// RFC 7292, Section 5.1: the MAC is over the octets of the content as
		// they are, which may be BER.
		if err := p.checkMAC(mac, safe); err != nil {
			return nil, err
		}
	}
	return &p.out, p.authenticatedSafe(safe)
}

// checkMAC checks a MacData (RFC 7292, Section 4).
func (p *p12) checkMAC(mac cryptobyte.String, data []byte) error {
	var info, salt cryptobyte.String
	var alg der.Algorithm
	var want []byte
	iterations := int64(1)
	if !mac.ReadASN1(&info, asn1.SEQUENCE) || !der.ReadAlgorithm(&info, &alg) || !der.ReadOctets(&info, &want, -1) ||
		!mac.ReadASN1(&salt, asn1.OCTET_STRING) || (!mac.Empty() && !readInt(&mac, &iterations)) {
		return malformed("MacData")
	}
	passphrase, err := p.passphrase()
	if err != nil {
		return err
	}
	if alg.OID == oid.PBMAC1 {
		return p.checkPBMAC1(alg, data, want, passphrase)
	}
	newHash, ok := digests[alg.OID]
	if !ok {
		return &UnsupportedError{"MAC of PKCS#12", alg.OID}
	}
	_, err = tryForms(bmpForms(passphrase), func(form []byte) (struct{}, error) {
		if spent := p.w.spend(iterations); spent != nil {
			return struct{}{}, spent
		}
		key := pkcs12Key(newHash, forMAC, form, salt, int(iterations), newHash().Size())
		return struct{}{}, sameMAC(newHash, key, data, want)
	})
	return err
}

func sameMAC(newHash func() hash.Hash, key, data, want []byte) error {
	if !hmac.Equal(hmacSum(newHash, key, data), want) {
		return ErrPassphrase
	}
	return nil
}

// checkPBMAC1 checks the MAC of RFC 9579, Section 3.
func (p *p12) checkPBMAC1(alg der.Algorithm, data, want, passphrase []byte) error {
	params := cryptobyte.String(alg.Parameters)
	var seq cryptobyte.String
	var kdfAlg, macAlg der.Algorithm
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &kdfAlg) || !der.ReadAlgorithm(&seq, &macAlg) {
		return malformed("parameters of PBMAC1")
	}
	k, err := readKDF(kdfAlg)
	if err != nil {
		return err
	}
	newHash, ok := prfs[macAlg.OID]
	if !ok {
		return &UnsupportedError{"MAC of PBMAC1", macAlg.OID}
	}
	// RFC 9579, Section 4: the length of the key has to be told, and a short
	// one would let a file be forged.
	if k.keyLen < 20 || k.keyLen > math.MaxUint8 {
		return malformed("key length of PBMAC1")
	}
	_, err = tryForms(rawForms(passphrase, true), func(form []byte) (struct{}, error) {
		key, kdfErr := k.key(form, int(k.keyLen), p.w)
		if kdfErr != nil {
			return struct{}{}, kdfErr
		}
		return struct{}{}, sameMAC(newHash, key, data, want)
	})
	return err
}

// authenticatedSafe reads an AuthenticatedSafe (RFC 7292, Section 4.1).
func (p *p12) authenticatedSafe(data []byte) error {
	object, err := ber.Normalize(data, maxDepth)
	if err != nil {
		return &SyntaxError{"AuthenticatedSafe", err}
	}
	s := cryptobyte.String(object)
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) {
		return malformed("AuthenticatedSafe")
	}
	for !list.Empty() {
		var info, content cryptobyte.String
		var id oid.OID
		if !list.ReadASN1(&info, asn1.SEQUENCE) || !der.ReadOID(&info, &id) || !info.ReadASN1(&content, der.Context(0, true)) {
			return malformed("AuthenticatedSafe")
		}
		var safe []byte
		switch id {
		case oid.Data:
			var octets []byte
			if !der.ReadOctets(&content, &octets, -1) {
				return malformed("SafeContents")
			}
			if safe, err = ber.Normalize(octets, maxDepth); err != nil {
				return &SyntaxError{"SafeContents", err}
			}
		case oid.EncryptedData:
			if safe, err = p.decryptSafe(content); err != nil {
				return err
			}
		default:
			return &UnsupportedError{"safe of a PKCS#12 file of type", id}
		}
		if err = p.safeContents(safe, 0); err != nil {
			return err
		}
	}
	return nil
}

// decryptSafe decrypts an EncryptedData (RFC 5652, Section 8).
func (p *p12) decryptSafe(content cryptobyte.String) ([]byte, error) {
	var seq, info cryptobyte.String
	var alg der.Algorithm
	var data []byte
	if !content.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.INTEGER) || !seq.ReadASN1(&info, asn1.SEQUENCE) ||
		!info.SkipASN1(asn1.OBJECT_IDENTIFIER) || !der.ReadAlgorithm(&info, &alg) || !der.ReadOctets(&info, &data, 0) {
		return nil, malformed("EncryptedData")
	}
	passphrase, err := p.passphrase()
	if err != nil {
		return nil, err
	}
	return decryptObject(alg, data, passphrase, true, p.w)
}

// maxNested bounds safes in safes.
const maxNested = 4

// safeContents reads SafeContents (RFC 7292, Section 4.2).
func (p *p12) safeContents(safe cryptobyte.String, depth int) error {
	if depth > maxNested {
		return &LimitError{"nested safes"}
	}
	var list cryptobyte.String
	if !safe.ReadASN1(&list, asn1.SEQUENCE) {
		return malformed("SafeContents")
	}
	for !list.Empty() {
		var bag, value, attrs cryptobyte.String
		var id oid.OID
		var hasAttrs bool
		if !list.ReadASN1(&bag, asn1.SEQUENCE) || !der.ReadOID(&bag, &id) || !bag.ReadASN1(&value, der.Context(0, true)) ||
			!bag.ReadOptionalASN1(&attrs, &hasAttrs, asn1.SET) {
			return malformed("SafeBag")
		}
		if err := p.bag(id, value, localKeyID(attrs), depth); err != nil {
			return err
		}
		if p.out.full() {
			return &LimitError{"objects in a file"}
		}
	}
	return nil
}

// bag takes one bag. Those of CRLs and secrets are passed over.
func (p *p12) bag(id oid.OID, value cryptobyte.String, localID []byte, depth int) error {
	switch id {
	case oid.BagKey:
		key, err := parsePKCS8(value)
		p.out.keys = append(p.out.keys, foundKey{key, localID, err})
	case oid.BagShroudedKey:
		key, err := parseEncrypted(value, p.asker, true, p.w)
		if err != nil && !isAboutKey(err) {
			return err
		}
		p.out.keys = append(p.out.keys, foundKey{key, localID, err})
	case oid.BagCert:
		var seq, wrapped cryptobyte.String
		var kind oid.OID
		if !value.ReadASN1(&seq, asn1.SEQUENCE) || !der.ReadOID(&seq, &kind) || !seq.ReadASN1(&wrapped, der.Context(0, true)) {
			return malformed("CertBag")
		}
		var raw []byte
		if kind != oid.CertTypeX509 {
			return nil
		}
		if !der.ReadOctets(&wrapped, &raw, -1) {
			return malformed("CertBag")
		}
		c, err := pki.ParseCertificate(raw)
		if err != nil {
			return err
		}
		p.out.certs = append(p.out.certs, foundCert{c, localID})
	case oid.BagSafeContents:
		return p.safeContents(value, depth+1)
	}
	return nil
}

// localKeyID returns the value of the localKeyID among attributes of a bag, or
// nil. Attributes that cannot be read do not matter.
func localKeyID(attrs cryptobyte.String) []byte {
	for !attrs.Empty() {
		var attr, set cryptobyte.String
		var id oid.OID
		if !attrs.ReadASN1(&attr, asn1.SEQUENCE) {
			return nil
		}
		var value []byte
		if der.ReadOID(&attr, &id) && id == oid.AttrLocalKeyID && attr.ReadASN1(&set, asn1.SET) && der.ReadOctets(&set, &value, -1) {
			return value
		}
	}
	return nil
}
