package interop

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
)

var update = flag.Bool("update", false, "write the matrix to docs/interop.md")

// people are everybody in the matrix, by name.
var people = map[string]testpki.KeyType{
	"rsa": testpki.RSA2048, "other": testpki.RSA3072, "p256": testpki.P256, "p384": testpki.P384, "p521": testpki.P521,
	"ed25519": testpki.Ed25519, "sub": testpki.RSA2048,
}

// newWorld makes a CA and its people, and what the peers have to know of them.
func newWorld(dir string) (*ours, *peers.Env, error) {
	root, err := testpki.NewCAWithKey("Interop Root", testpki.RSA2048)
	if err != nil {
		return nil, nil, err
	}
	sub, err := root.IntermediateWith("Interop Sub CA", testpki.RSA3072, nil)
	if err != nil {
		return nil, nil, err
	}
	o := &ours{root: root, people: make(map[string]*testpki.Person)}
	env := &peers.Env{Dir: dir, Roots: [][]byte{testpki.CertPEM(root.Cert)}}
	names := make([]string, 0, len(people))
	for name := range people {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		ca := root
		if name == "sub" {
			ca = sub
		}
		p, err := ca.Issue(testpki.Profile{Name: "interop-" + name, Email: name + "@example.test", Key: people[name]})
		if err != nil {
			return nil, nil, err
		}
		// The root goes into no message.
		p.Chain = p.Chain[:len(p.Chain)-1]
		o.people[name] = p
		key, err := p.KeyPEM()
		if err != nil {
			return nil, nil, err
		}
		certs := testpki.CertPEM(p.Cert)
		for _, c := range p.Chain {
			certs = append(certs, testpki.CertPEM(c)...)
		}
		env.People = append(env.People, peers.Person{Name: name, Email: name + "@example.test", CertPEM: certs, KeyPEM: key})
	}
	return o, env, nil
}

// The peers are started once for all tests.
var (
	us      *ours
	found   []peers.Peer
	missing []string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var env *peers.Env
	if us, env, err = newWorld(dir); err == nil {
		found, missing, err = peers.Find(context.Background(), env)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err = peers.Close(found); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestPeers: a peer that is missing is a failure in CI.
func TestPeers(t *testing.T) {
	for _, what := range missing {
		if os.Getenv("CI") == "true" {
			t.Error(what)
		} else {
			t.Log("missing: " + what)
		}
	}
}

// A cell counts what passed between us and one peer, in one direction.
type cell struct{ good, bad int }

// A matrix counts by group of operations and peer.
type matrix struct {
	rows  []string
	cells map[string]*cell
}

func (m *matrix) count(row, peer, way string, err error) {
	if !slices.Contains(m.rows, row) {
		m.rows = append(m.rows, row)
	}
	key := row + "|" + peer + "|" + way
	if m.cells[key] == nil {
		m.cells[key] = &cell{}
	}
	if err == nil {
		m.cells[key].good++
	} else {
		m.cells[key].bad++
	}
}

func (m *matrix) total(peer, way string) (good int) {
	for _, row := range m.rows {
		if c := m.cells[row+"|"+peer+"|"+way]; c != nil {
			good += c.good
		}
	}
	return good
}

// String returns the table as Markdown: for each peer what it opened of ours,
// and what we opened of its.
func (m *matrix) String() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, p := range found {
		fmt.Fprintf(&b, " to %s | from %s |", p.Name(), p.Name())
	}
	b.WriteString("\n| --- |")
	b.WriteString(strings.Repeat(" ---: | ---: |", len(found)) + "\n")
	for _, row := range m.rows {
		b.WriteString("| " + row + " |")
		for _, p := range found {
			for _, way := range []string{"to", "from"} {
				c := m.cells[row+"|"+p.Name()+"|"+way]
				switch {
				case c == nil:
					b.WriteString(" – |")
				case c.bad == 0:
					fmt.Fprintf(&b, " %d |", c.good)
				default:
					fmt.Fprintf(&b, " %d of %d |", c.good, c.good+c.bad)
				}
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// both runs one operation with one content in both directions with all peers.
func both(t *testing.T, m *matrix, row string, op *peers.Op, content []byte) {
	c := *op
	c.Empty = len(content) == 0
	op = &c
	message, err := us.make(op, content)
	weMake := !errors.Is(err, errCannot)
	if weMake && err != nil {
		t.Errorf("%s: made here: %v", op, err)
		return
	}
	if weMake {
		got, err := us.read(op, message, content)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: made and opened here: %d octets, %v", op, len(got), err)
		}
	}
	for _, p := range found {
		if weMake && p.CanOpen(op) == nil {
			got, err := p.Open(t.Context(), op, message, content)
			if op.LF { // some give the lines back as they were stored
				got = bytes.ReplaceAll(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
			}
			if err == nil && !bytes.Equal(got, content) {
				err = fmt.Errorf("%d octets came back for %d", len(got), len(content))
			}
			m.count(row, p.Name(), "to", err)
			if err != nil {
				t.Errorf("%s, %d octets: to %s: %v", op, len(content), p.Name(), err)
			}
		}
		if p.CanMake(op) == nil {
			theirs, err := p.Make(t.Context(), op, content)
			if err != nil {
				t.Errorf("%s, %d octets: made by %s: %v", op, len(content), p.Name(), err)
				continue
			}
			got, err := us.read(op, theirs, content)
			if err == nil && !bytes.Equal(got, content) {
				err = fmt.Errorf("%d octets came back for %d", len(got), len(content))
			}
			m.count(row, p.Name(), "from", err)
			if err != nil {
				t.Errorf("%s, %d octets: from %s: %v", op, len(content), p.Name(), err)
			}
		}
	}
}

// TestMatrix runs the whole matrix and prints it.
func TestMatrix(t *testing.T) {
	if len(found) == 0 {
		t.Skip("no other implementation is installed")
	}
	m := &matrix{cells: make(map[string]*cell)}
	for _, g := range groups() {
		for _, op := range g.ops {
			for _, size := range g.sizes {
				both(t, m, g.name, op, content(op, size))
			}
		}
	}
	table := m.String()
	t.Log("\n" + table)
	for _, p := range found {
		t.Logf("%s: %s: opened %d of ours, made %d for us", p.Name(), p.Version(), m.total(p.Name(), "to"), m.total(p.Name(), "from"))
		if m.total(p.Name(), "to") < 20 || m.total(p.Name(), "from") < 20 {
			t.Errorf("%s: hardly anything was tried", p.Name())
		}
	}
	if *update && !t.Failed() {
		writeDoc(t, table)
	}
}

// writeDoc replaces the table in docs/interop.md.
func writeDoc(t *testing.T, table string) {
	t.Helper()
	name := filepath.Join("..", "..", "docs", "interop.md")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var versions strings.Builder
	for _, p := range found {
		fmt.Fprintf(&versions, "- %s: %s\n", p.Name(), p.Version())
	}
	const begin, end = "<!-- matrix -->\n", "<!-- end of matrix -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the matrix", name)
	}
	text := before + begin + "\n" + versions.String() + "\n" + table + "\n" + end + after
	if err = os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
