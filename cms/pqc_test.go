package cms

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/internal/testpki"
)

// TestPostQuantumIsNamed reads messages with recipients and signers of kinds
// that are not implemented: they are named, and nothing is good or opened.
func TestPostQuantumIsNamed(t *testing.T) {
	p := person(t, testpki.RSA2048)
	ids := []Identity{NewIdentity(p.Cert, p.Key)}
	names, err := filepath.Glob(filepath.Join(vectorDir(t, "pqc"), "*", "*.der"))
	if err != nil {
		t.Fatal(err)
	}
	kem, signed := 0, 0
	for _, name := range names {
		message := readFile(t, name)
		switch {
		case strings.Contains(name, "kemri"):
			kem++
			infos, err := newReader(t, message).Recipients()
			if err != nil || len(infos) == 0 {
				t.Errorf("%s: %d recipients, %v", name, len(infos), err)
				continue
			}
			if o, ok := infos[0].(*OtherRecipientInfo); !ok || o.Type != oid.ORIKEM {
				t.Errorf("%s: %s", name, infos[0])
			}
			if _, err = newReader(t, message).Decrypt(ids, nil); !errors.Is(err, ErrNoMatch) {
				t.Errorf("%s: %v", name, err)
			}
		case strings.Contains(name, "signed"):
			signed++
			opts := &VerifyOptions{Trust: InsecureTrustAnySigner}
			s, err := newReader(t, message).Verify(opts)
			if err == nil && s.Detached() {
				opts.Content = bytes.NewReader(readFile(t, filepath.Dir(name), "expected_plaintext.txt"))
				s, err = newReader(t, message).Verify(opts)
			}
			if _, err = readAll(s, err); err == nil {
				t.Errorf("%s: good", name)
				continue
			}
			ve, ok := errors.AsType[*VerifyError](err)
			if !ok || (ve.Reason != ReasonUnsupported && ve.Reason != ReasonNoCertificate) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if kem < 50 || signed < 20 {
		t.Errorf("%d messages with KEM, %d signed", kem, signed)
	}
}
