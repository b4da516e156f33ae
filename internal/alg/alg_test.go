package alg

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

// wycheproof reads a file of test vectors, which lie beside the project. Where
// they are missing the test is skipped, and fails in CI.
func wycheproof[T any](t *testing.T, name string) (out struct {
	NumberOfTests int
	TestGroups    []T
}) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "wycheproof", name))
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skipf("the vectors are missing: %v", err)
	}
	if err = json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type pssGroup struct {
	PublicKey    struct{ Modulus, PublicExponent string }
	PublicKeyDer string
	Sha, MgfSha  string
	SLen         int
	Tests        []struct {
		TcID                      int
		Msg, Sig, Result, Comment string
		Flags                     []string
	}
}

// TestPSS verifies with the parameters of each group, encoded as in a message.
func TestPSS(t *testing.T) {
	for _, name := range []string{
		"rsa_pss_misc_params_test.json", "rsa_pss_2048_sha512_mgf1sha256_32_params_test.json", "rsa_pss_2048_sha1_mgf1_20_params_test.json",
		"rsa_pss_2048_sha256_mgf1_0_params_test.json", "rsa_pss_2048_sha256_mgf1_0_test.json", "rsa_pss_2048_sha256_mgf1_32_params_test.json",
		"rsa_pss_2048_sha256_mgf1_32_test.json",
	} {
		file := wycheproof[pssGroup](t, name)
		seen, unknown := 0, 0
		for _, g := range file.TestGroups {
			seen += len(g.Tests)
			hash, ok := DigestByName(g.Sha)
			mgf, okMGF := DigestByName(g.MgfSha)
			if !ok || !okMGF { // SHAKE
				unknown += len(g.Tests)
				continue
			}
			a, err := PSSParams{Digest: hash, MGF: mgf, Salt: g.SLen}.algorithm()
			if err != nil {
				t.Fatal(err)
			}
			sig, err := ParseSignature(a, hash)
			if err != nil || sig.PSS.Salt != g.SLen || sig.PSS.MGF != mgf || sig.Digest != hash {
				t.Fatalf("%s: %+v, %v", name, sig, err)
			}
			e := new(big.Int).SetBytes(unhex(t, g.PublicKey.PublicExponent))
			pub := &rsa.PublicKey{N: new(big.Int).SetBytes(unhex(t, g.PublicKey.Modulus)), E: int(e.Int64())}
			for _, test := range g.Tests {
				h := hash.New()
				h.Write(unhex(t, test.Msg))
				good := sig.Verify(pub, nil, h.Sum(nil), unhex(t, test.Sig)) == nil
				if good != (test.Result != "invalid") {
					t.Errorf("%s, test %d %q: %t, want %s", name, test.TcID, test.Comment, good, test.Result)
				}
				if mixed := sig.PSS.verifyMixed(pub, h.Sum(nil), unhex(t, test.Sig)); mixed != good {
					t.Errorf("%s, test %d: the general way says %t", name, test.TcID, mixed)
				}
			}
		}
		if seen != file.NumberOfTests || unknown > seen/3 {
			t.Errorf("%s: %d of %d tests, %d of unknown hashes", name, seen, file.NumberOfTests, unknown)
		}
	}
}

type oaepGroup struct {
	PrivateKeyPkcs8 string
	Sha, MgfSha     string
	Tests           []struct {
		TcID                            int
		Msg, Ct, Label, Result, Comment string
	}
}

// TestOAEP decrypts with parameters that have been through their encoding.
func TestOAEP(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "vectors", "wycheproof", "rsa_oaep_*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		name := filepath.Base(path)
		file := wycheproof[oaepGroup](t, name)
		for _, g := range file.TestGroups {
			key, err := x509.ParsePKCS8PrivateKey(unhex(t, g.PrivateKeyPkcs8))
			if err != nil {
				t.Fatal(err)
			}
			hash, ok := DigestByName(g.Sha)
			mgf, okMGF := DigestByName(g.MgfSha)
			if !ok || !okMGF {
				t.Fatalf("%s: %s and %s", name, g.Sha, g.MgfSha)
			}
			for _, test := range g.Tests {
				a, err := OAEP{Digest: hash, MGF: mgf, Label: unhex(t, test.Label)}.Algorithm()
				if err != nil {
					t.Fatal(err)
				}
				p, err := ParseOAEP(a.Parameters)
				if err != nil {
					t.Fatal(err)
				}
				got, err := key.(crypto.Decrypter).Decrypt(nil, unhex(t, test.Ct), &rsa.OAEPOptions{Hash: p.Digest.Hash, MGFHash: p.MGF.Hash, Label: p.Label})
				if (err == nil) != (test.Result != "invalid") || (err == nil && hex.EncodeToString(got) != test.Msg) {
					t.Errorf("%s, test %d %q: %v, want %s", name, test.TcID, test.Comment, err, test.Result)
				}
			}
		}
	}
	if len(names) == 0 {
		wycheproof[oaepGroup](t, "rsa_oaep")
	} else if len(names) != 11 {
		t.Errorf("%d files", len(names))
	}
}

