package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/postseal/postseal/internal/testpki"
)

// A world is the data of a run, and the programs that work on it.
type world struct {
	o      *options
	stderr io.Writer
	dir    string // on tmpfs
	tool   string // smimetool
	alice  testpki.Files
	ca     *testpki.CA
	person *testpki.Person
	peers  []*peer
	size   int64
	sums   map[string][sha256.Size]byte // of files that outputs are compared with
}

// newWorld makes what does not depend on sizes.
func newWorld(ctx context.Context, o *options, stderr io.Writer) (*world, error) {
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "bench-*")
	if err != nil {
		return nil, err
	}
	w := &world{o: o, stderr: stderr, dir: dir, tool: o.tool}
	if err = w.prepare(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) prepare(ctx context.Context) (err error) {
	if w.ca, err = testpki.NewCAWithKey("Bench CA", testpki.RSA2048); err != nil {
		return err
	}
	if w.person, err = w.ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.RSA2048}); err != nil {
		return err
	}
	if w.alice, err = w.person.WriteFiles(w.dir, "alice"); err != nil {
		return err
	}
	if w.tool == "" {
		w.tool = filepath.Join(w.dir, "smimetool")
		build := exec.CommandContext(ctx, "go", "build", "-o", w.tool, "github.com/postseal/postseal/cmd/smimetool")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as it is handed out
		if out, buildErr := build.CombinedOutput(); buildErr != nil {
			return fmt.Errorf("go build: %w\n%s", buildErr, out)
		}
	}
	w.peers = []*peer{{name: "postseal", version: "Postseal, this source", command: w.ours}}
	for _, candidate := range []struct {
		name string
		find func(context.Context) (*peer, error)
	}{{"openssl", w.openssl}, {"gpgsm", w.gpgsm}, {"nss", w.nss}, {"bouncycastle", w.bouncyCastle},
		{"smallstep", w.smallstep}, {"mozilla", w.mozilla}} {
		if !w.o.peers.MatchString(candidate.name) {
			continue
		}
		p, findErr := candidate.find(ctx)
		if errors.Is(findErr, errAbsent) {
			fmt.Fprintln(w.stderr, "without a peer:", findErr)
			continue
		}
		if findErr != nil {
			return findErr
		}
		w.peers = append(w.peers, p)
	}
	return nil
}

func (w *world) close() {
	for _, p := range w.peers {
		if p.close != nil {
			p.close()
		}
	}
	_ = os.RemoveAll(w.dir) // it is temporary
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// header is that of the message. It has no Content-Transfer-Encoding, as most
// mail that people write has none.
const header = "From: alice@example.test\r\nTo: alice@example.test\r\nSubject: a benchmark\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=us-ascii\r\n"

// writeContent writes text of size octets, and the message that has it as its
// body.
func (w *world) writeContent(size int64) error {
	w.size, w.sums = size, make(map[string][sha256.Size]byte)
	body, err := os.Create(w.path("body"))
	if err != nil {
		return err
	}
	mail, err := os.Create(w.path("mail"))
	if err != nil {
		return errors.Join(err, body.Close())
	}
	out := bufio.NewWriterSize(io.MultiWriter(body, mail), 1<<20)
	_, err = mail.WriteString(header + "\r\n")
	for n := int64(0); err == nil && n < size; {
		line := fmt.Sprintf("%012d a line of a text that is much longer than a text should be..\r\n", n)
		line = line[max(0, len(line)-int(min(size-n, int64(len(line))))):]
		n += int64(len(line))
		_, err = out.WriteString(line)
	}
	return errors.Join(err, out.Flush(), body.Close(), mail.Close())
}

// sum hashes the octets of a file behind the first empty line, or all of it.
func sum(file string, body bool) (s [sha256.Size]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }() // it was only read
	r := bufio.NewReaderSize(f, 1<<20)
	for line := ""; body && line != "\r\n" && line != "\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return s, fmt.Errorf("%s has no body: %w", filepath.Base(file), err)
		}
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	h.Sum(s[:0])
	return s, err
}

// same checks that a file holds the content: as it is, or as the body of an
// entity.
func (w *world) same(file string) error {
	want, ok := w.sums["body"]
	if !ok {
		var err error
		if want, err = sum(w.path("body"), false); err != nil {
			return err
		}
		w.sums["body"] = want
	}
	head := make([]byte, 64)
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	n, _ := io.ReadFull(f, head)
	_ = f.Close() // it was only read
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	got, err := sum(file, strings.Contains(line, ":"))
	if err != nil {
		return err
	}
	if got != want {
		return errors.New("the content differs")
	}
	return nil
}
