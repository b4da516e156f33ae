package cms

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/pki"
)

var oldMail = []Allowance{AllowSHA1, AllowMD5, AllowDSA, AllowRSA1024, Allow3DES, AllowRC2}

// rfc4134 is the people of RFC 4134.
type rfc4134 struct {
	dir     string
	content []byte
	certs   []*pki.Certificate
	bob     Identity
}

func openRFC4134(t testing.TB) *rfc4134 {
	t.Helper()
	r := &rfc4134{dir: vectorDir(t, "rfc4134")}
	r.content = readFile(t, r.dir, "ExContent.bin")
	names, err := filepath.Glob(filepath.Join(r.dir, "*.cer"))
	if err != nil || len(names) < 6 {
		t.Fatalf("%d certificates: %v", len(names), err)
	}
	for _, name := range names {
		r.certs = append(r.certs, readCert(t, name))
	}
	r.bob = oldIdentity(t, readCert(t, r.dir, "BobRSASignByCarl.cer"), readFile(t, r.dir, "BobPrivRSAEncrypt.pri"))
	return r
}

func oldIdentity(t testing.TB, cert *pki.Certificate, pkcs8 []byte) Identity {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	return &CertificateIdentity{Certificate: cert, Key: key}
}

// open reads one object and returns what it holds; see the table for what.
func (r *rfc4134) open(name string, src io.Reader, allow []Allowance) ([]byte, int, error) {
	m, err := NewReader(src, nil)
	if err != nil {
		return nil, 0, err
	}
	key, _ := hex.DecodeString("737c791f25ead0e04629254352f7dc6291e5cb26917ada32")
	switch m.ContentType() {
	case TypeData:
		got, err := readAll(m.Data())
		return got, 0, err
	case TypeSignedData:
		opts := &VerifyOptions{Trust: InsecureTrustAnySigner, Allow: allow, Certificates: r.certs}
		if name == "4.3.bin" {
			opts.Content = bytes.NewReader(r.content)
		}
		s, err := m.Verify(opts)
		if err != nil {
			return nil, 0, err
		}
		got, err := readAll(s, nil)
		valid := 0
		for _, si := range s.Signers() {
			if si.Valid {
				valid++
			}
		}
		return got, valid, err
	case TypeEnvelopedData:
		d, err := m.Decrypt([]Identity{r.bob}, &DecryptOptions{Allow: allow})
		if err != nil {
			return nil, 0, err
		}
		got, err := readAll(d, nil)
		return got, 0, err
	case TypeDigestedData:
		d, err := m.VerifyDigest(nil, allow)
		if err != nil {
			return nil, 0, err
		}
		got, err := readAll(d, nil)
		return got, 0, err
	case TypeEncryptedData:
		d, err := m.DecryptWithKey(key, &DecryptOptions{Allow: allow})
		if err != nil {
			return nil, 0, err
		}
		got, err := readAll(d, nil)
		return got, 0, err
	}
	return nil, 0, errors.New("another type")
}

// TestRFC4134 reads every object of RFC 4134 that is no mail.
func TestRFC4134(t *testing.T) {
	r := openRFC4134(t)
	signers := map[string]int{"4.1.bin": 1, "4.2.bin": 1, "4.3.bin": 1, "4.4.bin": 1, "4.5.bin": 1, "4.6.bin": 2, "4.7.bin": 1, "4.10.bin": 1}
	seen := 0
	names, err := filepath.Glob(filepath.Join(r.dir, "[34567].*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		name := filepath.Base(path)
		message := readFile(t, path)
		got, valid, err := r.open(name, bytes.NewReader(message), oldMail)
		if name == "4.11.bin" {
			checkReason(t, err, ReasonNoSigners)
			certs, crls, cerr := newReader(t, message).Certificates()
			if cerr != nil || len(certs) != 2 || len(crls) != 1 {
				t.Errorf("%s: %d certificates, %d CRLs: %v", name, len(certs), len(crls), cerr)
			}
			seen++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "4.10.bin" {
			// Its content is a message with headers of its own.
			if !bytes.Contains(got, r.content) && len(got) == 0 {
				t.Errorf("%s: content %q", name, got)
			}
		} else if !bytes.Equal(got, r.content) {
			t.Errorf("%s: content %q", name, got)
		}
		if valid != signers[name] {
			t.Errorf("%s: %d signers are valid, want %d", name, valid, signers[name])
		}
		seen++
		// Nothing of this is good by default but what has no algorithms.
		if _, _, err = r.open(name, bytes.NewReader(message), nil); err == nil && !strings.HasPrefix(name, "3.") {
			t.Errorf("%s: is good without an allowance", name)
		}
		for cut := range message {
			if _, _, err = r.open(name, bytes.NewReader(message[:cut]), oldMail); err == nil {
				t.Errorf("%s: cut at %d and no error", name, cut)
			}
		}
	}
	if seen != 16 {
		t.Errorf("%d objects were seen", seen)
	}
}

// TestRFC4134OneOctetAtATime reads from the slowest source.
func TestRFC4134OneOctetAtATime(t *testing.T) {
	r := openRFC4134(t)
	for _, name := range []string{"3.1.bin", "4.4.bin", "4.6.bin", "5.2.bin", "7.2.bin"} {
		got, _, err := r.open(name, &oneByte{readFile(t, r.dir, name)}, oldMail)
		if err != nil || !bytes.Equal(got, r.content) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

type oneByte struct{ rest []byte }

func (o *oneByte) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(1, len(p))], o.rest)
	o.rest = o.rest[n:]
	return n, nil
}
