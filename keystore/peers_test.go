package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postseal/postseal/internal/alg"
)

// peerFile writes identities for a peer to read.
func peerFile(t *testing.T, dir, kind string, form PKCS12Form) (string, Identity) {
	t.Helper()
	p := people(t)[kind]
	f, err := p.WriteFiles(dir, kind)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := Load(kind, readFileT(t, f.Full), nil)
	wantIdentity(t, kind, ids, err, p)
	if err != nil {
		t.FailNow()
	}
	data, err := EncodePKCS12As(ids[0], "secret", form)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, kind+".p12")
	writeFile(t, name, data)
	return name, ids[0]
}

// wantPeer reads what a peer wrote and compares it with what it was given.
func wantPeer(t *testing.T, what string, data []byte, want Identity) {
	t.Helper()
	ids, err := Load(what, data, fixed("secret"))
	// Peers may write an RSA key with its primes the other way round.
	if err != nil || len(ids) != 1 || !bytes.Equal(ids[0].Certificate.Raw, want.Certificate.Raw) || !Belongs(ids[0].Key, want.Certificate) {
		t.Errorf("%s: %d identities, %v", what, len(ids), err)
		return
	}
	if k, ok := ids[0].Key.(crypto.Signer); ok {
		if _, err = k.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err != nil {
			t.Errorf("%s: the key does not sign: %v", what, err)
		}
	}
}

func TestNSS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"RSA2048", "P256"} {
		dir := t.TempDir()
		form := map[string]PKCS12Form{"RSA2048": PKCS12AES, "P256": PKCS12Weak3DES}[kind]
		file, id := peerFile(t, dir, kind, form)
		run(t, dir, "certutil", "-N", "-d", "sql:.", "--empty-password")
		run(t, dir, "pk12util", "-i", file, "-d", "sql:.", "-W", "secret")
		nick := nssNickname(t, dir)
		for _, c := range []string{
			"", "AES-256-CBC", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC",
			"PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC", "PKCS #12 V2 PBE With SHA-1 And 128 Bit RC2 CBC",
			"PKCS #12 V2 PBE With SHA-1 And 128 Bit RC4",
		} {
			args := []string{"-o", "out.p12", "-n", nick, "-d", "sql:.", "-W", "secret"}
			if c != "" {
				args = append(args, "-c", c, "-C", c)
			}
			run(t, dir, "pk12util", args...)
			data := readFileT(t, filepath.Join(dir, "out.p12"))
			if data[1] != 0x80 {
				t.Errorf("NSS wrote a definite length: this test is about BER")
			}
			wantPeer(t, "NSS "+c, data, id)
			if kind == "P256" {
				_, err := Load("NSS", data, fixed("wrong"))
				wantErr(t, "NSS", err, "NSS", ErrPassphrase)
				return // NSS takes its time: the ciphers are the same for all keys
			}
		}
		for _, mac := range []string{"SHA-1", "SHA-512"} {
			run(t, dir, "pk12util", "-o", "out.p12", "-n", nick, "-d", "sql:.", "-W", "secret", "-M", mac)
			wantPeer(t, "NSS MAC "+mac, readFileT(t, filepath.Join(dir, "out.p12")), id)
		}
	}
}

// nssNickname returns the nickname that NSS chose for the certificate with a key.
func nssNickname(t *testing.T, dir string) string {
	t.Helper()
	for line := range strings.Lines(string(run(t, dir, "certutil", "-L", "-d", "sql:."))) {
		if nick, ok := strings.CutSuffix(strings.TrimSpace(line), "u,u,u"); ok {
			return strings.TrimSpace(nick)
		}
	}
	t.Fatal("NSS has no certificate with a key")
	return ""
}

func TestKeytool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for form, option := range map[PKCS12Form]string{PKCS12AES: "-J-Xshare:auto", PKCS12Weak3DES: "-J-Dkeystore.pkcs12.legacy"} {
		file, id := peerFile(t, dir, "RSA2048", form)
		run(t, dir, "keytool", option, "-importkeystore", "-noprompt", "-srckeystore", file, "-srcstorepass", "secret",
			"-destkeystore", "out.p12", "-deststoretype", "PKCS12", "-deststorepass", "secret")
		out := filepath.Join(dir, "out.p12")
		wantPeer(t, "keytool "+option, readFileT(t, out), id)
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
}