// TestMalformedParameters: parameters that do not decode are an error, never a
// default.
func TestMalformedParameters(t *testing.T) {
	octets := func(b ...byte) []byte { return b }
	for _, params := range [][]byte{octets(0x30, 1), octets(4, 0), octets(0x30, 2, 0xa0, 0), octets(0x30, 4, 0xa2, 2, 4, 0), octets(0x30, 0, 0),
		octets(0x30, 5, 0xa3, 3, 2, 1, 2), octets(0x30, 5, 0xa2, 3, 2, 1, 0xff)} {
		if _, err := ParsePSS(params); !errors.Is(err, ErrParameters) {
			t.Errorf("PSS %x: %v", params, err)
		}
	}
	for _, params := range [][]byte{octets(0x30, 1), octets(4, 0), octets(0x30, 2, 0xa0, 0), octets(0x30, 4, 0xa2, 2, 4, 0)} {
		if _, err := ParseOAEP(params); !errors.Is(err, ErrParameters) {
			t.Errorf("OAEP %x: %v", params, err)
		}
	}
	for _, c := range ciphers {
		for _, params := range [][]byte{nil, octets(5, 0), octets(4, 3, 1, 2, 3), octets(0x30, 0), octets(0x30, 2, 4, 0)} {
			if _, err := c.ParseParams(params); !errors.Is(err, ErrParameters) {
				t.Errorf("%s %x: %v", c.Name, params, err)
			}
		}
	}
	gcm, _ := CipherByOID(oid.AES128GCM)
	for size := range int64(20) {
		params, err := der.Marshal(func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
				b.AddASN1OctetString(make([]byte, 12))
				b.AddASN1Int64(size)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := gcm.ParseParams(params); (err == nil) != (size >= 12 && size <= 16) || (err == nil && p.TagSize != int(size)) {
			t.Errorf("a tag of %d octets: %v", size, err)
		}
	}
	// RFC 5084, Section 3.2: 12 is the default.
	if p, err := gcm.ParseParams(octets(0x30, 14, 4, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)); err != nil || p.TagSize != 12 {
		t.Errorf("no tag size: %d, %v", p.TagSize, err)
	}
}

// TestTable checks the table against itself.
func TestTable(t *testing.T) {
	for _, d := range digests {
		if d.New().Size() != d.Size() {
			t.Errorf("%s is not linked in", d.Name)
		}
		if d.OID == oid.SHAKE256Len {
			continue // a second identifier of a hash
		}
		for _, spelling := range []string{d.Name, d.Micalg} {
			if got, ok := DigestByName(spelling); !ok || got != d {
				t.Errorf("%q is %q", spelling, got.Name)
			}
		}
	}
	for spelling, want := range map[string]string{"SHA1": "sha1", "rsa-sha1": "sha1", "rsa-md5": "md5", "SHA_256": "sha256", " sha-512 ": "sha512"} {
		if got, ok := DigestByName(spelling); !ok || got.Name != want {
			t.Errorf("%q is %q", spelling, got.Name)
		}
	}
	if _, ok := DigestByName("unknown"); ok {
		t.Error("unknown is known")
	}
	for _, c := range ciphers {
		if size, ok := WrapKeySize(c.Wrap); c.Weak == "" && (!ok || size != c.KeySize) {
			t.Errorf("%s has a key wrap of %d octets", c.Name, size)
		}
		if iv := make([]byte, c.IVSize()); c.Weak == "" {
			a, err := c.Algorithm(iv)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := c.ParseParams(a.Parameters); err != nil || len(p.IV) != len(iv) || (c.AEAD() && p.TagSize != 16) {
				t.Errorf("%s: %+v, %v", c.Name, p, err)
			}
		}
	}
}
