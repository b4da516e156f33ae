package smime

import "github.com/postseal/postseal/cms"

// SignOptions says how a message is signed. Nil is the zero value.
type SignOptions struct {
	// Opaque makes an application/pkcs7-mime that carries the content (RFC
	// 8551, Section 3.5.2) in place of a multipart/signed (Section 3.5.3), which
	// can be read without S/MIME.
	Opaque bool

	// Headers says whether the fields of the message are signed, too (RFC 9788).
	// All of them stay in front. EncryptOptions has its own for messages that are
	// encrypted.
	Headers HeaderPolicy

	// CMS are the options of the signature. ContentType and Size are ignored.
	CMS *cms.SignOptions

	// Capabilities are the ciphers that the signers want to be answered with,
	// the best first. They are signed in the attribute SMIMECapabilities (RFC
	// 8551, Section 2.5.2) of every signer who has none in Signed. Nil is all
	// that this module reads; an empty list leaves the attribute out.
	Capabilities []cms.Cipher

	// SevenBit says that the message is known to be fit for every way through
	// mail servers: nothing of it is looked at, and only line ends are changed.
	SevenBit bool

	// SpoolMemory is how much of a part that must be seen whole before it can be
	// written is held in memory, in octets; more goes to a temporary file,
	// encrypted under a key that is never written. 0: 1 MiB. Nothing is held of
	// parts with a Content-Transfer-Encoding other than 7bit.
	SpoolMemory int

	// SpoolDir is the folder of the temporary file. "": the system's.
	SpoolDir string

	// Survey, if it is not nil, makes holding parts needless.
	Survey *Survey
}

// EncryptOptions says how a message is encrypted. Nil is the zero value.
type EncryptOptions struct {
	// Signers, when there are any, sign the message before it is encrypted, as
	// Sign says. Sign is nil for the zero value.
	Signers []cms.Signer
	Sign    *SignOptions

	// Headers says whether the fields of the message are protected like its body,
	// and which of them are hidden (RFC 9788). NoLegacyDisplay leaves out what the
	// text begins with where fields are hidden: these fields, for people whose
	// programs do not know how to find them. Read takes that away again.
	Headers         HeaderPolicy
	NoLegacyDisplay bool

	// Compress compresses the content, signed or not, before it is encrypted
	// (RFC 3274). Few programs can read that.
	Compress bool

	// Cipher is the content cipher. "": the best one that all recipients whose
	// Capabilities are known can read, which is AES-256-GCM when none are known
	// and AES-128-CBC when they have none in common (RFC 8551, Section 2.7).
	Cipher cms.Cipher

	// Capabilities are those of the recipients, in any order, as
	// ParseCapabilities finds them in signed mail. Nil entries are unknown.
	Capabilities [][]cms.Cipher

	// CMS are further options: Authenticated and Unprotected. The others are
	// ignored.
	CMS *cms.EncryptOptions

	// SpoolMemory and SpoolDir are as in SignOptions; they are used for messages
	// that are not signed.
	SpoolMemory int
	SpoolDir    string

	// Survey is as in SignOptions, and takes the place of that of Sign.
	Survey *Survey
}

// CompressOptions says how a message is compressed. Nil is the zero value.
type CompressOptions struct {
	// SpoolMemory and SpoolDir are as in SignOptions.
	SpoolMemory int
	SpoolDir    string
}
