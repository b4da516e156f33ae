package cms_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// pqcFiles returns the post-quantum messages of others.
func pqcFiles(t *testing.T, pattern string) []string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "vectors", "pqc")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the vectors are missing: %v", err)
		}
		t.Skipf("the vectors are missing: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func contentsOfFile(t *testing.T, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func openMessage(t testing.TB, message []byte) *cms.Reader {
	t.Helper()
	r, err := cms.NewReader(bytes.NewReader(message), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// drain reads content up to its verdict.
func drain(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return content, err
}

// TestPQCEncapsulated opens the messages of vectors/pqc that are encrypted by
// RFC 9629 with ML-KEM. Those with KEMs that have no RFC are named.
func TestPQCEncapsulated(t *testing.T) {
	opened, named := 0, 0
	for _, name := range pqcFiles(t, "*_kemri_*.der") {
		prefix, _, _ := strings.Cut(name, "_kemri_")
		message := contentsOfFile(t, name)
		infos, err := openMessage(t, message).Recipients()
		if err != nil || len(infos) != 1 {
			t.Errorf("%s: %d recipients, %v", name, len(infos), err)
			continue
		}
		info, ok := infos[0].(*cms.KEMRecipientInfo)
		if !ok || (info.UKM != nil) != strings.Contains(name, "_ukm") {
			t.Errorf("%s: %s", name, infos[0])
			continue
		}
		if !strings.Contains(name, "ml-kem") {
			named++
			if _, err = keystore.ParsePrivateKey("key", contentsOfFile(t, prefix+"_priv.der"), nil); !errors.As(err, new(*keystore.UnsupportedError)) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		opened++
		pair, err := keystore.LoadPair("cert", contentsOfFile(t, prefix+"_ee.der"), "key", contentsOfFile(t, prefix+"_priv.der"), nil)
		if err != nil || len(pair) != 1 {
			t.Errorf("%s: %d identities, %v", name, len(pair), err)
			continue
		}
		id := &cms.CertificateIdentity{Certificate: pair[0].Certificate, Key: pair[0].Key}
		got, err := drain(openMessage(t, message).Decrypt([]cms.Identity{id}, nil))
		if want := contentsOfFile(t, filepath.Dir(name), "expected_plaintext.txt"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if opened != 12 || named != 92 {
		t.Errorf("%d messages opened, %d with other KEMs", opened, named)
	}
}

// TestPQCSigned verifies the messages of vectors/pqc that are signed with ML-DSA
// and SLH-DSA, up to their trust anchor. Those with algorithms that have no RFC,
// or none for CMS, are unsupported.
func TestPQCSigned(t *testing.T) {
	good, unsupported := 0, 0
	for _, name := range pqcFiles(t, "*_signed_attrs.der") {
		anchor, err := pki.ParseCertificate(contentsOfFile(t, filepath.Dir(name), "ta.der"))
		if err != nil {
			t.Fatal(err)
		}
		content := contentsOfFile(t, filepath.Dir(name), "expected_plaintext.txt")
		message := contentsOfFile(t, name)
		opts := &cms.VerifyOptions{Trust: cms.TrustPool(pki.NewRoots([]*pki.Certificate{anchor}))}
		s, err := openMessage(t, message).Verify(opts)
		if err == nil && s.Detached() {
			opts.Content = bytes.NewReader(content)
			s, err = openMessage(t, message).Verify(opts)
		}
		got, err := drain(s, err)
		base := filepath.Base(name)
		if (strings.HasPrefix(base, "ml-dsa") || strings.HasPrefix(base, "slh-dsa")) && !strings.Contains(base, "-with-") {
			good++
			if err != nil || !bytes.Equal(got, content) || !s.Signers()[0].Trusted {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			continue
		}
		unsupported++
		if ve, ok := errors.AsType[*cms.VerifyError](err); !ok || ve.Reason != cms.ReasonUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if good != 30 || unsupported != 35 {
		t.Errorf("%d good, %d unsupported", good, unsupported)
	}
}
