package smime

import (
	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
)

// A Status is what RFC 9219, Section 3 says in a word of the signatures on the
// content of a message.
type Status string

// The statuses. A message that is encrypted and not signed is StatusUnknown, as
// is one that is neither.
const (
	StatusUnknown                 Status = "unknown"                   // no signature counts for the content
	StatusSigned                  Status = "signed"                    // signed; nobody was asked whether the signer is trusted
	StatusSignedVerified          Status = "signed/verified"           // signed by whom is trusted
	StatusSignedFailed            Status = "signed/failed"             // signed, and a signature or its signer is not good
	StatusEncryptedSignedVerified Status = "encrypted+signed/verified" // as above, and was encrypted
	StatusEncryptedSignedFailed   Status = "encrypted+signed/failed"
)

// The types of layers.
const (
	TypeMultipartSigned = "multipart/signed" // RFC 8551, Section 3.5.3
	TypeSigned          = "signed-data"
	TypeEnveloped       = "enveloped-data"
	TypeAuthEnveloped   = "authEnveloped-data"
	TypeCompressed      = "compressed-data"
	TypeCertsOnly       = "certs-only"
	TypeAuthenticated   = "authenticated-data"
	TypeDigested        = "digested-data"
	TypeEncrypted       = "encrypted-data" // never opened: its key is not in the message
	TypeData            = "data"           // a CMS message that protects nothing
	TypeUnknown         = "unknown"        // said to be S/MIME, and could not be read
)

// A Layer is one protection around the content of a message.
type Layer struct {
	// Type is one of the constants above.
	Type string

	// Err is nil if and only if the layer is good: opened, and every signature
	// valid and its signer trusted. Else it is the error of package cms
	// (*VerifyError, *NoMatchError, ErrDecrypt, *SyntaxError, …) or a
	// *StructureError.
	Err error

	// Warnings are observations that do not make the layer bad.
	Warnings []error

	// ContentType is the type of what the layer holds; cms.TypeData stands for
	// a MIME entity. It is "" when the layer was not opened.
	ContentType cms.OID

	// Encrypted says that the layer encrypts, whether or not it was opened.
	// Authenticated says that it was opened with an authenticated cipher or a
	// message authentication code, so that nobody changed the content on the
	// way. Cipher names the content cipher, or the MAC, once it is known.
	Encrypted     bool
	Authenticated bool
	Cipher        string
	Recipients    []cms.RecipientInfo

	// Signers is what was found out about each signer of a signature layer.
	Signers []*cms.SignerResult

	// Certificates, CRLs, and other revocation information as
	// [pki.ParseRevocationInfo] reads it, came with the layer. Nothing vouches for
	// them.
	Certificates    []*pki.Certificate
	CRLs            [][]byte
	OtherRevocation [][]byte

	withheld bool // decryption failed after a key was found: nothing may be released
}

// Signature reports whether the layer is a signature, whatever its verdict.
func (l *Layer) Signature() bool { return l.Type == TypeMultipartSigned || l.Type == TypeSigned }
