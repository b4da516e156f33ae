package pkcs11

import (
	"bytes"
	"crypto"
	"slices"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// maxObjects bounds how many objects of a class are read.
const maxObjects = 4096

// A certObject is a certificate on a token.
type certObject struct {
	label string
	id    []byte
	cert  *pki.Certificate
}

// Identities returns the private keys of the token with their certificates,
// which are found by public key, or by CKA_ID where the token does not show the
// public key. Several certificates to one key make several identities. Chain
// has the certificates on the token that no key belongs to.
//
// Where the URI has attributes of objects, only those identities are returned
// whose key or certificate it names: both match "object" and "id", and "type"
// can choose that the key ("private") or the certificate ("cert") has to.
//
// It asks for the PIN if the token was not logged in to yet. The error is a
// [*keystore.FileError], which wraps [keystore.ErrNoKey],
// [keystore.ErrNoCertificate] or [keystore.ErrNoMatch] when there is no
// identity, and [keystore.ErrPassphrase] when the PIN was wrong.
func (t *Token) Identities() ([]keystore.Identity, error) {
	var certs []certObject
	var keys []*keyObject
	err := t.do(func(s *session) error {
		var err error
		if certs, err = t.certificates(s); err != nil {
			return err
		}
		keys, err = t.privateKeys(s)
		return err
	})
	if err != nil {
		return nil, fileError(t.uri, err)
	}
	ids := t.match(certs, keys)
	if len(ids) > 0 {
		return ids, nil
	}
	switch {
	case len(keys) == 0:
		err = keystore.ErrNoKey
	case len(certs) == 0:
		err = keystore.ErrNoCertificate
	default:
		err = keystore.ErrNoMatch
	}
	return nil, fileError(t.uri, err)
}

// match makes identities of what belongs together and is named by the URI.
func (t *Token) match(certs []certObject, keys []*keyObject) []keystore.Identity {
	var ids []keystore.Identity
	owned := make([]bool, len(certs))
	for _, k := range keys {
		for i, c := range certs {
			key := t.newKey(k, c.cert.PublicKey, c.id)
			if key == nil {
				continue
			}
			owned[i] = true
			if t.uri.matchType(typePrivate) && t.uri.matchName(k.label, k.id) || t.uri.matchType(typeCert) && t.uri.matchName(c.label, c.id) {
				ids = append(ids, keystore.Identity{Certificate: c.cert, Key: key})
			}
		}
	}
	var chain []*pki.Certificate
	for i, c := range certs {
		if !owned[i] {
			chain = append(chain, c.cert)
		}
	}
	for i := range ids {
		ids[i].Chain = chain
	}
	return ids
}

// Certificates returns the certificates on the token that the URI names. It
// needs no PIN. None and nil mean that there is none. The error is a
// [*keystore.FileError].
func (t *Token) Certificates() ([]*pki.Certificate, error) {
	var all []certObject
	err := t.with(false, func(s *session) error {
		var err error
		all, err = t.certificates(s)
		return err
	})
	if err != nil {
		return nil, fileError(t.uri, err)
	}
	var certs []*pki.Certificate
	for _, c := range all {
		if t.uri.MatchObject(typeCert, c.label, c.id) {
			certs = append(certs, c.cert)
		}
	}
	return certs, nil
}

// Key returns the private key to a certificate that need not be on the token:
// a [*RSAKey], [*ECKey], [*BrainpoolKey], [*Ed25519Key] or [*X25519Key]. The URI does not
// choose. It asks for the PIN if the token was not logged in to yet. The error
// is a [*keystore.FileError]; it wraps [keystore.ErrNoMatch] when there is no
// such key.
//
// A key for elliptic curves is found only if the token has its public key too,
// or the certificate itself.
func (t *Token) Key(cert *pki.Certificate) (crypto.PrivateKey, error) {
	var certs []certObject
	var keys []*keyObject
	err := t.do(func(s *session) error {
		var err error
		if keys, err = t.privateKeys(s); err != nil {
			return err
		}
		certs, err = t.certificates(s)
		return err
	})
	if err != nil {
		return nil, fileError(t.uri, err)
	}
	var id []byte
	for _, c := range certs {
		if bytes.Equal(c.cert.Raw, cert.Raw) {
			id = c.id
		}
	}
	for _, k := range keys {
		if key := t.newKey(k, cert.PublicKey, id); key != nil {
			return key, nil
		}
	}
	return nil, fileError(t.uri, keystore.ErrNoMatch)
}

// find returns the objects of a class.
func (t *Token) find(s *session, template ...attr) ([]object, error) {
	found, err := t.mod.api.Find(s.h, template, maxObjects+1)
	if err == nil && len(found) > maxObjects {
		err = ErrTooMany
	}
	return found, called("C_FindObjects", err)
}

// attribute returns the value of an attribute; nil if the token does not tell.
func (t *Token) attribute(s *session, o object, kind uint) ([]byte, error) {
	value, err := t.mod.api.Attribute(s.h, o, kind)
	if isOneOf(err, rvAttributeTypeInvalid, rvAttributeSensitive) {
		return nil, nil
	}
	return value, called("C_GetAttributeValue", err)
}

// attributes returns several attributes of an object. None and nil mean that
// the object has been deleted.
func (t *Token) attributes(s *session, o object, kinds ...uint) ([][]byte, error) {
	values := make([][]byte, 0, len(kinds))
	for _, kind := range kinds {
		value, err := t.attribute(s, o, kind)
		if objectGone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// certificates reads the certificates on the token, but for those that cannot
// be parsed.
func (t *Token) certificates(s *session) ([]certObject, error) {
	objects, err := t.find(s, attr{kind: ckaClass, num: ckoCertificate})
	if err != nil {
		return nil, err
	}
	var certs []certObject
	for _, o := range objects {
		values, err := t.attributes(s, o, ckaValue, ckaLabel, ckaID)
		if err != nil {
			return nil, err
		}
		if values == nil || len(values[0]) == 0 {
			continue // its value is somewhere else
		}
		cert, err := pki.ParseCertificate(values[0])
		if err != nil || slices.ContainsFunc(certs, func(c certObject) bool { return bytes.Equal(c.cert.Raw, cert.Raw) && bytes.Equal(c.id, values[2]) }) {
			continue
		}
		certs = append(certs, certObject{label: string(values[1]), id: values[2], cert: cert})
	}
	return certs, nil
}
