package peers

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// A damage is a change to a message. It returns what is left of the message
// and of the content of a detached signature.
type damage struct {
	name  string
	on    func(op *Op) bool // whether it can be done to such a message
	apply func(t *testing.T, message, detached []byte) ([]byte, []byte)
}

// replaceOnce changes text that must be there exactly once.
func replaceOnce(t *testing.T, data []byte, from, to string) []byte {
	if bytes.Count(data, []byte(from)) != 1 {
		t.Errorf("%q is not once in the message", from)
	}
	return bytes.Replace(data, []byte(from), []byte(to), 1)
}

// flip changes one bit, counted in octets from the end.
func flip(data []byte, fromEnd int) []byte {
	changed := bytes.Clone(data)
	changed[len(data)-1-fromEnd] ^= 1
	return changed
}

// readable reports whether the content can be seen in the message.
func readable(op *Op) bool {
	return op.Kind == Signed && (op.Format == DER || op.Detached) || op.Kind == Authenticated || op.Kind == Digested
}

// definite reports whether the message is in DER and is known to end with the
// last octet of the signature or MAC of op.
func definite(maker Peer, op *Op) bool {
	ends := op.Kind == Signed && op.CounterSigner == "" || op.Kind == Enveloped && op.AEAD()
	return ends && op.Format == DER && !op.BER && (maker.Name() == "openssl" || maker.Name() == "bouncycastle")
}

var damages = []damage{
	{
		"content", readable,
		func(t *testing.T, message, detached []byte) ([]byte, []byte) {
			if detached != nil {
				return message, replaceOnce(t, detached, "Line 1", "line 1")
			}
			return replaceOnce(t, message, "Line 1", "line 1"), nil
		},
	},
	{
		"truncated", func(op *Op) bool { return true },
		func(_ *testing.T, message, detached []byte) ([]byte, []byte) {
			return message[:len(message)/2], detached
		},
	},
}

var endDamages = []damage{
	{
		"last octet", nil,
		func(_ *testing.T, message, detached []byte) ([]byte, []byte) { return flip(message, 0), detached },
	},
	{
		// The MAC of an AEAD is a value of 16 octets with two in front; for a
		// signature this is another octet of the value.
		"before the MAC", nil,
		func(_ *testing.T, message, detached []byte) ([]byte, []byte) { return flip(message, 18), detached },
	},
}

// TestTampering checks that every peer refuses what has been changed, so that
// its consent means something.
func TestTampering(t *testing.T) {
	var list []*Op
	for _, op := range slices.Concat(signedOps(), envelopedOps(), otherOps()) {
		if op.Kind == Signed || op.Kind == Authenticated || op.Kind == Digested || op.Kind == Enveloped && op.AEAD() {
			list = append(list, op)
		}
	}
	tried := make(map[string]int)
	eachMade(t, list, content, func(maker Peer, op *Op, message []byte) {
		ways := slices.DeleteFunc(slices.Clone(damages), func(d damage) bool { return !d.on(op) })
		if definite(maker, op) {
			ways = append(ways, endDamages...)
		}
		var detached []byte
		if op.Detached && op.Format == DER {
			detached = content(op)
		}
		for _, d := range ways {
			bad, badDetached := d.apply(t, message, detached)
			for _, opener := range found {
				if opener.CanOpen(op) != nil {
					continue
				}
				tried[opener.Name()+": "+d.name]++
				_, err := opener.Open(t.Context(), op, bad, badDetached)
				var refused *RefusedError
				if !errors.As(err, &refused) {
					t.Errorf("%s: %s made by %s: %s: %v", d.name, op, maker.Name(), opener.Name(), err)
				}
			}
		}
	})
	for _, d := range slices.Concat(damages, endDamages) {
		for _, p := range found {
			n := tried[p.Name()+": "+d.name]
			t.Logf("%s: %s: %d messages", d.name, p.Name(), n)
			if n == 0 {
				t.Errorf("%s: nothing tried with %s", d.name, p.Name())
			}
		}
	}
}

// TestStranger checks that a signature that leads to no root is refused.
func TestStranger(t *testing.T) {
	op := &Op{Kind: Signed, Signers: []string{"stranger"}}
	tried := 0
	for _, maker := range []Peer{peer("openssl"), peer("bouncycastle")} { // the others do not even sign
		if maker == nil {
			continue
		}
		message, err := maker.Make(t.Context(), op, content(op))
		if err != nil {
			t.Fatal(err)
		}
		for _, opener := range found {
			tried++
			_, err = opener.Open(t.Context(), op, message, nil)
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("made by %s: %s: %v", maker.Name(), opener.Name(), err)
			}
		}
	}
	if tried == 0 {
		t.Skip("neither openssl nor bouncycastle is there to sign")
	}
}

// TestWrongKey checks that a message opens with no other key than its own.
func TestWrongKey(t *testing.T) {
	const cipher = "aes-256-cbc"
	for _, c := range []struct{ made, opened Op }{
		{Op{Recipients: []string{"rsa"}}, Op{Recipients: []string{"other"}}},
		{Op{Recipients: []string{"p256"}}, Op{Recipients: []string{"p384"}}},
		{Op{Recipients: []string{"p256"}}, Op{Recipients: []string{"rsa"}}},
		{Op{KEK: testKEK}, Op{KEK: &KEK{testKEK.ID, []byte("0123456789ABCDEF")}}},
		{Op{KEK: testKEK}, Op{KEK: &KEK{[]byte("x"), testKEK.Key}}},
		{Op{Password: testPassword}, Op{Password: "battery staple"}},
	} {
		c.made.Kind, c.made.Cipher = Enveloped, cipher
		c.opened.Kind, c.opened.Cipher = Enveloped, cipher
		tried := 0
		eachMade(t, []*Op{&c.made}, content, func(maker Peer, _ *Op, message []byte) {
			for _, opener := range found {
				if opener.CanOpen(&c.opened) != nil || opener.CanOpen(&c.made) != nil {
					continue
				}
				tried++
				_, err := opener.Open(t.Context(), &c.opened, message, nil)
				var refused *RefusedError
				if !errors.As(err, &refused) {
					t.Errorf("%s made by %s, opened as %s by %s: %v",
						&c.made, maker.Name(), &c.opened, opener.Name(), err)
				}
			}
		})
		if tried == 0 && peer("openssl") != nil {
			t.Errorf("nothing tried with %s", &c.made)
		}
	}
}

// TestCountersignature checks who looks at countersignatures: one that is not
// valid is refused by Bouncy Castle and ignored by all others.
func TestCountersignature(t *testing.T) {
	maker := peer("bouncycastle")
	if maker == nil {
		t.Skip("bouncycastle is not there to countersign")
	}
	op := &Op{Kind: Signed, Signers: []string{"rsa"}, CounterSigner: "p256"}
	message, err := maker.Make(t.Context(), op, content(op))
	if err != nil {
		t.Fatal(err)
	}
	// The countersignature ends the message, but for ends of indefinite lengths.
	zeros := len(message) - len(bytes.TrimRight(message, "\x00"))
	bad := flip(message, zeros)
	for _, opener := range found {
		_, err = opener.Open(t.Context(), op, bad, nil)
		var refused *RefusedError
		switch {
		case opener == maker && !errors.As(err, &refused):
			t.Errorf("%s: %v", opener.Name(), err)
		case opener != maker && err != nil:
			t.Errorf("%s looks at countersignatures now: %v", opener.Name(), err)
		}
	}
}
