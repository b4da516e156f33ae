package inspect

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

var errMalformed = errors.New("an element is malformed")

func readOID(r *ber.Reader) (cms.OID, error) {
	raw, err := r.DER(maxElement)
	if err != nil {
		return "", err
	}
	var id cms.OID
	in := cryptobyte.String(raw)
	if !der.ReadOID(&in, &id) {
		return "", errMalformed
	}
	return id, nil
}

func readAlgorithm(r *ber.Reader) (cms.AlgorithmIdentifier, error) {
	var a cms.AlgorithmIdentifier
	raw, err := r.DER(maxElement)
	if err != nil {
		return a, err
	}
	in := cryptobyte.String(raw)
	if !der.ReadAlgorithm(&in, &a) {
		return a, errMalformed
	}
	return a, nil
}

// signed reads a SignedData (RFC 5652, Section 5.1).
func (s structure) signed() error {
	digests, err := s.r.DER(maxElement)
	if err != nil {
		return err
	}
	if names := algorithmNames(digests); len(names) > 0 {
		s.n.set("digests", names)
	}
	if err = s.encap(); err != nil {
		return err
	}
	for {
		h, err := s.r.Peek()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		raw, err := s.r.DER(maxElement)
		if err != nil {
			return err
		}
		switch h.Tag {
		case ber.Context(0):
			err = s.certificates(raw)
		case ber.Context(1):
			s.n.set("crls", int64(elements(raw)))
		case ber.Set:
			err = s.signers(raw)
		}
		if err != nil {
			return err
		}
	}
}

// algorithmNames returns the names in a SET OF AlgorithmIdentifier.
func algorithmNames(set []byte) []string {
	in := cryptobyte.String(set)
	var inner cryptobyte.String
	if !in.ReadASN1(&inner, asn1.SET) {
		return nil
	}
	var out []string
	for !inner.Empty() {
		var a cms.AlgorithmIdentifier
		if !der.ReadAlgorithm(&inner, &a) {
			break
		}
		out = append(out, alg.Name(a.OID))
	}
	return out
}

// elements counts the elements of a set.
func elements(set []byte) int {
	in := cryptobyte.String(set)
	var inner, element cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&inner, &tag) {
		return 0
	}
	count := 0
	for inner.ReadAnyASN1Element(&element, &tag) {
		count++
	}
	return count
}

func (s structure) certificates(set []byte) error {
	in := cryptobyte.String(set)
	var inner cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&inner, &tag) {
		return errMalformed
	}
	for !inner.Empty() {
		var element cryptobyte.String
		if !inner.ReadAnyASN1Element(&element, &tag) {
			return errMalformed
		}
		n, err := s.node(s.n, "certificate", "")
		if err != nil {
			return err
		}
		if tag != asn1.SEQUENCE {
			n.Name = "of another kind than X.509"
			continue
		}
		c, parseErr := pki.ParseCertificate(element)
		if parseErr != nil {
			n.set("error", parseErr.Error())
			continue
		}
		n.describe(c)
	}
	return nil
}

// Certificate describes a certificate.
func Certificate(c *pki.Certificate) *Node {
	n := &Node{Kind: "certificate"}
	n.describe(c)
	return n
}

func (n *Node) describe(c *pki.Certificate) {
	n.Name = printable(c.Subject())
	n.set("issuer", c.Issuer())
	n.set("serial", hex.EncodeToString(c.Serial))
	n.set("not_before", c.NotBefore.UTC().Format(time.RFC3339))
	n.set("not_after", c.NotAfter.UTC().Format(time.RFC3339))
	if len(c.Emails) > 0 {
		n.set("emails", append([]string(nil), c.Emails...))
	}
	n.set("key", keyText(c))
	var uses []string
	for _, u := range []struct {
		ok   bool
		name string
	}{{c.IsCA, "certificates"}, {c.CanSign(), "signing"}, {c.CanEncrypt(), "encryption"}} {
		if u.ok {
			uses = append(uses, u.name)
		}
	}
	n.set("for", uses)
}

