package peers

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

var testKEK = &KEK{ID: []byte{0xC0, 0xFE, 0xE0}, Key: []byte("0123456789abcdef")}

const testPassword = "correct horse"

var ciphers = []string{
	"aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3",
	"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "aes-128-ccm", "aes-256-ccm",
}

// signedOps returns what is signed in every format and layout.
func signedOps() (list []*Op) {
	for _, shape := range []Op{
		{Format: DER}, {Format: DER, BER: true}, {Format: SMIME}, {Format: SMIME, BER: true}, {Format: SMIME, LF: true},
	} {
		for _, detached := range []bool{false, true} {
			add := func(op Op) {
				op.Kind, op.Format, op.BER, op.LF, op.Detached = Signed, shape.Format, shape.BER, shape.LF, detached
				list = append(list, &op)
			}
			for _, who := range []string{"rsa", "p256", "ed25519", "sub"} {
				add(Op{Signers: []string{who}})
			}
			add(Op{Signers: []string{"p384"}, Digest: "sha384"})
			add(Op{Signers: []string{"p521"}, Digest: "sha512"})
			add(Op{Signers: []string{"rsa", "p256"}})
			add(Op{Signers: []string{"rsa"}, PSS: true})
			add(Op{Signers: []string{"rsa"}, KeyID: true})
			add(Op{Signers: []string{"rsa"}, NoAttrs: true})
			add(Op{Signers: []string{"rsa"}, CounterSigner: "p256"})
		}
	}
	for _, digest := range []string{"sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"} {
		list = append(list,
			&Op{Kind: Signed, Signers: []string{"rsa"}, Digest: digest},
			&Op{Kind: Signed, Signers: []string{"rsa"}, Digest: digest, PSS: true},
			&Op{Kind: Signed, Signers: []string{"p256"}, Digest: digest},
			&Op{Kind: Signed, Signers: []string{"p384"}, Digest: digest})
	}
	return list
}

// envelopedOps returns what is encrypted, to every kind of recipient.
func envelopedOps() (list []*Op) {
	add := func(op Op) {
		op.Kind = Enveloped
		list = append(list, &op)
	}
	for _, shape := range []Op{{Format: DER}, {Format: DER, BER: true}, {Format: SMIME}, {Format: SMIME, BER: true}} {
		for _, cipher := range ciphers {
			add(Op{Format: shape.Format, BER: shape.BER, Recipients: []string{"rsa"}, Cipher: cipher})
			add(Op{Format: shape.Format, BER: shape.BER, Recipients: []string{"p256"}, Cipher: cipher})
			add(Op{Format: shape.Format, BER: shape.BER, KEK: testKEK, Cipher: cipher})
			add(Op{Format: shape.Format, BER: shape.BER, Password: testPassword, Cipher: cipher})
		}
	}
	for _, digest := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
		for _, who := range []string{"p256", "p384", "p521"} {
			add(Op{Recipients: []string{who}, Cipher: "aes-128-cbc", KDF: digest})
			add(Op{Recipients: []string{who}, Cipher: "aes-256-gcm", KDF: digest})
		}
		add(Op{Recipients: []string{"rsa"}, Cipher: "aes-128-cbc", OAEP: digest})
		add(Op{Recipients: []string{"rsa"}, Cipher: "aes-256-gcm", OAEP: digest})
	}
	for _, who := range []string{"rsa", "other", "p256", "p384"} {
		all := []string{"rsa", "p256", "other", "p384"}
		add(Op{Recipients: all, Reader: who, Cipher: "aes-128-cbc"})
		add(Op{Recipients: all, Reader: who, Cipher: "aes-128-cbc", KeyID: true})
		add(Op{Recipients: all, Reader: who, Cipher: "aes-128-gcm", KeyID: true})
		add(Op{Recipients: all, Reader: who, Cipher: "aes-256-cbc", KEK: testKEK, Password: testPassword})
	}
	add(Op{Recipients: []string{"rsa", "other"}, Reader: "rsa", Cipher: "aes-128-cbc"})
	add(Op{Recipients: []string{"rsa", "other"}, Reader: "other", Cipher: "aes-128-cbc"})
	return list
}

