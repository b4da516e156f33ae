package outgoing

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/smime"
)

// An Envelope is who sends a message to whom.
type Envelope struct {
	// Account is the login name of the sender, and Keys are those of the account;
	// nil for nobody's.
	Account string
	Keys    Keys
	From    string
	To      []Recipient // as LookUp returned them
}

// A Plan is who gets which form of a message.
type Plan struct {
	// Copies are the forms. One that is not signed or encrypted is the message as
	// Message.Reader gives it.
	Copies []policy.Copy

	s       *Sealer
	m       *Message
	e       *Envelope
	signers []cms.Signer
}

// Plan decides. The message belongs to the caller, who closes it after the last
// call of Seal. The error is a [*RefusedError], ErrClearReply, ErrHeader,
// or an [*UnavailableError].
//
// What a sender encrypted goes out as it is; so does what it signed, unless
// encryption is required, which goes around the signature then.
func (s *Sealer) Plan(ctx context.Context, e *Envelope, m *Message) (*Plan, error) {
	return s.plan(ctx, e, m, func(from policy.Sender, to []policy.Recipient, w policy.Wish) ([]policy.Copy, []*policy.Refusal, error) {
		copies, refusals := s.Rules.Plan(from, to, w)
		return copies, refusals, nil
	})
}

// PlanOne is Plan where all recipients have to get the same form, as
// policy.Rules.PlanOne has it. The error may be a [*policy.ConflictError] too.
func (s *Sealer) PlanOne(ctx context.Context, e *Envelope, m *Message) (*Plan, error) {
	return s.plan(ctx, e, m, func(from policy.Sender, to []policy.Recipient, w policy.Wish) ([]policy.Copy, []*policy.Refusal, error) {
		c, refusals, err := s.Rules.PlanOne(from, to, w)
		return []policy.Copy{c}, refusals, err
	})
}

// A decision is that of the rules.
type decision func(policy.Sender, []policy.Recipient, policy.Wish) ([]policy.Copy, []*policy.Refusal, error)

func (s *Sealer) plan(ctx context.Context, e *Envelope, m *Message, decide decision) (*Plan, error) {
	p := &Plan{s: s, m: m, e: e}
	if m.Encrypted {
		p.Copies = []policy.Copy{{Recipients: addressesOf(e.To)}}
		return p, nil
	}
	wish, secret, err := s.answer(ctx, e, m)
	if err != nil {
		return nil, err
	}
	from, err := p.sender(ctx, wish)
	if err != nil {
		return nil, err
	}
	var refusals []*policy.Refusal
	if p.Copies, refusals, err = decide(from, p.recipients(), wish); err != nil {
		return nil, err
	}
	if len(refusals) > 0 {
		return nil, &RefusedError{Refusals: refusals}
	}
	if secret && slices.ContainsFunc(p.Copies, func(c policy.Copy) bool { return !c.Encrypt }) {
		return nil, ErrClearReply
	}
	if slices.ContainsFunc(p.Copies, func(c policy.Copy) bool { return c.Encrypt }) &&
		slices.ContainsFunc(m.Header.Fields, func(f mimeraw.Field) bool { return f.Name() == "" }) {
		return nil, ErrHeader
	}
	return p, nil
}

func addressesOf(list []Recipient) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].Address
	}
	return out
}

// answer returns what is asked for of a message by tags and since it may answer
// one that came encrypted, and whether it must not go out in the clear.
func (s *Sealer) answer(ctx context.Context, e *Envelope, m *Message) (policy.Wish, bool, error) {
	ids := m.Answers()
	if s.Replies == policy.RepliesFree || s.Memory == nil || len(ids) == 0 {
		return m.Wish, false, nil
	}
	came, err := s.Memory.CameEncrypted(ctx, e.Account, ids)
	if err != nil {
		return m.Wish, false, &UnavailableError{What: "Whether this answers an encrypted message cannot be found out now", Err: err}
	}
	if !came {
		return m.Wish, false, nil
	}
	return m.Wish.Add(policy.Wish{Encrypt: s.Replies == policy.RepliesEncrypt}), true, nil
}

