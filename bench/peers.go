package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/postseal/postseal/internal/peers"
	"software.sslmate.com/src/go-pkcs12"
)

// errAbsent says that a peer is not installed.
var errAbsent = errors.New("is not installed")

// look finds out whether programs are there.
func look(names ...string) error {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s %w", name, errAbsent)
		}
	}
	return nil
}

// output runs a program for what it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

// openssl is the command of OpenSSL, in the fastest of its ways.
func (w *world) openssl(ctx context.Context) (*peer, error) {
	if err := look("openssl"); err != nil {
		return nil, err
	}
	version, err := output(ctx, "openssl", "version")
	return &peer{name: "openssl", version: firstLine(version), command: w.opensslCommand}, err
}

func (w *world) opensslCommand(r row) []command {
	in, out := w.path(r.in), w.path("out")
	form := "DER"
	if r.smime {
		form = "SMIME"
	}
	sign := []string{"openssl", "cms", "-sign", "-md", "sha256", "-signer", w.alice.Cert, "-inkey", w.alice.Key}
	encrypt := []string{"openssl", "cms", "-encrypt", "-stream", "-" + cipherNames[r.form]}
	verify := []string{"openssl", "cms", "-verify", "-CAfile", w.alice.CA}
	decrypt := []string{"openssl", "cms", "-decrypt", "-recip", w.alice.Cert, "-inkey", w.alice.Key}
	var args []string
	switch r.op {
	case "sign":
		args = append(sign, "-outform", form)
		switch {
		case r.form == "opaque":
			args = append(args, "-nodetach", "-stream")
		case r.smime:
			args = append(args, "-stream")
		}
	case "verify":
		args = append(verify, "-inform", form)
		if !r.smime && r.form == "detached" {
			args = append(args, "-content", w.path("body"))
			out = os.DevNull // it cannot leave the content out
		}
	case "encrypt":
		args = append(encrypt, "-outform", form)
	case "decrypt":
		args = append(decrypt, "-inform", form)
	case "seal":
		return []command{{args: pipe(append(sign, "-stream", "-in", in), append(encrypt, "-out", out, w.alice.Cert))}}
	case "open":
		return []command{{args: pipe(append(decrypt, "-in", in), append(verify, "-out", out))}}
	}
	if !r.smime {
		args = append(args, "-binary")
	}
	args = append(args, "-in", in, "-out", out)
	if r.op == "encrypt" {
		args = append(args, w.alice.Cert)
	}
	return []command{{args: args}}
}

// pipe joins two programs. The names that it quotes have no quotes in them.
func pipe(first, second []string) []string {
	return []string{"sh", "-c", "'" + strings.Join(first, "' '") + "' | '" + strings.Join(second, "' '") + "'"}
}

// p12 writes alice's identity as a PKCS #12 file.
func (w *world) p12(name, password string) (string, error) {
	data, err := pkcs12.LegacyRC2.Encode(w.person.Key, w.person.Cert, nil, password)
	if err != nil {
		return "", err
	}
	return w.path(name), os.WriteFile(w.path(name), data, 0o600)
}