// otherOps returns what is neither signed nor enveloped.
func otherOps() (list []*Op) {
	for _, ber := range []bool{false, true} {
		for _, digest := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
			list = append(list,
				&Op{Kind: Authenticated, BER: ber, Digest: digest, Recipients: []string{"rsa"}},
				&Op{Kind: Authenticated, BER: ber, Digest: digest, Recipients: []string{"p256"}, NoAttrs: true},
				&Op{Kind: Authenticated, BER: ber, Digest: digest, KEK: testKEK},
				&Op{Kind: Authenticated, BER: ber, Digest: digest, Password: testPassword},
				&Op{Kind: Digested, BER: ber, Digest: digest})
		}
		for cipher, size := range map[string]int{"aes-128-cbc": 16, "aes-192-cbc": 24, "aes-256-cbc": 32, "des3": 24} {
			key := []byte("0123456789abcdef01234567ABCDEF01")[:size]
			list = append(list, &Op{Kind: Encrypted, BER: ber, Cipher: cipher, Key: key})
		}
		list = append(list, &Op{Kind: Compressed, BER: ber}, &Op{Kind: Compressed, BER: ber, Format: SMIME})
	}
	return list
}

// content returns what an operation is tried with.
func content(op *Op) []byte {
	if op.Format == SMIME {
		return []byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nLine 1\r\nline 2\r\n")
	}
	return []byte("Line 1\nand \x00\xFF line 2")
}

// eachMade calls try with a message from every peer that can make one, for
// every operation.
func eachMade(t *testing.T, list []*Op, content func(*Op) []byte, try func(maker Peer, op *Op, message []byte)) {
	for _, op := range list {
		for _, maker := range found {
			if maker.CanMake(op) != nil {
				continue
			}
			message, err := maker.Make(t.Context(), op, content(op))
			if err != nil {
				t.Errorf("%s made by %s: %v", op, maker.Name(), err)
				continue
			}
			try(maker, op, message)
		}
	}
}

// TestMatrix has every peer open what every peer makes.
func TestMatrix(t *testing.T) {
	pairs := make(map[string]int)
	list := slices.Concat(signedOps(), envelopedOps(), otherOps())
	eachMade(t, list, content, func(maker Peer, op *Op, message []byte) {
		for _, opener := range found {
			if opener.CanOpen(op) != nil {
				continue
			}
			pairs[maker.Name()+" -> "+opener.Name()]++
			got, err := opener.Open(t.Context(), op, message, content(op))
			if err != nil {
				t.Errorf("%s: %s -> %s: %v", op, maker.Name(), opener.Name(), err)
			} else if !bytes.Equal(got, content(op)) {
				t.Errorf("%s: %s -> %s: content is %q", op, maker.Name(), opener.Name(), got)
			}
		}
	})
	for _, maker := range found {
		for _, opener := range found {
			pair := maker.Name() + " -> " + opener.Name()
			t.Logf("%s: %d messages", pair, pairs[pair])
			if pairs[pair] < 5 {
				t.Errorf("%s: only %d messages", pair, pairs[pair])
			}
		}
	}
}

// TestSizes tries contents from nothing to 10 MiB.
func TestSizes(t *testing.T) {
	big := make([]byte, 10<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(big)
	opened := make(map[int]int)
	for _, size := range []int{0, 1, 15, 16, 10 << 10, 10 << 20} {
		text := big[:size]
		list := []*Op{
			{Kind: Signed, Signers: []string{"rsa"}},
			{Kind: Signed, Signers: []string{"rsa"}, BER: true},
			{Kind: Signed, Signers: []string{"rsa"}, Detached: true},
			{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "aes-128-cbc"},
			{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "aes-128-cbc", BER: true},
			{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "aes-256-gcm"},
		}
		for _, op := range list {
			op.Empty = size == 0
		}
		eachMade(t, list, func(*Op) []byte { return text }, func(maker Peer, op *Op, message []byte) {
			for _, opener := range found {
				if opener.CanOpen(op) != nil {
					continue
				}
				opened[size]++
				got, err := opener.Open(t.Context(), op, message, text)
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s: %s -> %s: %d octets became %d: %v", op, maker.Name(), opener.Name(), size, len(got), err)
				}
			}
		})
		if opened[size] < 2*len(found) {
			t.Errorf("%d octets: only %d messages were opened", size, opened[size])
		}
	}
	t.Log(opened)
}