// sender returns what the policy has to know of the sender, and notes how to
// sign. Where nobody asks for a signature, the key is left alone: it may be
// locked.
func (p *Plan) sender(ctx context.Context, wish policy.Wish) (policy.Sender, error) {
	from := policy.Sender{Address: p.m.From, Also: p.e.From, Signed: p.m.Signed}
	if from.Address == "" {
		from.Address = p.e.From
	}
	asked := slices.ContainsFunc(p.e.To, func(r Recipient) bool {
		return p.s.Rules.Asks(from, r.Address, wish).Sign != policy.SignNever
	})
	if p.m.Signed || !asked {
		return from, nil
	}
	now, err := p.s.now()
	if err != nil {
		return from, err
	}
	signer, err := p.signer(ctx, from.Address)
	if err == nil {
		err = validAt(signer.Certificate, now)
	}
	switch {
	case err == nil:
		from.Identity, p.signers = true, []cms.Signer{*signer}
	case errors.Is(err, ErrNoIdentity), errors.Is(err, ErrNotValid):
		from.Err = err
	default:
		return from, &UnavailableError{What: "The sender's private key cannot be used now", Err: err}
	}
	return from, nil
}

func (p *Plan) signer(ctx context.Context, address string) (*cms.Signer, error) {
	if p.e.Keys == nil {
		return nil, ErrNoIdentity
	}
	return p.e.Keys.Signer(ctx, address)
}

// recipients returns those of the envelope as the policy wants them.
func (p *Plan) recipients() []policy.Recipient {
	out := make([]policy.Recipient, len(p.e.To))
	for i := range p.e.To {
		normal, err := keystore.NormalizeAddress(p.e.To[i].Address)
		out[i] = p.e.To[i].policy(err != nil || !p.m.named[normal])
	}
	return out
}

// Content is a message that is ready to go out: its line ends are CRLF, the last
// one included. Close must be called.
type Content struct {
	buf   *spool.Buffer
	owned bool
}

// Size returns the size in octets.
func (c *Content) Size() int64 { return c.buf.Size() }

// NewReader returns a reader of all of it.
func (c *Content) NewReader() io.Reader { return c.buf.NewReader() }

// Close frees what holds the message.
func (c *Content) Close() {
	if c.owned {
		_ = c.buf.Close() // what it held is sent, or not needed any more
	}
}

// errLineEnds is a mistake of this program.
var errLineEnds = errors.New("a bare line end in a message that was made here")

// Seal makes a copy. It is whole when it is returned. The content of one that is
// left alone is valid until the message is closed.
func (p *Plan) Seal(c policy.Copy) (*Content, error) {
	if c.Untouched() && !p.m.changed {
		return &Content{buf: p.m.raw}, nil
	}
	out := &Content{buf: spool.New(spool.Options{Dir: p.s.SpoolDir}), owned: true}
	var scan mimeraw.Scan
	err := p.write(io.MultiWriter(out.buf, &scan), c)
	if err == nil && (scan.BareCR() || scan.BareLF()) {
		err = errLineEnds // it could end the message where others end it
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

func (p *Plan) write(out io.Writer, c policy.Copy) error {
	if c.Untouched() {
		return pour(out, p.m.Reader())
	}
	var signers []cms.Signer
	if c.Sign {
		signers = p.signers
	}
	signing := &smime.SignOptions{SpoolDir: p.s.SpoolDir}
	var w io.WriteCloser
	var err error
	if c.Encrypt {
		opts := &smime.EncryptOptions{Signers: signers, Sign: signing, Headers: p.s.Headers, SpoolDir: p.s.SpoolDir}
		var to []cms.Recipient
		for _, address := range c.Recipients {
			i := slices.IndexFunc(p.e.To, func(r Recipient) bool { return r.Address == address })
			found := p.e.To[i].Found
			to = append(to, &cms.CertificateRecipient{Certificate: found.Certificate})
			opts.Capabilities = append(opts.Capabilities, found.Capabilities)
		}
		w, err = smime.Encrypt(out, to, opts)
	} else {
		if p.s.Headers != smime.HeadersUnprotected {
			signing.Headers = smime.HeadersVisible
		}
		w, err = smime.Sign(out, signers, signing)
	}
	if err != nil {
		return err
	}
	if err = pour(w, p.m.Reader()); err != nil {
		return err
	}
	return w.Close()
}

// copies are buffers for messages on their way from one place to another.
var copies = sync.Pool{New: func() any { return new([block]byte) }}

// pour copies a message. What was in the buffer is overwritten.
func pour(dst io.Writer, src io.Reader) error {
	buf := copies.Get().(*[block]byte)
	defer func() {
		clear(buf[:])
		copies.Put(buf)
	}()
	// A reader of several parts would make a buffer of its own.
	_, err := io.CopyBuffer(dst, struct{ io.Reader }{src}, buf[:])
	return err
}
