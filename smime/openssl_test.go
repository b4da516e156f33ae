package smime

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
)

// openssl runs the command with input and returns its output.
func openssl(t *testing.T, input string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no openssl")
		}
		t.Skip("there is no openssl")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err = cmd.Run(); err != nil {
		t.Fatalf("openssl %v: %v\n%s\n%s", args, err, complaints.String(), input)
	}
	return out.String()
}

func files(t *testing.T, p *testpki.Person, base string) testpki.Files {
	t.Helper()
	f, err := p.WriteFiles(t.TempDir(), base)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestOpenSSLReads has the forms opened by OpenSSL.
func TestOpenSSLReads(t *testing.T) {
	alice, bob := files(t, people().alice, "alice"), files(t, people().bob, "bob")
	verify := func(message string) string {
		return openssl(t, message, "cms", "-verify", "-CAfile", alice.CA)
	}
	decrypt := func(message string) string {
		return openssl(t, message, "cms", "-decrypt", "-recip", bob.Cert, "-inkey", bob.Key)
	}
	cbc := &EncryptOptions{Cipher: cms.AES256CBC}
	for _, c := range []struct {
		name  string
		forms []writerFunc
		open  []func(string) string
	}{
		{"clear", []writerFunc{signed(nil)}, []func(string) string{verify}},
		{"opaque", []writerFunc{signed(&SignOptions{Opaque: true})}, []func(string) string{verify}},
		{"cbc", []writerFunc{encrypted(cbc)}, []func(string) string{decrypt}},
		{"gcm", []writerFunc{encrypted(nil)}, []func(string) string{decrypt}},
		{"both", []writerFunc{signedEncrypted(nil, false)}, []func(string) string{decrypt, verify}},
		{"triple", []writerFunc{signed(nil), encrypted(cbc), signed(nil)}, []func(string) string{verify, decrypt, verify}},
	} {
		message := protect(t, simple, c.forms...)
		for _, open := range c.open {
			message = open(message)
		}
		if lf(message) != lf(simpleContent) {
			t.Errorf("%s: %q", c.name, message)
		}
	}
}

// TestOpenSSLWrites opens what OpenSSL has made.
func TestOpenSSLWrites(t *testing.T) {
	alice, bob := files(t, people().alice, "alice"), files(t, people().bob, "bob")
	in := lf(simpleContent)
	sign := func(command string, more ...string) func(string) string {
		return func(message string) string {
			args := []string{command, "-sign", "-signer", alice.Cert, "-inkey", alice.Key, "-from", "alice@example.test"}
			return openssl(t, message, append(args, more...)...)
		}
	}
	encrypt := func(more ...string) func(string) string {
		return func(message string) string {
			return openssl(t, message, append(append([]string{"cms", "-encrypt", "-from", "alice@example.test"}, more...), bob.Cert)...)
		}
	}
	for _, c := range []struct {
		name  string
		makes []func(string) string
		types string
	}{
		{"clear", []func(string) string{sign("cms")}, "multipart/signed"},
		{"opaque", []func(string) string{sign("cms", "-nodetach")}, "signed-data"},
		{"opaque stream", []func(string) string{sign("cms", "-nodetach", "-stream")}, "signed-data"},
		{"sha512", []func(string) string{sign("cms", "-md", "sha512")}, "multipart/signed"},
		{"no attributes", []func(string) string{sign("cms", "-noattr")}, "multipart/signed"},
		{"smime", []func(string) string{sign("smime")}, "multipart/signed"},
		{"smime opaque", []func(string) string{sign("smime", "-nodetach")}, "signed-data"},
		{"cbc", []func(string) string{encrypt("-aes256")}, "enveloped-data"},
		{"gcm", []func(string) string{encrypt("-aes-128-gcm")}, "authEnveloped-data"},
		{"both", []func(string) string{sign("cms"), encrypt("-aes128", "-stream")}, "enveloped-data multipart/signed"},
		{"triple", []func(string) string{sign("cms"), encrypt("-aes-256-gcm"), sign("cms", "-nodetach")}, "signed-data authEnveloped-data multipart/signed"},
		{"data", []func(string) string{func(m string) string {
			return openssl(t, m, "cms", "-data_create", "-outform", "SMIME")
		}}, "data"},
	} {
		message := in
		for _, make := range c.makes {
			message = make(message)
		}
		m, err := read(t, message, readOptions())
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, message)
			continue
		}
		if got := layerTypes(m); got != c.types {
			t.Errorf("%s: %s", c.name, got)
		}
		if got := text(t, m.Content()); lf(got) != in {
			t.Errorf("%s: %q", c.name, got)
		}
		if m.Trusted != strings.Contains(c.types, "signed") {
			t.Errorf("%s: trusted: %v", c.name, m.Trusted)
		}
	}
}

// TestRFC4134 opens the messages of RFC 4134: 4.8 is multipart/signed and 4.9
// application/pkcs7-mime, both with DSS and SHA-1; 5.3 is encrypted to Bob with
// Triple-DES.
func TestRFC4134(t *testing.T) {
	dir := vectors(t, "rfc4134")
	trust := cms.TrustRoots(certificate(t, filepath.Join(dir, "CarlDSSSelf.cer")))
	key, err := os.ReadFile(filepath.Join(dir, "BobPrivRSAEncrypt.pri"))
	if err != nil {
		t.Fatal(err)
	}
	bob := bobsIdentity(t, certificate(t, filepath.Join(dir, "BobRSASignByCarl.cer")), key)
	content, err := os.ReadFile(filepath.Join(dir, "ExContent.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, types string
		allow       []cms.Allowance
	}{
		{"4.8.eml", "multipart/signed", []cms.Allowance{cms.AllowDSA, cms.AllowSHA1}},
		{"4.9.eml", "signed-data", []cms.Allowance{cms.AllowDSA, cms.AllowSHA1}},
		{"5.3.eml", "enveloped-data", []cms.Allowance{cms.Allow3DES, cms.AllowRSA1024}},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		opts := &ReadOptions{Trust: trust, Identities: []cms.Identity{bob}}
		m, err := read(t, string(raw), opts)
		_, verify := errors.AsType[*cms.VerifyError](err)
		_, unsupported := errors.AsType[*cms.UnsupportedError](err)
		if !verify && !unsupported {
			t.Errorf("%s: weak algorithms: %v", c.file, err)
		}
		if layerTypes(m) != c.types {
			t.Errorf("%s: %s", c.file, layerTypes(m))
		}
		opts.Trust, opts.Allow = cms.InsecureTrustAnySigner, c.allow
		m, err = read(t, string(raw), opts)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if got := text(t, m.Body()); strings.TrimRight(got, "\r\n") != string(content) {
			t.Errorf("%s: %q", c.file, text(t, m.Content()))
		}
	}
}