func keyText(c *pki.Certificate) string {
	name := alg.Name(c.KeyAlgorithm.OID)
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("%s, %d bits", name, k.N.BitLen())
	case *ecdsa.PublicKey:
		return name + ", " + k.Params().Name
	}
	return name
}

// signers reads a SET OF SignerInfo. Package cms reads it out of a SignedData
// that has nothing else; its verdict, without the content, means nothing.
func (s structure) signers(set []byte) error {
	message, err := der.Marshal(func(b *der.Builder) {
		addContentInfo(b, cms.TypeSignedData, func(b *der.Builder) {
			b.AddASN1Int64(1)
			b.AddASN1(asn1.SET, func(*der.Builder) {})
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) { der.AddOID(b, cms.TypeData) })
			b.AddBytes(set)
		})
	})
	if err != nil {
		return err
	}
	r, err := newCMSReader(message)
	if err != nil {
		return err
	}
	signed, err := r.Verify(&cms.VerifyOptions{Trust: cms.InsecureTrustAnySigner, Hashed: cms.NewContentHash()})
	if err != nil {
		return err
	}
	_ = signed.Close() // the verdict means nothing here
	for _, result := range signed.Signers() {
		if err = s.signer(s.n, "signer", result); err != nil {
			return err
		}
	}
	if len(signed.Signers()) == 0 {
		s.n.set("signers", "none")
	}
	return nil
}

func (w *walker) signer(parent *Node, kind string, result *cms.SignerResult) error {
	n, err := w.node(parent, kind, result.ID.String())
	if err != nil {
		return err
	}
	n.set("digest", result.Digest)
	n.set("signature_algorithm", result.SignatureAlgorithm)
	for _, attr := range result.Signed {
		if err = w.attribute(n, "signed attribute", attr); err != nil {
			return err
		}
	}
	for _, attr := range result.Unsigned {
		if attr.Type == oid.AttrCountersignature {
			continue
		}
		if err = w.attribute(n, "unsigned attribute", attr); err != nil {
			return err
		}
	}
	for _, c := range result.Countersigners {
		if err = w.signer(n, "countersigner", c); err != nil {
			return err
		}
	}
	return nil
}

// attribute describes an attribute, with its value when that says something to
// people.
func (w *walker) attribute(parent *Node, kind string, attr cms.Attribute) error {
	n, err := w.node(parent, kind, alg.Name(attr.Type))
	if err != nil {
		return err
	}
	if len(attr.Values) == 1 {
		n.set("value", valueText(attr.Type, attr.Values[0]))
	} else {
		n.set("values", int64(len(attr.Values)))
	}
	return nil
}

func valueText(t cms.OID, value []byte) any {
	in := cryptobyte.String(value)
	var id cms.OID
	var octets []byte
	var at time.Time
	switch t {
	case oid.AttrContentType:
		if der.ReadOID(&in, &id) {
			return alg.Name(id)
		}
	case oid.AttrMessageDigest:
		if der.ReadOctets(&in, &octets, -1) {
			return hexText(octets)
		}
	case oid.AttrSigningTime:
		if der.ReadTime(&in, &at) {
			return at.UTC().Format(time.RFC3339)
		}
	case oid.AttrSMIMECapabilities:
		if names := capabilities(in); names != nil {
			return names
		}
	}
	return fmt.Sprintf("%d octets", len(value))
}

// capabilities reads SMIMECapabilities (RFC 8551, Section 2.5.2).
func capabilities(in cryptobyte.String) []string {
	var list cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) {
		return nil
	}
	var out []string
	for !list.Empty() {
		var a cms.AlgorithmIdentifier
		if !der.ReadAlgorithm(&list, &a) {
			return nil
		}
		out = append(out, alg.Name(a.OID))
	}
	return out
}

// maxHex bounds the octets that are printed.
const maxHex = 64

func hexText(octets []byte) string {
	if len(octets) > maxHex {
		return hex.EncodeToString(octets[:maxHex]) + "…"
	}
	return hex.EncodeToString(octets)
}
