package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	cryptotls "crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// FromIdentity makes an identity into what crypto/tls takes: the certificate,
// behind it its issuers as far as the identity has them, without the root. The
// error is [ErrKeyType].
func FromIdentity(id *keystore.Identity) (cryptotls.Certificate, error) {
	leaf := id.Certificate.X509
	key, signs := id.Key.(crypto.Signer)
	if leaf == nil || !signs {
		return cryptotls.Certificate{}, ErrKeyType
	}
	switch key.Public().(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return cryptotls.Certificate{}, ErrKeyType
	}
	out := cryptotls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	left := slices.Clone(id.Chain)
	for last := id.Certificate; !selfIssued(last); {
		i := slices.IndexFunc(left, func(c *pki.Certificate) bool { return !selfIssued(c) && issued(c, last) })
		if i < 0 {
			break
		}
		last = left[i]
		left = slices.Delete(left, i, i+1)
		out.Certificate = append(out.Certificate, last.Raw)
	}
	return out, nil
}

func selfIssued(c *pki.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// issued reports whether a certificate is by an issuer. The signature decides
// where crypto/x509 can read both, since authorities have one name and several
// keys.
func issued(issuer, c *pki.Certificate) bool {
	if !bytes.Equal(issuer.RawSubject, c.RawIssuer) {
		return false
	}
	return issuer.X509 == nil || c.X509 == nil || c.X509.CheckSignatureFrom(issuer.X509) == nil
}

// An entry is one certificate that is served. It does not change, except for its
// status.
type entry struct {
	file       string
	cert       cryptotls.Certificate // without a staple
	leaf       *pki.Certificate
	issuer     *pki.Certificate // nil if it is not known
	names      []string         // in lower case
	mustStaple bool
	status     atomic.Pointer[status]
}

// A status is what is known from OCSP of an entry. It does not change.
type status struct {
	stapled  *cryptotls.Certificate // nil without a response
	until    time.Time              // when the response ends
	revoked  bool
	next     time.Time // when to ask again; zero is at once
	failures int       // since the last response
}

func newEntry(file string, id *keystore.Identity, now time.Time) (*entry, error) {
	cert, err := FromIdentity(id)
	if err != nil {
		return nil, err
	}
	if now.After(cert.Leaf.NotAfter) {
		return nil, ErrExpired
	}
	if now.Before(cert.Leaf.NotBefore) {
		return nil, errNotYet
	}
	e := &entry{file: file, cert: cert, leaf: id.Certificate, names: names(cert.Leaf), mustStaple: mustStaple(cert.Leaf)}
	if i := slices.IndexFunc(id.Chain, func(c *pki.Certificate) bool { return issued(c, e.leaf) }); i >= 0 {
		e.issuer = id.Chain[i]
	}
	e.status.Store(new(status))
	return e, nil
}

// current returns what to send to a client now.
func (e *entry) current(now time.Time) *cryptotls.Certificate {
	if st := e.status.Load(); st.stapled != nil && now.Before(st.until) {
		return st.stapled
	}
	return &e.cert
}

// hasStaple reports whether there is a response for a client now.
func (e *entry) hasStaple(now time.Time) bool { return e.current(now) != &e.cert }

// names are the host names that a certificate is for, in lower case. As clients
// do, it looks at the common name only if there is nothing else, and takes it for
// the sake of old certificates of one's own.
func names(c *x509.Certificate) []string {
	out := make([]string, 0, len(c.DNSNames)+1)
	for _, n := range c.DNSNames {
		out = append(out, normalName(n))
	}
	if len(out) == 0 && len(c.IPAddresses) == 0 && strings.Contains(c.Subject.CommonName, ".") {
		out = append(out, normalName(c.Subject.CommonName))
	}
	return out
}

func normalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// extTLSFeature is the extension of RFC 7633, Section 4.
var extTLSFeature = []int{1, 3, 6, 1, 5, 5, 7, 1, 24}

// statusRequest is the TLS extension that a certificate can demand: RFC 6066,
// Section 8.
const statusRequest = 5

// mustStaple reports whether a certificate demands a stapled response:
//
//	Features ::= SEQUENCE OF INTEGER
func mustStaple(c *x509.Certificate) bool {
	for _, ext := range c.Extensions {
		if !slices.Equal(ext.Id, extTLSFeature) {
			continue
		}
		in := cryptobyte.String(ext.Value)
		var features cryptobyte.String
		if !in.ReadASN1(&features, asn1.SEQUENCE) {
			return true // it demands something
		}
		for !features.Empty() {
			var feature int
			if !features.ReadASN1Integer(&feature) {
				return true
			}
			if feature == statusRequest {
				return true
			}
		}
	}
	return false
}
