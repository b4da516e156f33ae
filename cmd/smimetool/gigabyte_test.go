//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
)

// peakLimit is what a process may have resident at any time, in KiB.
const peakLimit = 32 << 10

// A gigabyte is a big message on its way through the tool.
type gigabyte struct {
	t    *testing.T
	dir  string
	tool string
}

// TestGigabyte signs, verifies, encrypts and decrypts a message of 1 GiB, from
// a file and from a pipe, and prints the peak memory of each process. It takes
// minutes and 6 GiB of disk, and runs when POSTSEAL_GIGABYTE is set; its value
// is the size in MiB, 1024 for the real thing.
func TestGigabyte(t *testing.T) {
	mib, err := strconv.Atoi(os.Getenv("POSTSEAL_GIGABYTE"))
	if err != nil {
		t.Skip("POSTSEAL_GIGABYTE is not set to a size in MiB; ./check sets it")
	}
	g := &gigabyte{t: t, dir: t.TempDir()}
	g.prepare(int64(mib) << 20)
	g.both("sign, detached", "signed.eml", "message.eml", "sign", "--identity", "alice.pem")
	g.both("sign, opaque", "opaque.eml", "message.eml", "sign", "--opaque", "--identity", "alice.pem")
	g.both("verify, detached", "", "signed.eml", "verify", "--trust", "alice.ca.crt")
	g.remove("signed.eml")
	g.both("verify, opaque", "", "opaque.eml", "verify", "--trust", "alice.ca.crt")
	g.remove("opaque.eml")
	for _, cipher := range []string{"aes-256-cbc", "aes-256-gcm"} {
		g.both("encrypt, "+cipher, "sealed.eml", "message.eml", "encrypt", "--cipher", cipher, "--to", "alice.crt")
		g.both("decrypt, "+cipher, "opened.eml", "sealed.eml", "decrypt", "--identity", "alice.pem")
		g.same("opened.eml", "message.eml")
	}
	g.both("sign and encrypt", "sealed.eml", "message.eml", "encrypt", "--sign", "alice.pem", "--to", "alice.crt")
	g.both("open", "opened.eml", "sealed.eml", "open", "--identity", "alice.pem", "--trust", "alice.ca.crt")
	g.same("opened.eml", "message.eml")
}

// prepare builds the tool, makes a person, and writes the message.
func (g *gigabyte) prepare(size int64) {
	g.tool = filepath.Join(g.dir, "smimetool")
	if out, err := exec.Command("go", "build", "-o", g.tool, ".").CombinedOutput(); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	ca, err := testpki.NewCA("Big CA")
	if err != nil {
		g.t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test"})
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err = p.WriteFiles(g.dir, "alice"); err != nil {
		g.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(g.dir, "message.eml"))
	if err != nil {
		g.t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintf(w, "From: alice@example.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n")
	for n := 0; int64(n)*72 < size; n++ {
		fmt.Fprintf(w, "line %011d of a message that is much longer than it should be .\r\n", n)
	}
	if err = w.Flush(); err != nil {
		g.t.Fatal(err)
	}
	if err = f.Close(); err != nil {
		g.t.Fatal(err)
	}
}

// both runs an operation from file to file and from pipe to pipe. out is "" for
// an operation that only judges.
func (g *gigabyte) both(name, out, in string, args ...string) {
	g.t.Helper()
	for _, pipe := range []bool{false, true} {
		cmd := exec.Command(g.tool, args...)
		cmd.Dir = g.dir
		cmd.Env = append(os.Environ(), "TMPDIR="+g.dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		way := "file"
		if pipe {
			way = "pipe"
			g.connect(cmd, in)
		} else {
			if out != "" {
				cmd.Args = append(cmd.Args, "-o", out)
			}
			cmd.Args = append(cmd.Args, in)
		}
		start := time.Now()
		if err := cmd.Run(); err != nil {
			g.t.Fatalf("%s, %s: %v\n%s", name, way, err, stderr.String())
		}
		// What this process has resident itself counts in, since it is what the
		// new one begins as: the figure is an upper bound.
		peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
		g.t.Logf("%-24s %s  %6.2f s  %6d KiB", name, way, time.Since(start).Seconds(), peak)
		if peak >= peakLimit {
			g.t.Errorf("%s, %s: %d KiB were resident; the limit is %d", name, way, peak, peakLimit)
		}
	}
}

// connect gives cmd a pipe to read from, and one to write to.
func (g *gigabyte) connect(cmd *exec.Cmd, in string) {
	f, err := os.Open(filepath.Join(g.dir, in))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = f.Close() })
	cmd.Stdin = struct{ io.Reader }{f} // not the file itself: a pipe and a goroutine
	cmd.Stdout = struct{ io.Writer }{io.Discard}
}

// same asserts that the body of one message ends with all of that of another.
func (g *gigabyte) same(a, b string) {
	g.t.Helper()
	sums := make([][]byte, 2)
	for i, name := range []string{a, b} {
		f, err := os.Open(filepath.Join(g.dir, name))
		if err != nil {
			g.t.Fatal(err)
		}
		r := bufio.NewReaderSize(f, 1<<20)
		for line := "x"; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				g.t.Fatalf("%s has no body: %v", name, err)
			}
		}
		h := sha256.New()
		if _, err = io.Copy(h, r); err != nil {
			g.t.Fatal(err)
		}
		_ = f.Close()
		sums[i] = h.Sum(nil)
	}
	if !bytes.Equal(sums[0], sums[1]) {
		g.t.Errorf("the bodies of %s and %s differ", a, b)
	}
}

func (g *gigabyte) remove(name string) {
	if err := os.Remove(filepath.Join(g.dir, name)); err != nil {
		g.t.Fatal(err)
	}
}
