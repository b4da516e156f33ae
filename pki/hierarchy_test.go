package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	randv2 "math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// testTime is when generated hierarchies are judged.
var testTime = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// A spec is a certificate that is to be made. All of it can be odd.
type spec struct {
	version         int
	serial          int64
	issuer, subject []byte
	from, to        time.Time
	spki            []byte
	exts            []Extension
	signer          *ecdsa.PrivateKey
	broken          bool        // the signature
	hash            crypto.Hash // of the signature; 0 is SHA-256
}

func (s *spec) set(id oid.OID, critical bool, value []byte) {
	s.drop(id)
	if value != nil {
		s.exts = append(s.exts, Extension{id, critical, value})
	}
}

func (s *spec) drop(id oid.OID) {
	var kept []Extension
	for _, e := range s.exts {
		if e.OID != id {
			kept = append(kept, e)
		}
	}
	s.exts = kept
}

// enc builds DER and fails the test when it cannot be built.
func enc(t testing.TB, f func(b *der.Builder)) []byte {
	t.Helper()
	out, err := der.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func encSeq(t testing.TB, f func(b *der.Builder)) []byte {
	t.Helper()
	return enc(t, func(b *der.Builder) { b.AddASN1(asn1.SEQUENCE, f) })
}

// make signs the certificate.
func (s *spec) make(t testing.TB) *Certificate {
	t.Helper()
	alg, hash := der.Algorithm{OID: oid.ECDSAWithSHA256}, crypto.SHA256
	if s.hash == crypto.SHA1 {
		alg.OID, hash = oid.ECDSAWithSHA1, s.hash
	}
	tbs := encSeq(t, func(b *der.Builder) {
		if s.version > 1 {
			b.AddASN1(der.Context(0, true), func(b *der.Builder) { b.AddASN1Int64(int64(s.version - 1)) })
		}
		b.AddASN1Int64(s.serial)
		der.AddAlgorithm(b, alg)
		b.AddBytes(s.issuer)
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddTime(b, s.from); der.AddTime(b, s.to) })
		b.AddBytes(s.subject)
		b.AddBytes(s.spki)
		if s.version == 3 && len(s.exts) > 0 {
			b.AddASN1(der.Context(3, true), func(b *der.Builder) { b.AddASN1(asn1.SEQUENCE, s.addExtensions) })
		}
	})
	digest := hash.New()
	digest.Write(tbs)
	sig, err := s.signer.Sign(nil, digest.Sum(nil), hash) // RFC 6979
	if err != nil {
		t.Fatal(err)
	}
	if s.broken {
		sig[len(sig)-1] ^= 1
	}
	return parseOrFail(t, "made", encSeq(t, func(b *der.Builder) {
		b.AddBytes(tbs)
		der.AddAlgorithm(b, alg)
		b.AddASN1BitString(sig)
	}))
}

func (s *spec) addExtensions(b *der.Builder) {
	for _, e := range s.exts {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			der.AddOID(b, e.OID)
			if e.Critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1OctetString(e.Value)
		})
	}
}

// dn builds a Name with an organisation, a common name and perhaps an address.
func dn(t testing.TB, org, cn, email string) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for _, a := range []struct {
			id    oid.OID
			tag   asn1.Tag
			value string
		}{{"2.5.4.10", asn1.UTF8String, org}, {"2.5.4.3", asn1.UTF8String, cn}, {oid.DNEmailAddress, asn1.IA5String, email}} {
			if a.value == "" {
				continue
			}
			b.AddASN1(asn1.SET, func(b *der.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
					der.AddOID(b, a.id)
					b.AddASN1(a.tag, func(b *der.Builder) { b.AddBytes([]byte(a.value)) })
				})
			})
		}
	})
}

// Values of extensions.

func extBasic(t testing.TB, ca bool, path int) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		if ca {
			b.AddASN1Boolean(true)
		}
		if path >= 0 {
			b.AddASN1Int64(int64(path))
		}
	})
}

