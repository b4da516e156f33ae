package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/postseal/postseal/internal/testpki"
)

// FuzzVerify changes octets of the certificates of a generated hierarchy. No
// input panics, the work is bounded, and a chain that is accepted has nothing in
// it that its issuers did not sign.
func FuzzVerify(f *testing.F) {
	f.Add(uint16(1), uint8(0), []byte{})
	f.Add(uint16(7), uint8(3), []byte{0, 0, 0, 1, 2, 0, 90, 7})
	f.Add(uint16(40), uint8(4), []byte{1, 1, 30, 0xff})
	f.Add(uint16(300), uint8(9), []byte{2, 0, 200, 0x30, 2, 0, 201, 0x80})
	f.Fuzz(func(t *testing.T, index uint16, settings uint8, changes []byte) {
		h := newHierarchy(t, 200, uint64(index))
		signed := make(map[string]bool)
		all := append([]*Certificate{h.leaf}, h.others...)
		for _, c := range all {
			signed[string(c.RawTBS)+string(c.Signature)] = true
		}
		// A change is the certificate, the place and the new octet.
		for ; len(changes) >= 4; changes = changes[4:] {
			i := int(changes[0]) % len(all)
			raw := bytes.Clone(all[i].Raw)
			raw[int(binary.BigEndian.Uint16(changes[1:]))%len(raw)] = changes[3]
			c, err := ParseCertificate(raw)
			if err != nil {
				continue
			}
			all[i] = c
		}
		opts := ChainOptions{
			Time: testTime, Intermediates: all[1:], Purpose: Purpose(settings % 5), AllowExpired: settings&8 != 0, LeafUsageOnly: settings&16 != 0,
			RequireExplicitPolicy: settings&32 != 0, InhibitAnyPolicy: settings&64 != 0, InhibitPolicyMapping: settings&128 != 0,
		}
		roots := NewRoots(h.roots)
		chain, err := roots.Verify(all[0], opts)
		var fault *ChainError
		switch {
		case err == nil:
			checkSigned(t, roots, chain, signed)
		case !errors.As(err, &fault) || fault.Certificate == nil || len(fault.Path) == 0 || fault.Path[0] != all[0] || chain != nil:
			t.Errorf("%+v", err)
		case fault.Error() == "" || fault.Tried() == "":
			t.Errorf("%v is not explained", fault.Reason)
		}
		b := newBuilder(roots, all[0], &opts)
		if _, again := b.at(testTime); !opts.AllowExpired && (again == nil) != (err == nil) || len(b.edges) > maxPathSignatures {
			t.Errorf("%v, then %v, after %d signatures", err, again, len(b.edges))
		}
	})
}

func checkSigned(t *testing.T, roots *Roots, chain []*Certificate, signed map[string]bool) {
	t.Helper()
	if len(chain) < 2 || len(chain) > maxPathLength || roots.byID[identity(chain[len(chain)-1])] == nil {
		t.Fatalf("a chain of %d", len(chain))
	}
	for i, c := range chain[:len(chain)-1] {
		if !signed[string(c.RawTBS)+string(c.Signature)] {
			t.Errorf("certificate %d of the chain was changed", i)
		}
		if !NamesEqual(c.RawIssuer, chain[i+1].RawSubject) {
			t.Errorf("certificate %d of the chain does not name its issuer", i)
		}
	}
}

// BenchmarkVerify is for a chain of three, ECDSA on P-256.
func BenchmarkVerify(b *testing.B) {
	root, err := testpki.NewCA("Root")
	if err != nil {
		b.Fatal(err)
	}
	ca, err := root.Intermediate("CA")
	if err != nil {
		b.Fatal(err)
	}
	person, err := ca.Issue(testpki.Profile{Key: testpki.P256})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("pki", func(b *testing.B) {
		roots, leaf := NewRoots([]*Certificate{FromX509(root.Cert)}), FromX509(person.Cert)
		opts := ChainOptions{Intermediates: []*Certificate{FromX509(ca.Cert)}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := roots.Verify(leaf, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("x509", func(b *testing.B) {
		opts := x509.VerifyOptions{
			Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
		}
		opts.Roots.AddCert(root.Cert)
		opts.Intermediates.AddCert(ca.Cert)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := person.Cert.Verify(opts); err != nil {
				b.Fatal(err)
			}
		}
	})
}
