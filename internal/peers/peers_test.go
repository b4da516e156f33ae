package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// found and missing are the peers that TestMain started.
var (
	found   []Peer
	missing []string
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "peers")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		code, err = withPeers(dir, m.Run)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// withPeers runs the tests with all peers started, and checks that afterwards
// no process of theirs is left.
func withPeers(dir string, runAll func() int) (code int, err error) {
	env, err := newTestEnv(dir)
	if err != nil {
		return 1, err
	}
	found, missing, err = Find(context.Background(), env)
	if err != nil {
		return 1, err
	}
	places := []string{dir}
	for _, p := range found {
		if g, ok := p.(*gpgsmPeer); ok {
			places = append(places, g.dir)
		}
	}
	code = runAll()
	before := processes(places)
	if err = Close(found); err != nil {
		return 1, err
	}
	if peer("bouncycastle") != nil && len(before) == 0 {
		return 1, errors.New("the search for processes does not find those that run")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := processes(places)
		if len(left) == 0 {
			return code, nil
		}
		if time.Now().After(end) {
			return 1, fmt.Errorf("processes are left after Close: %q", left)
		}
	}
}

// processes returns the command lines of all processes that name one of the
// places.
func processes(places []string) []string {
	var list []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		for _, place := range places {
			if bytes.Contains(line, []byte(place+"/")) {
				list = append(list, strings.ReplaceAll(string(line), "\x00", " "))
				break
			}
		}
	}
	return list
}

// peer returns the peer of the given name, or nil if it is missing.
func peer(name string) Peer {
	for _, p := range found {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

func TestFound(t *testing.T) {
	if len(found)+len(missing) != len(constructors) {
		t.Errorf("%d found and %d missing of %d peers", len(found), len(missing), len(constructors))
	}
	for _, p := range found {
		t.Logf("%s: %s", p.Name(), p.Version())
		if p.Version() == "" {
			t.Errorf("%s has no version", p.Name())
		}
	}
	for _, what := range missing {
		name, _, _ := strings.Cut(what, ":")
		t.Run(name, func(t *testing.T) {
			if os.Getenv("CI") == "true" {
				t.Fatal(what)
			}
			t.Skip(what)
		})
	}
}

// TestMistakes checks that an operation that makes no sense is told from one
// that a peer cannot do.
func TestMistakes(t *testing.T) {
	for _, op := range []*Op{
		{Kind: Signed},
		{Kind: Signed, Signers: []string{"nobody"}},
		{Kind: Enveloped, Cipher: "aes-128-cbc"},
		{Kind: Enveloped, Recipients: []string{"rsa"}},
		{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "aes-128-cbc", Detached: true},
		{Kind: Encrypted, Cipher: "aes-128-cbc"},
		{Kind: Signed, Signers: []string{"rsa"}, LF: true},
	} {
		for _, p := range found {
			_, err := p.Make(t.Context(), op, []byte("x"))
			var unsupported *UnsupportedError
			if err == nil || errors.As(err, &unsupported) {
				t.Errorf("%s: %s: %v", p.Name(), op, err)
			}
		}
	}
}

// TestUnsupported checks that what no peer can do is reported as such.
func TestUnsupported(t *testing.T) {
	for _, op := range []*Op{
		{Kind: Enveloped, Recipients: []string{"x25519"}, Cipher: "aes-128-cbc"},
		{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "chacha20-poly1305"},
	} {
		for _, p := range found {
			var unsupported *UnsupportedError
			if _, err := p.Make(t.Context(), op, []byte("x")); !errors.As(err, &unsupported) {
				t.Errorf("%s makes %s: %v", p.Name(), op, err)
			}
			if _, err := p.Open(t.Context(), op, []byte("x"), nil); !errors.As(err, &unsupported) {
				t.Errorf("%s opens %s: %v", p.Name(), op, err)
			}
		}
	}
}

// TestFindNothing checks that without a PATH all peers are reported missing.
func TestFindNothing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	some, none, err := Find(t.Context(), &Env{Dir: t.TempDir()})
	if err != nil || len(some) != 0 || len(none) != len(constructors) {
		t.Errorf("found %v, missing %q, %v", some, none, err)
	}
}

// TestStart starts peers as the tests of other packages do.
func TestStart(t *testing.T) {
	root, err := newIssuer("Another root", nil)
	if err != nil {
		t.Fatal(err)
	}
	person, err := root.issue("someone", "rsa")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Run("inner", func(t *testing.T) {
		op := &Op{Kind: Signed, Signers: []string{"someone"}}
		for _, p := range Start(t, &Env{Dir: dir, Roots: [][]byte{root.pem()}, People: []Person{person}}) {
			var message []byte
			if message, err = p.Make(t.Context(), op, []byte("x")); err != nil {
				t.Errorf("%s: %v", p.Name(), err)
			} else if _, err = p.Open(t.Context(), op, message, nil); err != nil {
				t.Errorf("%s: %v", p.Name(), err)
			}
		}
	})
	if left := processes([]string{dir}); len(left) != 0 {
		t.Errorf("left after the test: %q", left)
	}
}

// TestConcurrent uses every peer from several goroutines at once.
func TestConcurrent(t *testing.T) {
	ops := []*Op{
		{Kind: Signed, Signers: []string{"rsa"}},
		{Kind: Signed, Signers: []string{"p256"}, Detached: true},
		{Kind: Enveloped, Recipients: []string{"rsa"}, Cipher: "aes-128-cbc"},
		{Kind: Enveloped, Recipients: []string{"other"}, Cipher: "aes-128-cbc"},
	}
	var all sync.WaitGroup
	for _, p := range found {
		for i := range 3 * len(ops) {
			op := ops[i%len(ops)]
			text := fmt.Appendf(nil, "message %d", i)
			all.Go(func() {
				message, err := p.Make(t.Context(), op, text)
				if err != nil {
					t.Errorf("%s: %s: %v", p.Name(), op, err)
					return
				}
				got, err := p.Open(t.Context(), op, message, text)
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s: %s: %q, %v", p.Name(), op, got, err)
				}
			})
		}
	}
	all.Wait()
}