func extUsage(t testing.TB, usage x509.KeyUsage) []byte {
	t.Helper()
	var octet byte
	for n := range 8 {
		if usage&(1<<n) != 0 {
			octet |= 0x80 >> n
		}
	}
	unused := byte(0)
	for unused < 7 && octet>>unused&1 == 0 {
		unused++
	}
	return enc(t, func(b *der.Builder) {
		b.AddASN1(asn1.BIT_STRING, func(b *der.Builder) { b.AddBytes([]byte{unused, octet}) })
	})
}

func extOIDs(t testing.TB, ids ...oid.OID) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for _, id := range ids {
			der.AddOID(b, id)
		}
	})
}

func extPolicyList(t testing.TB, ids ...oid.OID) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for _, id := range ids {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddOID(b, id) })
		}
	})
}

func extMappings(t testing.TB, pairs ...oid.OID) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for i := 0; i+1 < len(pairs); i += 2 {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddOID(b, pairs[i]); der.AddOID(b, pairs[i+1]) })
		}
	})
}

func extConstraintsOnPolicies(t testing.TB, explicit, mapping int) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for i, n := range []int{explicit, mapping} {
			if n >= 0 {
				b.AddASN1(der.Context(uint8(i), false), func(b *der.Builder) { b.AddUint8(uint8(n)) })
			}
		}
	})
}

func extKeyID(t testing.TB, spki []byte, authority bool) []byte {
	t.Helper()
	id := sha1.Sum(spki)
	if authority {
		return encSeq(t, func(b *der.Builder) {
			b.AddASN1(der.Context(0, false), func(b *der.Builder) { b.AddBytes(id[:]) })
		})
	}
	return enc(t, func(b *der.Builder) { b.AddASN1OctetString(id[:]) })
}

// A gn is a GeneralName: its tag number and its content.
type gn struct {
	n       uint8
	content string
}

func (g gn) add(b *der.Builder) {
	b.AddASN1(der.Context(g.n, g.n == 0 || g.n == 4), func(b *der.Builder) { b.AddBytes([]byte(g.content)) })
}

func extNames(t testing.TB, names ...gn) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for _, g := range names {
			g.add(b)
		}
	})
}

func extSubtrees(t testing.TB, permitted, excluded []gn) []byte {
	t.Helper()
	return encSeq(t, func(b *der.Builder) {
		for i, list := range [][]gn{permitted, excluded} {
			if len(list) == 0 {
				continue
			}
			b.AddASN1(der.Context(uint8(i), true), func(b *der.Builder) {
				for _, g := range list {
					b.AddASN1(asn1.SEQUENCE, g.add)
				}
			})
		}
	})
}

// testKeys are keys for CAs, and the SubjectPublicKeyInfos of persons.
type testKeySet struct {
	keys  []*ecdsa.PrivateKey
	spkis [][]byte
	rsa   []byte
}

// The keys are always the same, so that a seed always gives the same octets.
// Nobody has the private key for the RSA one.
var testKeys = sync.OnceValues(func() (*testKeySet, error) {
	s := new(testKeySet)
	for i := range 16 {
		scalar := sha256.Sum256([]byte{byte(i)})
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
		if err != nil {
			return nil, err
		}
		spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			return nil, err
		}
		s.keys, s.spkis = append(s.keys, key), append(s.spkis, spki)
	}
	modulus := new(big.Int).SetBit(big.NewInt(12345), 2047, 1)
	var err error
	s.rsa, err = x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus, E: 65537})
	return s, err
})

// A hierarchy has roots, CAs and leaves, and marks for what is odd in it.
type hierarchy struct {
	t      testing.TB
	rng    *randv2.Rand
	keys   *testKeySet
	id     string
	serial int64
	used   int // keys

	specs  []*spec // root, CAs from the top to the bottom, one leaf
	extra  []*spec // besides, for other paths
	marks  map[string]bool
	roots  []*Certificate
	others []*Certificate
	leaf   *Certificate
}

func (h *hierarchy) mark(format string, args ...any) { h.marks[fmt.Sprintf(format, args...)] = true }

