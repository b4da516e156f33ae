package smime

import (
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/pki"
)

// ReadOptions says how a message is opened and judged. The zero value lacks
// Trust, which is required. It is not modified.
type ReadOptions struct {
	// Trust decides about signers whose signature is valid. Nil is a
	// cms.UsageError; cms.InsecureTrustAnySigner asks nothing.
	Trust cms.Trust

	// Identities are tried in their order on encrypted layers.
	Identities []cms.Identity

	// Certificates are more certificates to look for signers and their issuers
	// in, beside those in the message.
	Certificates []*pki.Certificate

	// Allow lets weak algorithms pass. Nil is none.
	Allow []cms.Allowance

	// Time is when validity is judged. Zero is now.
	Time time.Time

	// Layers is how many layers are opened; a message with more of them is a
	// cms.LimitError. 0: 10. OneLayer opens the outermost one alone and leaves
	// what it holds as it is, without error.
	Layers   int
	OneLayer bool

	// NoSenderCheck leaves out the comparison of the From field with the mail
	// addresses of the signer (RFC 8550, Section 3).
	NoSenderCheck bool

	// CMS are the limits of each layer. Nil is the defaults.
	CMS *cms.Limits

	// MaxHeader is the greatest size in octets of the header of the message and
	// of each entity in it. 0: 1 MiB.
	MaxHeader int

	// MaxContent is the greatest size in octets of what is held: the message or
	// the content of a layer. 0: no limit but that of the temporary files'
	// folder and of CMS.
	MaxContent int64

	// SpoolMemory is how much of each layer that must be held is held in memory,
	// in octets; more goes to a temporary file, encrypted under a key that is
	// never written. 0: 1 MiB.
	SpoolMemory int

	// SpoolDir is the folder of the temporary files. "": the system's.
	SpoolDir string

	// Stage, if it is not nil, takes the opened message while it is judged, in the
	// given Form, so that it need not be copied when the verdict is there. Where that
	// cannot be done, it is not used: see [Message.Staged]. It is not closed, and
	// Message reads from it until Message.Close.
	Stage Stage
	Form  Form
}
