package interop

import (
	"bytes"
	"math/rand/v2"

	"github.com/postseal/postseal/internal/peers"
)

// A group is a row of the matrix.
type group struct {
	name  string
	ops   []*peers.Op
	sizes []int
}

var (
	allSizes = []int{0, 1, 10 << 10, 10 << 20}
	oneSize  = []int{10 << 10}
)

var kek = &peers.KEK{ID: []byte{0xC0, 0xFE, 0xE0}, Key: []byte("0123456789abcdef0123456789abcdef")}

// content returns what an operation is tried with: for mail an entity, whose
// body is of the given size.
func content(op *peers.Op, size int) []byte {
	if op.Format != peers.SMIME {
		out := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(out) // never fails
		return out
	}
	line := []byte("A line of text that is neither long nor short, 1234567890.\r\n")
	body := bytes.Repeat(line, size/len(line))
	return append([]byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"), body...)
}

// layouts are the forms of a signed message.
func layouts(op peers.Op) (out []*peers.Op) {
	for _, shape := range []peers.Op{{}, {BER: true}, {Format: peers.SMIME}, {Format: peers.SMIME, BER: true}, {Format: peers.SMIME, LF: true}} {
		for _, detached := range []bool{false, true} {
			o := op
			o.Format, o.BER, o.LF, o.Detached = shape.Format, shape.BER, shape.LF, detached
			out = append(out, &o)
		}
	}
	return out
}

// shapes are the forms of another message.
func shapes(op peers.Op) (out []*peers.Op) {
	for _, shape := range []peers.Op{{}, {BER: true}, {Format: peers.SMIME}, {Format: peers.SMIME, BER: true}} {
		o := op
		o.Format, o.BER = shape.Format, shape.BER
		out = append(out, &o)
	}
	return out
}

func groups() []group {
	var out []group
	add := func(name string, sizes []int, ops ...[]*peers.Op) {
		g := group{name: name, sizes: sizes}
		for _, list := range ops {
			g.ops = append(g.ops, list...)
		}
		out = append(out, g)
	}
	signed := func(op peers.Op) peers.Op { op.Kind = peers.Signed; return op }
	enveloped := func(op peers.Op) peers.Op { op.Kind = peers.Enveloped; return op }

	// Every layout in every size.
	add("signed, RSA, all layouts and sizes", allSizes, layouts(signed(peers.Op{Signers: []string{"rsa"}})))
	add("enveloped, AES-128-CBC, all sizes", allSizes, shapes(enveloped(peers.Op{Recipients: []string{"rsa"}, Cipher: "aes-128-cbc"})))
	add("enveloped, AES-256-GCM, all sizes", allSizes, shapes(enveloped(peers.Op{Recipients: []string{"rsa"}, Cipher: "aes-256-gcm"})))

	// Every signature algorithm.
	for _, g := range []struct {
		name, who, digest string
	}{
		{"signed, ECDSA P-256", "p256", ""}, {"signed, ECDSA P-384", "p384", "sha384"}, {"signed, ECDSA P-521", "p521", "sha512"},
		{"signed, Ed25519", "ed25519", ""}, {"signed, issued by a sub-CA", "sub", ""},
	} {
		add(g.name, oneSize, layouts(signed(peers.Op{Signers: []string{g.who}, Digest: g.digest})))
	}
	var digests, pss [][]*peers.Op
	for _, d := range []string{"sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"} {
		one := signed(peers.Op{Signers: []string{"rsa"}, Digest: d})
		ec := signed(peers.Op{Signers: []string{"p384"}, Digest: d})
		digests = append(digests, []*peers.Op{&one, &ec})
		padded := one
		padded.PSS = true
		pss = append(pss, []*peers.Op{&padded})
	}
	add("signed, all digests", oneSize, digests...)
	add("signed, RSA-PSS, all digests", oneSize, append(pss, layouts(signed(peers.Op{Signers: []string{"rsa"}, PSS: true})))...)
	add("signed, two signers", oneSize, layouts(signed(peers.Op{Signers: []string{"rsa", "p256"}})))
	add("signed, by key identifier", oneSize, layouts(signed(peers.Op{Signers: []string{"rsa"}, KeyID: true})))
	add("signed, without attributes", oneSize, layouts(signed(peers.Op{Signers: []string{"rsa"}, NoAttrs: true})))
	add("countersigned", oneSize, layouts(signed(peers.Op{Signers: []string{"rsa"}, CounterSigner: "p256"})))

	// Every cipher, every kind of recipient.
	for _, g := range []struct {
		name string
		op   peers.Op
	}{
		{"enveloped, RSA", peers.Op{Recipients: []string{"rsa"}}}, {"enveloped, ECDH P-256", peers.Op{Recipients: []string{"p256"}}},
		{"enveloped, shared key", peers.Op{KEK: kek}}, {"enveloped, password", peers.Op{Password: "correct horse"}},
	} {
		var ops [][]*peers.Op
		for _, c := range []string{"aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "des3"} {
			op := enveloped(g.op)
			op.Cipher = c
			ops = append(ops, shapes(op))
		}
		add(g.name+", all ciphers", oneSize, ops...)
	}
	var agreement, oaep, several []*peers.Op
	for _, d := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
		for _, c := range []string{"aes-128-cbc", "aes-256-gcm"} {
			for _, who := range []string{"p256", "p384", "p521"} {
				agreement = append(agreement, &peers.Op{Kind: peers.Enveloped, Recipients: []string{who}, Cipher: c, KDF: d})
			}
			oaep = append(oaep, &peers.Op{Kind: peers.Enveloped, Recipients: []string{"rsa"}, Cipher: c, OAEP: d})
		}
	}
	all := []string{"rsa", "p256", "other", "p384"}
	for _, who := range all {
		several = append(several,
			&peers.Op{Kind: peers.Enveloped, Recipients: all, Reader: who, Cipher: "aes-128-cbc"},
			&peers.Op{Kind: peers.Enveloped, Recipients: all, Reader: who, Cipher: "aes-128-cbc", KeyID: true},
			&peers.Op{Kind: peers.Enveloped, Recipients: all, Reader: who, Cipher: "aes-256-cbc", KEK: kek, Password: "correct horse"})
	}
	for _, who := range []string{"rsa", "other"} {
		several = append(several, &peers.Op{Kind: peers.Enveloped, Recipients: []string{"rsa", "other"}, Reader: who, Cipher: "aes-128-cbc"})
	}
	add("key agreement, all curves and KDFs", oneSize, agreement)
	add("RSA-OAEP, all digests", oneSize, oaep)
	add("several recipients", oneSize, several)
	return append(out, otherGroups()...)
}