// A gpgsm is one home folder of gpgsm.
type gpgsm struct{ dir, home string }

func newGpgsm(t *testing.T) gpgsm {
	t.Helper()
	if _, err := exec.LookPath("gpgsm"); err != nil {
		missing(t, "gpgsm")
	}
	dir := t.TempDir()
	g := gpgsm{dir, filepath.Join(dir, "home")}
	if err := os.Mkdir(g.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run(t, dir, "gpgconf", "--homedir", g.home, "--kill", "all") })
	return g
}

func (g gpgsm) run(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{"--homedir", g.home, "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"}, args...)
	cmd := exec.CommandContext(ctx, "gpgsm", args...)
	cmd.Stdin = bytes.NewReader([]byte("secret\n"))
	return cmd.CombinedOutput()
}

func TestGpgsm(t *testing.T) {
	t.Parallel()
	g := newGpgsm(t)
	// Its version 2.2 reads the old ciphers only.
	file, id := peerFile(t, g.dir, "RSA2048", PKCS12Weak3DES)
	if out, err := g.run("--import", file); err != nil {
		t.Fatalf("gpgsm --import: %v\n%s", err, out)
	}
	exported := filepath.Join(g.dir, "out.p12")
	if out, err := g.run("--output", exported, "--export-secret-key-p12", "alice@example.test"); err != nil {
		t.Fatalf("gpgsm --export-secret-key-p12: %v\n%s", err, out)
	}
	wantPeer(t, "gpgsm", readFileT(t, exported), id)
}

// TestGpgsmDerivation writes files with salts from which gpgsm 2.2 derives
// another key than all others do. We read both, gpgsm the one or, once it has
// been mended, the other.
func TestGpgsmDerivation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, id := peerFile(t, dir, "RSA2048", PKCS12Weak3DES)
	plain, err := alg.MarshalPrivateKey(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	for name, derive := range map[string]derivation{"theirs": gnupgKey, "all others'": pkcs12Key} {
		differing := func(passphrase []byte, iterations int) (salt, key []byte) {
			for n := uint64(1); ; n++ {
				salt = binary.BigEndian.AppendUint64(nil, n)
				key = derive(sha1.New, forKey, passphrase, salt, iterations, weakKeySize)
				if !bytes.Equal(gnupgKey(sha1.New, forKey, passphrase, salt, iterations, weakKeySize),
					pkcs12Key(sha1.New, forKey, passphrase, salt, iterations, weakKeySize)) {
					return salt, key
				}
			}
		}
		w := p12Writer{password: []byte("secret"), form: PKCS12Weak3DES, iterations: 100, weakKey: differing}
		data, err := w.pfx(plain, id)
		if err != nil {
			t.Fatal(err)
		}
		wantPeer(t, name, data, id)
		file := filepath.Join(dir, "differing.p12")
		writeFile(t, file, data)
		if _, err = newGpgsm(t).run("--import", file); err == nil {
			reads++
		}
		out, err := exec.Command("openssl", "pkcs12", "-legacy", "-in", file, "-passin", "pass:secret", "-noenc").CombinedOutput()
		if (err == nil) != (name != "theirs") {
			t.Errorf("openssl reads a file with the key %s: %v\n%s", name, err, out)
		}
	}
	if reads != 1 {
		t.Errorf("gpgsm reads %d of the two files", reads)
	}
}

func TestGoPKCS12(t *testing.T) {
	_, id := peerFile(t, t.TempDir(), "P256", PKCS12AES)
	for name, enc := range map[string]*pkcs12.Encoder{
		"LegacyRC2": pkcs12.LegacyRC2, "LegacyDES": pkcs12.LegacyDES, "Modern2023": pkcs12.Modern2023,
		"Modern2026, PBMAC1": pkcs12.Modern2026,
	} {
		data, err := enc.Encode(id.Key, id.Certificate.X509, nil, "secret")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantPeer(t, name, data, id)
	}
	for _, form := range forms {
		data, err := encodePKCS12(id, "secret", form, 2000)
		if err != nil {
			t.Fatal(err)
		}
		key, cert, chain, err := pkcs12.DecodeChain(data, "secret")
		if err != nil || !sameKey(key, id.Key) || !cert.Equal(id.Certificate.X509) || len(chain) != 1 {
			t.Errorf("go-pkcs12 reads ours, %v: %v", form, err)
		}
	}
}
