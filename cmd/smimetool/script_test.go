package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/pkcs11"
	"github.com/postseal/postseal/pki"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"smimetool": main})
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 25 {
		t.Fatalf("there are %d scripts", len(scripts))
	}
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits,
			"json":  cmdJSON,
			"crlf":  cmdCRLF,
			"flip":  cmdFlip,
			"bend":  cmdBend,
			"await": cmdAwait,
			"only":  cmdOnly,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "ci":
				return os.Getenv("CI") == "true", nil
			case "pkcs11":
				_, err := pkcs11.List("pkcs11:", nil)
				return !errors.Is(err, pkcs11.ErrNotBuilt), nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// people are in every script's folder, as NAME.pem (certificate, issuers and
// key), NAME.crt and NAME.key; NAME.ca.crt is the root. Dana has a certificate
// for signing and one for encryption.
var people = []testpki.Profile{
	{Name: "Alice", Email: "alice@example.test", Key: testpki.RSA2048},
	{Name: "Bob", Email: "bob@example.test", Key: testpki.RSA2048},
	{Name: "Carol", Email: "carol@example.test", Key: testpki.P256},
	{Name: "DanaSign", Email: "dana@example.test", Key: testpki.Ed25519},
	{Name: "DanaCrypt", Email: "dana@example.test", Key: testpki.X25519},
	{Name: "Old", Email: "alice@example.test", Key: testpki.P256, NotBefore: time.Now().Add(-40 * time.Hour), NotAfter: time.Now().Add(-20 * time.Hour)},
	{Name: "Weak", Email: "alice@example.test", Key: testpki.RSA1024},
}

// files are made once and copied to every script.
var files = sync.OnceValues(func() (map[string][]byte, error) {
	root, err := testpki.NewCA("Root")
	if err != nil {
		return nil, err
	}
	ca, err := root.IntermediateWith("Intermediate", testpki.P256, nil)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{"ca.pem": testpki.CertPEM(root.Cert), "ca.der": root.Cert.Raw}
	out["intermediate.crt"] = testpki.CertPEM(ca.Cert)
	for _, profile := range people {
		p, issueErr := ca.Issue(profile)
		if issueErr != nil {
			return nil, issueErr
		}
		if err = addFiles(out, strings.ToLower(profile.Name), p); err != nil {
			return nil, err
		}
	}
	other, err := testpki.NewCA("Other")
	if err != nil {
		return nil, err
	}
	out["other-ca.pem"] = testpki.CertPEM(other.Cert)
	mallory, err := other.Issue(testpki.Profile{Name: "Mallory", Email: "alice@example.test", Key: testpki.P256})
	if err != nil {
		return nil, err
	}
	out["dana.pem"] = append(append([]byte{}, out["danasign.pem"]...), out["danacrypt.pem"]...)
	out["dana.crt"] = append(append([]byte{}, out["danasign.crt"]...), out["danacrypt.crt"]...)
	return out, addFiles(out, "mallory", mallory)
})

func addFiles(out map[string][]byte, base string, p *testpki.Person) error {
	key, err := p.KeyPEM()
	if err != nil {
		return err
	}
	chain := p.Chain[:len(p.Chain)-1]
	out[base+".crt"] = testpki.CertPEM(p.Cert)
	out[base+".der"] = p.Cert.Raw
	out[base+".key"] = key
	out[base+".pem"] = append(append(testpki.CertPEM(p.Cert), testpki.CertPEM(chain...)...), key...)
	if base != "alice" && base != "bob" {
		return nil
	}
	id := keystore.Identity{Certificate: pki.FromX509(p.Cert), Key: p.Key}
	for _, c := range chain {
		id.Chain = append(id.Chain, pki.FromX509(c))
	}
	out[base+".p12"], err = keystore.EncodePKCS12(id, "pass of "+base)
	return err
}

func setup(env *testscript.Env) error {
	all, err := files()
	if err != nil {
		return err
	}
	for name, data := range all {
		if err = os.WriteFile(filepath.Join(env.WorkDir, name), data, 0o600); err != nil {
			return err
		}
	}
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, ".tmp"))
	env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, ".data"))
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
	env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
	free, err := freeAddress()
	if err != nil {
		return err
	}
	env.Setenv("FREE_ADDRESS", free)
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is good
			env.Setenv("MODULE", found[0])
		}
	}
	env.Setenv("GORACE", "atexit_sleep_ms=0") // by default every run under the race detector sleeps for a second
	return nil
}

// freeAddress returns an address on loopback at which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// cmdExits runs a command and checks its exit code: exits CODE COMMAND ARG...
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err = ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdJSON checks a value in a JSON file: json FILE PATH VALUE, where PATH is of
// names and indices with dots between them, and VALUE is JSON. "len" at the end
// of a path is the number of elements.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var got, want any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &got))
	ts.Check(json.Unmarshal([]byte(args[2]), &want))
	for step := range strings.SplitSeq(args[1], ".") {
		switch v := got.(type) {
		case map[string]any:
			value, ok := v[step]
			if !ok {
				ts.Fatalf("%s: there is no %q in %v", args[1], step, v)
			}
			got = value
		case []any:
			i, err := strconv.Atoi(step)
			switch {
			case step == "len":
				got = float64(len(v))
			case err != nil || i >= len(v):
				ts.Fatalf("%s: there is no element %q in %v", args[1], step, v)
			default:
				got = v[i]
			}
		default:
			ts.Fatalf("%s: %v has nothing below it", args[1], v)
		}
	}
	a, b := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want)
	if (a == b) == neg {
		ts.Fatalf("%s is %s, compared with %s", args[1], a, b)
	}
}

// cmdCRLF gives files CRLF line ends.
func cmdCRLF(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! crlf")
	}
	for _, name := range args {
		text := strings.ReplaceAll(ts.ReadFile(name), "\n", "\r\n")
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// cmdFlip changes the octets in the middle of the text that is given: flip FILE
// OLD NEW.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: flip FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if strings.Count(text, args[1]) != 1 {
		ts.Fatalf("%q is %d times in %s", args[1], strings.Count(text, args[1]), args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// cmdBend changes the first character of a line in the second half of a file, by
// one that base64 has as well: bend FILE.
func cmdBend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: bend FILE")
	}
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	middle := []byte(lines[len(lines)*2/3])
	if middle[0] == 'A' {
		middle[0] = 'B'
	} else {
		middle[0] = 'A'
	}
	lines[len(lines)*2/3] = string(middle)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "\n")), 0o600))
}

// cmdAwait waits until a folder has a number of files: await FOLDER COUNT.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FOLDER COUNT")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range 500 {
		entries, readErr := os.ReadDir(ts.MkAbs(args[0]))
		ts.Check(readErr)
		if len(entries) == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never had %d files", args[0], want)
}

// cmdOnly checks that a folder has the given files and no others, hidden ones
// among them: only FOLDER NAME...
func cmdOnly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: only FOLDER NAME...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	want := make(map[string]bool)
	for _, name := range args[1:] {
		want[name] = true
	}
	for _, e := range entries {
		if !want[e.Name()] {
			ts.Fatalf("%s has %s in it", args[0], e.Name())
		}
		delete(want, e.Name())
	}
	for name := range want {
		ts.Fatalf("%s lacks %s", args[0], name)
	}
}
