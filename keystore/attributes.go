package keystore

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// ParseCapabilities returns the ciphers of a signer's SMIMECapabilities that are
// written here, in the signer's order (RFC 8551, Section 2.5.2). It is nil when
// there is no such attribute or it is malformed. The attributes have to be
// those of a signature that was found to be valid.
//
//	SMIMECapabilities ::= SEQUENCE OF SMIMECapability
//	SMIMECapability ::= SEQUENCE {
//	  capabilityID OBJECT IDENTIFIER,
//	  parameters ANY DEFINED BY capabilityID OPTIONAL }
func ParseCapabilities(signed cms.Attributes) []cms.Cipher {
	value, ok := signed.Get(oid.AttrSMIMECapabilities)
	s := cryptobyte.String(value)
	var list cryptobyte.String
	if !ok || !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return nil
	}
	out := []cms.Cipher{}
	for !list.Empty() {
		var capability der.Algorithm // of the same form
		if !der.ReadAlgorithm(&list, &capability) {
			return nil
		}
		entry, known := alg.CipherByOID(capability.OID)
		if c := cms.Cipher(entry.Name); known && entry.Weak == "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// ParsePreference returns the name of the certificate that a signer wants to be
// used for encryption. named is false when the attributes say nothing of it;
// ok is false when what they say cannot be read.
//
//	SMIMEEncryptionKeyPreference ::= CHOICE { -- RFC 8551, Section 2.5.3
//	  issuerAndSerialNumber   [0] IssuerAndSerialNumber,
//	  receipentKeyId          [1] RecipientKeyIdentifier,
//	  subjectAltKeyIdentifier [2] SubjectKeyIdentifier }
//
// QUIRK(Outlook): it has an attribute of its own, which holds the
// IssuerAndSerialNumber alone. It sends both.
func ParsePreference(signed cms.Attributes) (id cms.CertificateID, named, ok bool) {
	if signed.Has(oid.AttrEncrypKeyPref) {
		value, one := signed.Get(oid.AttrEncrypKeyPref)
		id, ok = parsePreference(value)
		return id, true, one && ok
	}
	if signed.Has(oid.AttrMSEncrypKeyPref) {
		value, one := signed.Get(oid.AttrMSEncrypKeyPref)
		s := cryptobyte.String(value)
		var seq cryptobyte.String
		ok = one && s.ReadASN1(&seq, asn1.SEQUENCE) && s.Empty() && readIssuerAndSerial(seq, &id)
		return id, true, ok
	}
	return id, false, true
}

func parsePreference(value []byte) (id cms.CertificateID, ok bool) {
	s := cryptobyte.String(value)
	var content cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&content, &tag) || !s.Empty() {
		return id, false
	}
	switch tag { // RFC 8551, Appendix A: the tags are implicit
	case der.Context(0, true):
		return id, readIssuerAndSerial(content, &id)
	case der.Context(1, true):
		// The date and other attributes that may follow say nothing of the key.
		return id, der.ReadOctets(&content, &id.SubjectKeyID, -1) && len(id.SubjectKeyID) > 0
	case der.Context(2, false):
		id.SubjectKeyID = content
		return id, len(content) > 0
	}
	return id, false
}

func readIssuerAndSerial(s cryptobyte.String, id *cms.CertificateID) bool {
	var issuer, serial cryptobyte.String
	if !s.ReadASN1Element(&issuer, asn1.SEQUENCE) || !s.ReadASN1(&serial, asn1.INTEGER) || !s.Empty() || len(serial) == 0 {
		return false
	}
	id.Issuer, id.Serial = issuer, serial
	return true
}
