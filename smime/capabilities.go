package smime

import (
	"slices"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// preferred are the ciphers that are read and written, the best first.
var preferred = [...]cms.Cipher{
	cms.AES256GCM, cms.AES128GCM, cms.AES192GCM, cms.ChaCha20Poly1305Encryption,
	cms.AES256CBC, cms.AES192CBC, cms.AES128CBC,
}

// ParseCapabilities returns the ciphers that a signer can read, the best liked
// first, from the signed attributes of a signature that is valid (RFC 8551,
// Section 2.5.2). It is nil when they do not tell, and empty when they name no
// cipher that this module writes.
func ParseCapabilities(signed cms.Attributes) []cms.Cipher {
	value, ok := signed.Get(oid.AttrSMIMECapabilities)
	s := cryptobyte.String(value)
	var list cryptobyte.String
	if !ok || !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return nil
	}
	out := []cms.Cipher{}
	for !list.Empty() {
		var capability der.Algorithm // of the same form as SMIMECapability
		if !der.ReadAlgorithm(&list, &capability) {
			break
		}
		entry, known := alg.CipherByOID(capability.OID)
		if c := cms.Cipher(entry.Name); known && slices.Contains(preferred[:], c) && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// capabilitiesAttribute makes the attribute of a list of ciphers.
//
//	SMIMECapability ::= SEQUENCE {
//	  capabilityID OBJECT IDENTIFIER,
//	  parameters ANY DEFINED BY capabilityID OPTIONAL }
//	SMIMECapabilities ::= SEQUENCE OF SMIMECapability
func capabilitiesAttribute(ciphers []cms.Cipher) (cms.Attribute, error) {
	var list []der.Algorithm
	for _, c := range ciphers {
		entry, ok := alg.CipherByName(string(c))
		if !ok {
			return cms.Attribute{}, &cms.UsageError{Msg: "there is no content cipher \"" + string(c) + "\" for Capabilities"}
		}
		list = append(list, der.Algorithm{OID: entry.OID})
	}
	value, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			for _, c := range list {
				der.AddAlgorithm(b, c)
			}
		})
	})
	return cms.Attribute{Type: oid.AttrSMIMECapabilities, Values: [][]byte{value}}, err
}

// allCapabilities is the attribute of all ciphers. Its octets are not to be
// changed.
var allCapabilities = sync.OnceValues(func() (cms.Attribute, error) { return capabilitiesAttribute(preferred[:]) })

// withCapabilities returns the signers with the attribute added.
func withCapabilities(signers []cms.Signer, ciphers []cms.Cipher) ([]cms.Signer, error) {
	var attr cms.Attribute
	var err error
	if ciphers == nil {
		attr, err = allCapabilities()
	} else {
		attr, err = capabilitiesAttribute(ciphers)
	}
	if err != nil || (ciphers != nil && len(ciphers) == 0) {
		return signers, err
	}
	out := slices.Clone(signers)
	for i, s := range out {
		if !s.NoAttributes && !s.Signed.Has(oid.AttrSMIMECapabilities) {
			out[i].Signed = append(slices.Clone(s.Signed), attr)
		}
	}
	return out, nil
}

// chooseCipher returns the best cipher that all recipients can read: RFC 8551,
// Section 2.7.
func chooseCipher(capabilities [][]cms.Cipher) cms.Cipher {
	for _, c := range preferred {
		if !slices.ContainsFunc(capabilities, func(known []cms.Cipher) bool {
			return known != nil && !slices.Contains(known, c)
		}) {
			return c
		}
	}
	// Every program since RFC 3851 has it, whatever it says of itself.
	return cms.AES128CBC
}
