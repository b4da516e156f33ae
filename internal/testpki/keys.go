package testpki

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
)

// KeyType is a type and size of key.
type KeyType int

// The types of keys. RSA1024 is weak; RSAPSS2048 is an RSA key that a
// certificate has under the identifier id-RSASSA-PSS.
const (
	RSA2048 KeyType = iota
	RSA3072
	RSA4096
	RSA1024
	RSAPSS2048
	P224
	P256
	P384
	P521
	Ed25519
	X25519
)

// String returns the constant's name.
func (k KeyType) String() string {
	names := []string{
		"RSA2048", "RSA3072", "RSA4096", "RSA1024", "RSAPSS2048", "P224", "P256", "P384", "P521", "Ed25519", "X25519",
	}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("KeyType(%d)", int(k))
	}
	return names[k]
}

// newKey makes a key.
func newKey(kind KeyType) (crypto.PrivateKey, error) {
	switch kind {
	case RSA2048, RSAPSS2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case P224:
		return ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case X25519:
		return ecdh.X25519().GenerateKey(rand.Reader)
	}
	return nil, fmt.Errorf("testpki: no such type of key: %v", kind)
}

func newSigner(kind KeyType) (crypto.Signer, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("testpki: a CA cannot have a key of type %v", kind)
	}
	return signer, nil
}

type keyName struct {
	kind        KeyType
	name, email string
	index       int
}

type keyResult struct {
	key crypto.PrivateKey
	err error
}

var (
	keysMu sync.Mutex
	keys   = make(map[keyName]func() keyResult)
)

// personKey returns the key for a profile, which is made once in a process.
func personKey(p Profile) (crypto.PrivateKey, crypto.PublicKey, error) {
	name := keyName{p.Key, p.Name, p.Email, p.KeyIndex}
	keysMu.Lock()
	once := keys[name]
	if once == nil {
		once = sync.OnceValue(func() keyResult {
			key, err := newKey(p.Key)
			return keyResult{key, err}
		})
		keys[name] = once
	}
	keysMu.Unlock()
	r := once()
	if r.err != nil {
		return nil, nil, r.err
	}
	holder, ok := r.key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil, nil, fmt.Errorf("testpki: no public key in a key of type %v", p.Key)
	}
	return r.key, holder.Public(), nil
}
