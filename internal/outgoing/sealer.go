package outgoing

import (
	"context"
	"errors"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// Keys is what is known of one account: with what it signs, and to whom it can
// encrypt. Implementations are safe for concurrent use.
type Keys interface {
	// Signer returns how to sign in the name of an address, which has to be one
	// of the account's. The error wraps ErrNoIdentity when there is no identity;
	// any other error is a failure that may pass.
	Signer(ctx context.Context, address string) (*cms.Signer, error)
	// Recipient returns the certificate to encrypt to an address with. The error
	// is a [*recipients.NoneError] or a [*recipients.UntrustedError] when there is
	// none; any other error is a failure that may pass.
	Recipient(ctx context.Context, address string) (*recipients.Candidate, error)
}

// Memory knows which messages came encrypted. Implementations are safe for
// concurrent use.
type Memory interface {
	// CameEncrypted tells whether one of these Message-IDs, without angle
	// brackets, is that of a message that came encrypted to an account.
	CameEncrypted(ctx context.Context, account string, messageIDs []string) (bool, error)
}

// A Sealer applies a policy to messages. It is not changed while it is used, and
// may be used by several goroutines.
type Sealer struct {
	// Rules is the policy; it is required. Tags are how people ask for more.
	Rules *policy.Rules
	Tags  policy.Tags

	// Replies says what becomes of answers to messages that came encrypted, and
	// Memory which these are. Without a Memory there are none.
	Replies policy.Replies
	Memory  Memory

	// Headers says how the header of what is encrypted is protected; that of what
	// is signed alone stays readable.
	Headers smime.HeaderPolicy

	// MaxMessage bounds a message, in octets; 0: no limit.
	MaxMessage int64
	// SpoolDir is the folder of temporary files. "": the system's.
	SpoolDir string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// oldest is a time before which no clock can be that runs this program.
var oldest = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// now returns the time, or ErrClock in an UnavailableError.
func (s *Sealer) now() (time.Time, error) {
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	if now.Before(oldest) {
		return now, &UnavailableError{What: "No certificate can be judged now", Err: ErrClock}
	}
	return now, nil
}

// validAt is nil for a certificate that is valid.
func validAt(c *pki.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return ErrNotValid
	}
	return nil
}

// A Recipient is one of a message's.
type Recipient struct {
	Address string
	// Found is what to encrypt with; nil when there is nothing.
	Found *recipients.Candidate
	// Err says why there is nothing.
	Err error
}

// policy returns what the policy has to know.
func (r *Recipient) policy(hidden bool) policy.Recipient {
	return policy.Recipient{Address: r.Address, Hidden: hidden, Certificate: r.Found != nil, Err: r.Err}
}

// LookUp finds the certificate of a recipient, and refuses one who cannot get a
// message as the rules require: the error is a [*policy.Refusal] then. It is an
// [*UnavailableError] when it cannot be found out whether there is a certificate,
// unless the rules want none. from is the sender of the envelope; keys are nil
// for nobody's.
//
// Whether there is an identity is asked when the message is there, since its From
// field counts.
func (s *Sealer) LookUp(ctx context.Context, keys Keys, from, address string) (Recipient, error) {
	r := Recipient{Address: address}
	now, err := s.now()
	if err == nil {
		err = r.find(ctx, keys, now)
	}
	if err != nil {
		if s.Rules.For(from, address).Encrypt != policy.EncryptNever {
			return r, err
		}
		r.Err = err
	}
	if refusal := s.Rules.Check(policy.Sender{Address: from, Identity: true}, r.policy(false), policy.Wish{}); refusal != nil {
		return r, refusal
	}
	return r, nil
}

// find asks the keys. Its error is that nothing is known.
func (r *Recipient) find(ctx context.Context, keys Keys, now time.Time) error {
	if keys == nil {
		r.Err = errNoKeys
		return nil
	}
	found, err := keys.Recipient(ctx, r.Address)
	switch {
	case err == nil:
		if r.Err = validAt(found.Certificate, now); r.Err == nil {
			r.Found = found
		}
	case errors.As(err, new(*recipients.NoneError)), errors.As(err, new(*recipients.UntrustedError)):
		r.Err = err
	default:
		return &UnavailableError{What: "Whether there is a certificate for this recipient cannot be found out now", Err: err}
	}
	return nil
}