// newHierarchy makes one that depends on the seed alone, but for its keys.
func newHierarchy(t testing.TB, seed, index uint64) *hierarchy {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	h := &hierarchy{
		t: t, rng: randv2.New(randv2.NewPCG(seed, index)), keys: keys, id: fmt.Sprintf("%d-%d", seed, index),
		marks: make(map[string]bool),
	}
	h.used = h.rng.IntN(len(keys.keys))
	depth := h.rng.IntN(4)
	h.specs = append(h.specs, h.ca(nil, "Root"))
	for i := range depth {
		h.specs = append(h.specs, h.ca(h.specs[i], fmt.Sprintf("CA %d", i)))
	}
	h.specs = append(h.specs, h.person(h.specs[depth]))
	if h.rng.IntN(2) == 0 {
		h.givePolicies()
	}
	for range []int{0, 1, 1, 1, 2, 2, 3}[h.rng.IntN(7)] {
		mutations[h.rng.IntN(len(mutations))](h)
	}
	h.build()
	return h
}

// keyOf returns the key pair of a spec by its SubjectPublicKeyInfo.
func (h *hierarchy) keyOf(s *spec) *ecdsa.PrivateKey {
	for i, spki := range h.keys.spkis {
		if string(spki) == string(s.spki) {
			return h.keys.keys[i]
		}
	}
	return nil
}

func (h *hierarchy) newKey() (*ecdsa.PrivateKey, []byte) {
	h.used++
	i := h.used % len(h.keys.keys)
	return h.keys.keys[i], h.keys.spkis[i]
}

func (h *hierarchy) base(issuer *spec, name []byte) *spec {
	h.serial++
	key, spki := h.newKey()
	s := &spec{
		version: 3, serial: h.serial, issuer: name, subject: name, spki: spki, signer: key,
		from: testTime.AddDate(-1, 0, 0), to: testTime.AddDate(1, 0, 0),
	}
	s.set(oid.ExtSubjectKeyID, false, extKeyID(h.t, spki, false))
	if issuer != nil {
		s.issuer, s.signer = issuer.subject, h.keyOf(issuer)
		s.set(oid.ExtAuthorityKeyID, false, extKeyID(h.t, issuer.spki, true))
	}
	return s
}

func (h *hierarchy) ca(issuer *spec, name string) *spec {
	s := h.base(issuer, dn(h.t, "Test", name+" "+h.id, ""))
	s.set(oid.ExtBasicConstraints, true, extBasic(h.t, true, -1))
	s.set(oid.ExtKeyUsage, true, extUsage(h.t, x509.KeyUsageCertSign|x509.KeyUsageCRLSign))
	return s
}

func (h *hierarchy) person(issuer *spec) *spec {
	s := h.base(issuer, dn(h.t, "Test", "Leaf "+h.id, ""))
	if h.rng.IntN(2) == 0 {
		s.spki = h.keys.rsa
		s.set(oid.ExtSubjectKeyID, false, extKeyID(h.t, s.spki, false))
		h.mark("RSA leaf")
	}
	usages := []x509.KeyUsage{
		0, x509.KeyUsageDigitalSignature, x509.KeyUsageContentCommitment, x509.KeyUsageKeyEncipherment, x509.KeyUsageKeyAgreement,
		x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
	}
	if usage := usages[h.rng.IntN(len(usages))]; usage != 0 {
		s.set(oid.ExtKeyUsage, true, extUsage(h.t, usage))
		if usage&x509.KeyUsageKeyEncipherment == 0 || usage&x509.KeyUsageKeyAgreement == 0 {
			h.mark("one encryption usage")
		}
	}
	if h.rng.IntN(3) > 0 {
		s.set(oid.ExtExtKeyUsage, false, extOIDs(h.t, oid.EKUEmailProtection))
	}
	s.set(oid.ExtSubjectAltName, false, extNames(h.t, gn{1, "leaf@example.test"}))
	return s
}

// build makes the certificates.
func (h *hierarchy) build() {
	last := len(h.specs) - 1
	for i, s := range h.specs {
		c := s.make(h.t)
		switch {
		case i == 0 && !h.marks["unknown root"]:
			h.roots = append(h.roots, c)
		case i == last:
			h.leaf = c
		default:
			h.others = append(h.others, c)
		}
	}
	for _, s := range h.extra {
		h.others = append(h.others, s.make(h.t))
	}
	h.rng.Shuffle(len(h.others), func(i, j int) { h.others[i], h.others[j] = h.others[j], h.others[i] })
}
