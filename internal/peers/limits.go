package peers

import "fmt"

// limits collects the first reason why a peer cannot do an operation.
type limits struct {
	peer string
	w    *world
	op   *Op
	what string
}

// newLimits checks that op makes sense to any peer at all. Its error is a
// caller's mistake; what a peer lacks is found by the methods and returned by
// verdict.
func newLimits(peer string, w *world, op *Op, making bool) (*limits, error) {
	if _, err := w.get(op.names()...); err != nil {
		return nil, err
	}
	l := &limits{peer: peer, w: w, op: op}
	keyless := func(m *member) bool { return m.keyFile == "" }
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{op.Kind == Signed && len(op.Signers) == 0, "a signature needs a signer"},
		{op.Detached && op.Kind != Signed, "only a signature can be detached"},
		{op.keyed() && len(op.Recipients) == 0 && op.KEK == nil && op.Password == "", "nobody to encrypt to"},
		{op.Kind == Enveloped && op.Cipher == "", "a cipher is needed"},
		{op.Kind == Encrypted && (op.Cipher == "" || op.Key == nil), "a cipher and a key are needed"},
		{making && l.anyone(op.signing(), keyless), "a signer has no private key"},
		{!making && l.anyone(op.reading(), keyless), "the reader has no private key"},
		{op.LF && op.Format != SMIME, "DER has no lines"},
	} {
		if c.bad {
			return nil, fmt.Errorf("peers: %s: %s", op, c.what)
		}
	}
	l.not(op.Format == SMIME && op.Kind != Signed && op.Kind != Enveloped && op.Kind != Compressed,
		"S/MIME type for "+op.Kind.String()+" data")
	l.not(op.AEAD() && op.Kind == Encrypted, "AEAD in EncryptedData")
	l.not(op.AEAD() && op.Kind == Authenticated, "cipher in AuthenticatedData")
	return l, nil
}

// not notes that the peer has not got what, if that is asked for.
func (l *limits) not(asked bool, what string) {
	if asked && l.what == "" {
		l.what = what
	}
}

// anyone reports whether has holds for one of the named people.
func (l *limits) anyone(names []string, has func(*member) bool) bool {
	for _, name := range names {
		if has(l.w.people[name]) {
			return true
		}
	}
	return false
}

// parties returns the names of all who could open the message.
func (l *limits) parties() []string {
	if l.op.Reader == "" {
		return l.op.Recipients
	}
	return append([]string{l.op.Reader}, l.op.Recipients...)
}

func (l *limits) verdict() error {
	if l.what == "" {
		return nil
	}
	return &UnsupportedError{l.peer, l.what}
}