// gpgsm is GnuPG's, with a home and an agent of its own.
func (w *world) gpgsm(ctx context.Context) (p *peer, err error) {
	if err = look("gpgsm", "gpg-agent", "gpgconf"); err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("/tmp", "g") // a short name, for the agent's socket
	if err != nil {
		return nil, err
	}
	end := func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // it may not run
		_ = os.RemoveAll(home)                                                // it is temporary
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	root := w.person.Chain[len(w.person.Chain)-1]
	trust := fmt.Sprintf("%X S relax\n", sha1.Sum(root.Raw))
	for name, text := range map[string]string{"trustlist.txt": trust, "gpg-agent.conf": "disable-scdaemon\n"} {
		if err = os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	base := []string{"gpgsm", "--homedir", home, "--batch", "--yes", "--quiet", "--disable-crl-checks"}
	version, err := output(ctx, "gpgsm", "--version")
	if err != nil {
		return nil, err
	}
	if err = w.gpgsmKeys(ctx, home, base); err != nil {
		return nil, err
	}
	command := func(r row) []command { return w.gpgsmCommand(base[:len(base):len(base)], r) }
	return &peer{name: "gpgsm", version: firstLine(version), command: command, close: end}, nil
}

// gpgsmKeys gives alice's certificate and key to gpgsm.
func (w *world) gpgsmKeys(ctx context.Context, home string, base []string) error {
	args := base[1:len(base):len(base)]
	for _, file := range []string{w.alice.CA, w.alice.Cert} {
		if _, err := output(ctx, base[0], append(args, "--import", file)...); err != nil {
			return err
		}
	}
	listing, err := output(ctx, base[0], append(args, "--with-colons", "--with-keygrip", "--list-keys", "alice@example.test")...)
	if err != nil {
		return err
	}
	keyPEM, err := w.person.KeyPEM()
	if err != nil {
		return err
	}
	key, err := peers.AgentKey(keyPEM)
	if err != nil {
		return err
	}
	// The agent keeps a key under the name that gpgsm lists for it.
	dir := filepath.Join(home, "private-keys-v1.d")
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, grip := range peers.Keygrips([]byte(listing)) {
		if err = os.WriteFile(filepath.Join(dir, grip+".key"), key, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) gpgsmCommand(base []string, r row) []command {
	if r.smime {
		return nil
	}
	in, args := w.path(r.in), append(base, "--output", w.path("out"))
	switch {
	case r.op == "sign" && r.form == "detached":
		args = append(args, "--local-user", "alice@example.test", "--detach-sign", in)
	case r.op == "sign":
		args = append(args, "--local-user", "alice@example.test", "--sign", in)
	case r.op == "verify" && r.form == "detached":
		args = append(base, "--verify", in, w.path("body"))
	case r.op == "verify":
		args = append(args, "--verify", in)
	case r.op == "encrypt" && r.form == "cbc":
		args = append(args, "--cipher-algo", "AES256", "--recipient", "alice@example.test", "--encrypt", in)
	case r.op == "decrypt" && r.form == "cbc":
		args = append(args, "--decrypt", in)
	default:
		return nil
	}
	return []command{{args: args}}
}

// nss is cmsutil of NSS, with a database of its own.
func (w *world) nss(ctx context.Context) (*peer, error) {
	if err := look("cmsutil", "certutil", "pk12util"); err != nil {
		return nil, err
	}
	dir := w.path("nss")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := w.p12("nss.p12", "bench")
	if err != nil {
		return nil, err
	}
	db := "sql:" + dir
	for _, args := range [][]string{
		{"certutil", "-N", "-d", db, "--empty-password"},
		{"certutil", "-A", "-d", db, "-n", "root", "-t", "CT,C,C", "-i", w.alice.CA},
		{"certutil", "-A", "-d", db, "-n", "alice", "-t", ",,", "-i", w.alice.Cert},
		{"pk12util", "-i", file, "-d", db, "-W", "bench", "-K", ""},
	} {
		if _, err = output(ctx, args[0], args[1:]...); err != nil {
			return nil, err
		}
	}
	return &peer{name: "nss", version: "NSS cmsutil", command: func(r row) []command { return w.nssCommand(db, r) }}, nil
}

// nssCommand leaves encryption out: cmsutil cannot be asked for AES-256.
func (w *world) nssCommand(db string, r row) []command {
	args := []string{"cmsutil", "-d", db, "-i", w.path(r.in), "-o", w.path("out")}
	switch {
	case r.smime:
		return nil
	case r.op == "sign":
		args = append(args, "-S", "-G", "-N", "alice", "-H", "SHA256")
		if r.form == "detached" {
			args = append(args, "-T")
		}
	case r.op == "verify" && r.form == "detached":
		args = append(args, "-D", "-n", "-c", w.path("body"))
	case r.op == "verify", r.op == "decrypt" && r.form == "cbc":
		args = append(args, "-D")
	default:
		return nil
	}
	return []command{{args: args}}
}

//go:embed bc/Bench.java
var bcSource []byte

// bouncyCastle is a program around Bouncy Castle, compiled here.
func (w *world) bouncyCastle(ctx context.Context) (*peer, error) {
	if err := look("java", "javac"); err != nil {
		return nil, err
	}
	var path []string
	for _, jar := range []string{"bcprov.jar", "bcutil.jar", "bcpkix.jar", "bcmail.jar", "javax.mail.jar", "javax.activation.jar"} {
		file := "/usr/share/java/" + jar
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s %w", file, errAbsent)
		}
		path = append(path, file)
	}
	dir := w.path("bc")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "Bench.java")
	if err := os.WriteFile(source, bcSource, 0o600); err != nil {
		return nil, err
	}
	if _, err := output(ctx, "javac", "-nowarn", "-d", dir, "-cp", strings.Join(path, ":"), source); err != nil {
		return nil, err
	}
	classes := strings.Join(append(path, dir), ":")
	version, err := output(ctx, "java", "-cp", classes, "Bench", "version")
	if err != nil {
		return nil, err
	}
	command := func(r row) []command { return w.bcCommand(classes, r) }
	return &peer{name: "bouncycastle", version: "Bouncy Castle " + firstLine(version), command: command}, nil
}

func (w *world) bcCommand(classes string, r row) []command {
	if r.op == "seal" || r.op == "open" || r.form == "gcm" || (r.smime && (r.op == "sign" || r.op == "encrypt")) {
		return nil // it has no streams for these
	}
	form := "der"
	if r.smime {
		form = "smime"
	}
	return []command{{args: []string{"java", "-Xmx6g", "-cp", classes, "Bench", r.op, form, r.form, w.alice.Cert, w.alice.Key,
		w.path(r.in), w.path("body"), w.path("out")}}}
}

//go:embed golibs
var libSources embed.FS

// library builds the program around a Go library, which is a module of its own,
// so that Postseal's go.mod does not name it.
func (w *world) library(ctx context.Context, name, module string) (*peer, error) {
	program := w.path("golibs")
	if _, err := os.Stat(program); err != nil {
		dir := w.path("golibs.d")
		if err = os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		for from, to := range map[string]string{"main.go.txt": "main.go", "go.mod.txt": "go.mod", "go.sum.txt": "go.sum"} {
			var data []byte
			if data, err = libSources.ReadFile("golibs/" + from); err != nil {
				return nil, err
			}
			if err = os.WriteFile(filepath.Join(dir, to), data, 0o600); err != nil {
				return nil, err
			}
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
		build.Dir = dir
		build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, buildErr := build.CombinedOutput(); buildErr != nil {
			return nil, fmt.Errorf("the Go libraries: %w (go build: %s)", errAbsent, bytes.TrimSpace(out))
		}
	}
	return &peer{name: name, version: module, command: func(r row) []command {
		if r.smime || r.op == "seal" || r.op == "open" {
			return nil
		}
		return []command{{args: []string{program, name, r.op, r.form, w.alice.Cert, w.alice.Key, w.path(r.in), w.path("body"), w.path("out")}}}
	}}, nil
}

func (w *world) smallstep(ctx context.Context) (*peer, error) {
	return w.library(ctx, "smallstep", "github.com/smallstep/pkcs7")
}

func (w *world) mozilla(ctx context.Context) (*peer, error) {
	return w.library(ctx, "mozilla", "go.mozilla.org/pkcs7")
}