// otherGroups are the content types that mail hardly uses.
func otherGroups() []group {
	authenticated := group{name: "authenticated", sizes: oneSize}
	digested := group{name: "digested", sizes: oneSize}
	encrypted := group{name: "encrypted", sizes: oneSize}
	for _, ber := range []bool{false, true} {
		for _, d := range []string{"sha1", "sha224", "sha256", "sha384", "sha512"} {
			authenticated.ops = append(authenticated.ops,
				&peers.Op{Kind: peers.Authenticated, BER: ber, Digest: d, Recipients: []string{"rsa"}},
				&peers.Op{Kind: peers.Authenticated, BER: ber, Digest: d, Recipients: []string{"p256"}, NoAttrs: true},
				&peers.Op{Kind: peers.Authenticated, BER: ber, Digest: d, KEK: kek},
				&peers.Op{Kind: peers.Authenticated, BER: ber, Digest: d, Password: "correct horse"})
			digested.ops = append(digested.ops, &peers.Op{Kind: peers.Digested, BER: ber, Digest: d})
		}
		for cipher, size := range map[string]int{"aes-128-cbc": 16, "aes-192-cbc": 24, "aes-256-cbc": 32, "des3": 24} {
			key := []byte("0123456789abcdef01234567ABCDEF01")[:size]
			encrypted.ops = append(encrypted.ops, &peers.Op{Kind: peers.Encrypted, BER: ber, Cipher: cipher, Key: key})
		}
	}
	compressed := group{name: "compressed", sizes: allSizes, ops: shapes(peers.Op{Kind: peers.Compressed})}
	return []group{authenticated, digested, encrypted, compressed}
}
