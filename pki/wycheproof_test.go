package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err == nil {
		*h, err = hex.DecodeString(text)
	}
	return err
}

// A wycheproofFile is what is used of a file of vectors.
type wycheproofFile struct {
	TestGroups []struct {
		PublicKeyDer hexBytes
		Type         string
		Tests        []struct {
			ID            int `json:"tcId"`
			Flags         []string
			Msg, Sig, Ctx hexBytes
			Public, EK    hexBytes
			Result        string
		}
	}
}

func readWycheproof(t *testing.T, name string) *wycheproofFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorsDir(t), "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	out := new(wycheproofFile)
	if err = json.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWycheproofSignatures checks signatures in the way that those of
// certificates are.
func TestWycheproofSignatures(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		file         string
		id           oid.OID
		tests, valid int // as used here
	}{
		{"ecdsa_brainpoolP256r1_sha256_test.json", oid.ECDSAWithSHA256, 485, 176},
		{"ecdsa_brainpoolP384r1_sha384_test.json", oid.ECDSAWithSHA384, 516, 207},
		{"ed448_test.json", oid.Ed448, 87, 17},
		{"mldsa_44_verify_test.json", oid.MLDSA44, 173, 75},
	} {
		file := readWycheproof(t, v.file)
		tests, valid := 0, 0
		for _, group := range file.TestGroups {
			c := new(Certificate)
			c.KeyAlgorithm, c.PublicKey, c.KeyErr = parsePublicKey(group.PublicKeyDer)
			for _, test := range group.Tests {
				if len(test.Ctx) > 0 {
					continue // certificates have an empty context
				}
				tests++
				good := test.Result == "valid"
				if good {
					valid++
				}
				_, err := verifySignature(c, c.PublicKey, der.Algorithm{OID: v.id}, test.Msg, test.Sig)
				if (err == nil) != good {
					t.Errorf("%s, test %d: %v", v.file, test.ID, err)
				}
			}
		}
		if tests != v.tests || valid != v.valid {
			t.Errorf("%s: %d tests, %d valid", v.file, tests, valid)
		}
	}
}

// TestWycheproofCurves reads keys with all kinds of parameters of a curve.
func TestWycheproofCurves(t *testing.T) {
	for _, v := range []struct {
		file string
		name oid.OID
	}{
		{"ecdh_brainpoolP256r1_test.json", oid.BrainpoolP256r1},
		{"ecdh_brainpoolP384r1_test.json", oid.BrainpoolP384r1},
	} {
		counts := make(map[string]int)
		for _, group := range readWycheproof(t, v.file).TestGroups {
			for _, test := range group.Tests {
				_, pub, err := parsePublicKey(test.Public)
				ec, isEC := pub.(*ecdsa.PublicKey)
				counts[test.Result]++
				if slices.Contains(test.Flags, "UnnamedCurve") {
					counts["unnamed"]++
				}
				if err != nil || !isEC || ec.Curve != namedCurve(v.name) {
					if test.Result == "valid" {
						t.Errorf("%s, test %d: %v", v.file, test.ID, err)
					}
					counts["refused"]++
					continue
				}
				if test.Result == "invalid" && !slices.Contains(test.Flags, "InvalidAsn") && !slices.Contains(test.Flags, "InvalidEncoding") {
					t.Errorf("%s, test %d %v: taken for a key on the curve", v.file, test.ID, test.Flags)
				}
				counts["read"]++
			}
		}
		t.Logf("%s: %v", v.file, counts)
		if counts["valid"] < 500 || counts["refused"] < 50 || counts["unnamed"] < 10 {
			t.Errorf("%s: %v", v.file, counts)
		}
	}
}

// TestWycheproofKEMKeys reads encapsulation keys as those of certificates.
func TestWycheproofKEMKeys(t *testing.T) {
	for file, id := range map[string]oid.OID{"mlkem_512_test.json": oid.MLKEM512, "mlkem_768_test.json": oid.MLKEM768} {
		count := 0
		for _, group := range readWycheproof(t, file).TestGroups {
			for _, test := range group.Tests {
				if test.EK == nil || test.Result != "valid" {
					continue
				}
				count++
				c := new(Certificate)
				c.KeyAlgorithm, c.PublicKey, c.KeyErr = parsePublicKey(spki(t, der.Algorithm{OID: id}, test.EK))
				key, isKEM := c.PublicKey.(crypto.Encapsulator)
				if !isKEM || !bytes.Equal(key.Bytes(), test.EK) || c.CanSign() || !c.CanEncrypt() || c.canAgree() {
					t.Errorf("%s, test %d: a key of type %T, %v", file, test.ID, c.PublicKey, c.KeyErr)
				}
				// FIPS 203, Section 7.2: coefficients are less than 3329.
				bad := bytes.Clone(test.EK)
				bad[0], bad[1] = 0xff, 0xff
				for _, octets := range [][]byte{bad, test.EK[1:], append(bytes.Clone(test.EK), 0)} {
					if _, pub, err := parsePublicKey(spki(t, der.Algorithm{OID: id}, octets)); pub != nil || !errors.As(err, new(*KeyError)) {
						t.Errorf("%s, test %d: a wrong key is read", file, test.ID)
					}
				}
			}
		}
		if count < 100 {
			t.Errorf("%s: %d keys", file, count)
		}
	}
}
