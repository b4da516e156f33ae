// Package alg is the table of algorithms of S/MIME: digests, signatures, key
// transport, key agreement, key wrap, content ciphers and MACs. Each entry
// knows its identifier and parameters, its name in the command line's and
// OpenSSL's spelling, and whether it is off by default.
package alg

import (
	"errors"

	"github.com/postseal/postseal/internal/oid"
)

// Names of what is off by default, as a caller allows it. An empty name marks
// an algorithm that needs no allowance.
const (
	WeakMD4     = "md4"
	WeakMD5     = "md5"
	WeakSHA1    = "sha1"
	WeakDSA     = "dsa"
	WeakRSA1024 = "rsa1024"
	Weak3DES    = "3des"
	WeakDES     = "des"
	WeakRC2     = "rc2"
)

// MinRSABits is the size of RSA keys below which they are off by default. RFC
// 8551, Section 2.2 asks for 2048 bits, and keys of 2047 bits exist.
const MinRSABits = 2047

// ErrUnknown says that an algorithm is not in the table, or not for this use.
var ErrUnknown = errors.New("unknown algorithm")

// ErrParameters says that the parameters of an AlgorithmIdentifier do not
// decode as the algorithm's definition says.
var ErrParameters = errors.New("malformed algorithm parameters")

// names gives algorithms that the table cannot run a name for messages.
var names = map[oid.OID]string{
	oid.MD2: "MD2", oid.X448: "X448", oid.DH: "Diffie-Hellman", oid.ESDH: "ephemeral-static Diffie-Hellman",
	oid.AES128CCM: "AES-128-CCM", oid.AES192CCM: "AES-192-CCM", oid.AES256CCM: "AES-256-CCM",
	oid.RC2Wrap: "RC2 key wrap", oid.TDESWrap: "3DES key wrap",
	oid.RSA: "RSA", oid.RSAES: "RSA-OAEP", oid.RSAPSS: "RSA-PSS", oid.EC: "EC", oid.DSA: "DSA", oid.X25519: "X25519",
	oid.KEMRSA: "RSA-KEM", oid.HKDFSHA256: "HKDF with sha256", oid.HKDFSHA384: "HKDF with sha384", oid.HKDFSHA512: "HKDF with sha512",
	oid.PWRIKEK: "PWRI-KEK", oid.ZLIB: "zlib", oid.ORIKEM: "KEM",
	oid.AES128Wrap: "AES-128 key wrap", oid.AES192Wrap: "AES-192 key wrap", oid.AES256Wrap: "AES-256 key wrap",
	oid.Data: "data", oid.SignedData: "signed-data", oid.EnvelopedData: "enveloped-data", oid.DigestedData: "digested-data",
	oid.EncryptedData: "encrypted-data", oid.AuthenticatedData: "authenticated-data", oid.CompressedData: "compressed-data",
	oid.AuthEnvelopedData: "authEnveloped-data", oid.Receipt: "receipt", oid.TSTInfo: "time-stamp token",
	oid.AttrContentType: "content type", oid.AttrMessageDigest: "message digest", oid.AttrSigningTime: "signing time",
	oid.AttrCountersignature: "countersignature", oid.AttrSMIMECapabilities: "S/MIME capabilities",
	oid.AttrAlgorithmProtection: "algorithm protection", oid.AttrReceiptRequest: "receipt request", oid.AttrSecurityLabel: "security label",
	oid.AttrMLExpansionHistory: "mailing list expansion history", oid.AttrContentHint: "content hint", oid.AttrMsgSigDigest: "message signature digest",
	oid.AttrContentIdentifier: "content identifier", oid.AttrContentReference: "content reference",
	oid.AttrEncrypKeyPref: "encryption key preference", oid.AttrMSEncrypKeyPref: "encryption key preference (Microsoft)",
	oid.AttrSigningCertificate: "signing certificate", oid.AttrSigningCertV2: "signing certificate v2", oid.AttrTimeStampToken: "time-stamp token",
}

// Name returns a name for o that people know, or o itself.
func Name(o oid.OID) string {
	if d, ok := DigestByOID(o); ok {
		return d.Name
	}
	if c, ok := CipherByOID(o); ok {
		return c.Name
	}
	if m, ok := MACByOID(o); ok {
		return m.Name
	}
	if s, ok := signatureIDs[o]; ok {
		return s.name
	}
	if k, ok := agreements[o]; ok {
		return k.Name
	}
	if k, ok := KEMByOID(o); ok {
		return k.Name
	}
	if n, ok := names[o]; ok {
		return n
	}
	return string(o)
}
