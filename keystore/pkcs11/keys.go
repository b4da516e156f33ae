package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"sync"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/keystore"
)

// A keyObject is a private key on a token.
type keyObject struct {
	kind    uint // CK_KEY_TYPE
	label   string
	id      []byte
	modulus []byte // RSA
	params  []byte // elliptic curves
	public  crypto.PublicKey
	always  bool // the PIN has to be shown for each use

	handle     object
	generation uint64
}

// privateKeys reads what the token tells of its private keys.
func (t *Token) privateKeys(s *session) ([]*keyObject, error) {
	objects, err := t.find(s, attr{kind: ckaClass, num: ckoPrivateKey})
	if err != nil {
		return nil, err
	}
	points, err := t.publicPoints(s)
	if err != nil {
		return nil, err
	}
	var keys []*keyObject
	for _, o := range objects {
		k, err := t.privateKey(s, o)
		if err != nil {
			return nil, err
		}
		if k == nil {
			continue
		}
		if k.public == nil {
			k.public = points.of(k)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// privateKey reads one key; nil if it is of a kind that is not used.
func (t *Token) privateKey(s *session, o object) (*keyObject, error) {
	values, err := t.attributes(s, o, ckaKeyType, ckaLabel, ckaID, ckaAlwaysAuthenticate)
	if values == nil {
		return nil, err
	}
	k := &keyObject{kind: number(values[0]), label: string(values[1]), id: values[2], always: number(values[3]) == 1,
		handle: o, generation: s.generation}
	switch k.kind {
	case ckkRSA:
		if values, err = t.attributes(s, o, ckaModulus, ckaPublicExponent); values == nil {
			return nil, err
		}
		k.modulus = values[0]
		if pub := rsaPublic(values[0], values[1]); pub != nil {
			k.public = pub
		}
	case ckkEC, ckkEdwards, ckkMontgomery:
		// CKA_EC_POINT is not an attribute of private keys, but some tokens have it.
		if values, err = t.attributes(s, o, ckaECParams, ckaECPoint); values == nil {
			return nil, err
		}
		k.params = values[0]
		k.public = pointPublic(values[0], values[1])
	default:
		return nil, nil
	}
	return k, nil
}

// name tells the key from others on the token, for people.
func (k *keyObject) name() string {
	if k.label != "" {
		return quote(k.label)
	}
	return hex.EncodeToString(k.id)
}

// number reads a CK_ULONG or CK_BBOOL, in the order of the machine.
func number(value []byte) uint {
	switch len(value) {
	case 1:
		return uint(value[0])
	case 4:
		return uint(binary.NativeEndian.Uint32(value))
	case 8:
		return uint(binary.NativeEndian.Uint64(value))
	}
	return 0
}

// points are the public keys for elliptic curves on a token.
type points []struct {
	id, params []byte
	public     crypto.PublicKey
}

func (t *Token) publicPoints(s *session) (points, error) {
	objects, err := t.find(s, attr{kind: ckaClass, num: ckoPublicKey})
	if err != nil {
		return nil, err
	}
	var all points
	for _, o := range objects {
		values, err := t.attributes(s, o, ckaID, ckaECParams, ckaECPoint)
		if err != nil {
			return nil, err
		}
		if values == nil || len(values[0]) == 0 {
			continue
		}
		if public := pointPublic(values[1], values[2]); public != nil {
			all = append(all, struct {
				id, params []byte
				public     crypto.PublicKey
			}{values[0], values[1], public})
		}
	}
	return all, nil
}

// of returns the public key to a private one, if it is clear which it is.
func (p points) of(k *keyObject) crypto.PublicKey {
	var found crypto.PublicKey
	for _, c := range p {
		if !bytes.Equal(c.id, k.id) || !bytes.Equal(c.params, k.params) {
			continue
		}
		if found != nil && !samePublic(found, c.public) {
			return nil
		}
		found = c.public
	}
	return found
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// maxRSABits is the size up to which package keystore takes RSA keys.
const maxRSABits = 16384

func rsaPublic(modulus, exponent []byte) *rsa.PublicKey {
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if n.Sign() == 0 || n.BitLen() > maxRSABits || !e.IsInt64() || e.Int64() < 2 || e.BitLen() > 31 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

// A curve is one that this package knows, by its CKA_EC_PARAMS.
type curve struct {
	ecdsa  elliptic.Curve // or nil
	ecdh   ecdh.Curve     // or nil, for Ed25519
	ed     bool
	octets int // of a point
}

// isBrainpool reports whether the curve is one that crypto/ecdh does not have.
func (c curve) isBrainpool() bool { return c.ecdsa != nil && c.ecdh == nil }

// curves are by DER: the object identifier, or for the two of RFC 7748 the name
// as a PrintableString too.
var curves = map[string]curve{
	"06082a8648ce3d030107":         {ecdsa: elliptic.P256(), ecdh: ecdh.P256(), octets: 65},
	"06052b81040022":               {ecdsa: elliptic.P384(), ecdh: ecdh.P384(), octets: 97},
	"06052b81040023":               {ecdsa: elliptic.P521(), ecdh: ecdh.P521(), octets: 133},
	"06092b2403030208010107":       brainpool(oid.BrainpoolP256r1),
	"06092b2403030208010108":       brainpool(oid.BrainpoolP256t1),
	"06092b240303020801010b":       brainpool(oid.BrainpoolP384r1),
	"06092b240303020801010c":       brainpool(oid.BrainpoolP384t1),
	"06092b240303020801010d":       brainpool(oid.BrainpoolP512r1),
	"06092b240303020801010e":       brainpool(oid.BrainpoolP512t1),
	"06032b6570":                   {ed: true, octets: 32},
	"130c656477617264733235353139": {ed: true, octets: 32},
	"06032b656e":                   {ecdh: ecdh.X25519(), octets: 32},
	"130a63757276653235353139":     {ecdh: ecdh.X25519(), octets: 32},
}

func brainpool(name oid.OID) curve {
	c, _ := alg.BrainpoolCurve(name)
	return curve{ecdsa: c, octets: 1 + 2*((c.Params().BitSize+7)/8)}
}

func curveOf(params []byte) (curve, bool) {
	c, ok := curves[hex.EncodeToString(params)]
	return c, ok
}

// pointPublic reads CKA_EC_POINT: a point, or one in a DER OCTET STRING as the
// standard has it. What it cannot read gives nil.
func pointPublic(params, point []byte) crypto.PublicKey {
	c, ok := curveOf(params)
	if !ok || len(point) < c.octets {
		return nil
	}
	if header := octetsHeader(c.octets); len(point) == len(header)+c.octets && bytes.HasPrefix(point, header) {
		point = point[len(header):]
	}
	if len(point) != c.octets {
		return nil
	}
	switch {
	case c.ed:
		return ed25519.PublicKey(bytes.Clone(point))
	case c.isBrainpool():
		if key, err := alg.BrainpoolPoint(c.ecdsa, point); err == nil {
			return key
		}
	case c.ecdsa != nil:
		if key, err := ecdsa.ParseUncompressedPublicKey(c.ecdsa, point); err == nil {
			return key
		}
	default:
		if key, err := c.ecdh.NewPublicKey(point); err == nil {
			return key
		}
	}
	return nil
}

// octetsHeader is the head of a DER OCTET STRING of fewer than 256 octets.
func octetsHeader(size int) []byte {
	if size < 0x80 {
		return []byte{4, byte(size)}
	}
	return []byte{4, 0x81, byte(size)}
}

// newKey makes a key if k is that to a public key: by what the token tells of
// the public key, and if it does not, by the CKA_ID of the certificate.
func (t *Token) newKey(k *keyObject, public crypto.PublicKey, id []byte) crypto.PrivateKey {
	if public == nil {
		return nil
	}
	if k.public != nil {
		if !samePublic(k.public, public) {
			return nil
		}
	} else if len(id) == 0 || !bytes.Equal(id, k.id) {
		return nil
	}
	base := &key{t: t, ref: k, public: public, handle: k.handle, generation: k.generation}
	c, known := curveOf(k.params)
	switch p := public.(type) {
	case *rsa.PublicKey:
		if k.kind == ckkRSA {
			return &RSAKey{key: base, public: p}
		}
	case *ecdsa.PublicKey:
		if known && c.isBrainpool() {
			if c.ecdsa == p.Curve {
				return &BrainpoolKey{key: base, public: p}
			}
			return nil
		}
		if point, err := p.ECDH(); err == nil && known && c.ecdsa == p.Curve {
			return &ECKey{key: base, public: p, point: point}
		}
	case ed25519.PublicKey:
		if known && c.ed {
			return &Ed25519Key{key: base, public: p}
		}
	case *ecdh.PublicKey:
		if known && c.ecdsa == nil && c.ecdh == p.Curve() {
			return &X25519Key{key: base, public: p}
		}
	}
	return nil
}

// A key is what all keys have in common.
type key struct {
	t      *Token
	ref    *keyObject // what it is found by again
	public crypto.PublicKey

	mu         sync.Mutex
	handle     object
	generation uint64
}

// Public implements crypto.Signer.
func (k *key) Public() crypto.PublicKey { return k.public }

// run runs an operation with the key. If the key is not where it was it is
// looked for once.
func (k *key) run(op func(s *session, o object) error) error {
	err := k.t.do(func(s *session) error {
		o, err := k.object(s, false)
		if err != nil {
			return err
		}
		if err = op(s, o); !objectGone(err) {
			return err
		}
		if o, err = k.object(s, true); err != nil {
			return err
		}
		return op(s, o)
	})
	return k.t.keyError(err)
}

// object returns the handle of the key.
func (k *key) object(s *session, again bool) (object, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.generation == s.generation && !again {
		return k.handle, nil
	}
	template := []attr{{kind: ckaClass, num: ckoPrivateKey}, {kind: ckaKeyType, num: k.ref.kind}}
	if len(k.ref.id) > 0 {
		template = append(template, attr{kind: ckaID, bytes: k.ref.id})
	}
	objects, err := k.t.find(s, template...)
	if err != nil {
		return 0, err
	}
	for _, o := range objects {
		found, err := k.t.privateKey(s, o)
		if err != nil {
			return 0, err
		}
		if found != nil && found.label == k.ref.label && bytes.Equal(found.modulus, k.ref.modulus) && bytes.Equal(found.params, k.ref.params) {
			k.handle, k.generation = o, s.generation
			return o, nil
		}
	}
	return 0, keystore.ErrNoKey
}

// begin starts an operation with the first of several mechanisms that the token
// takes, and returns which that is.
func (k *key) begin(s *session, o object, function string, start func(handle, mechanism, object) error, mechanisms []mechanism) (int, error) {
	var err error
	for i, m := range mechanisms {
		if err = start(s.h, m, o); err == nil {
			return i, k.showPIN(s)
		}
		if !mechanismRefused(err) {
			break
		}
	}
	return 0, called(function, err)
}

// showPIN logs in for one operation, where the key wants that.
func (k *key) showPIN(s *session) error {
	if !k.ref.always {
		return nil
	}
	return k.t.login(s.h, ckuContextSpecific, "key "+k.ref.name()+" on token "+quote(k.t.seen.Load().info.Label))
}
