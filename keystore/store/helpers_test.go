package store

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// TestMain lets the test binary be a second process: see processes_test.go.
func TestMain(m *testing.M) {
	if task := os.Getenv("POSTSEAL_STORE_TASK"); task != "" {
		if err := runTask(task); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// must returns a value, and ends the test when there is an error.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// quick is a Passphrase that takes no time.
func quick(passphrase string) *Passphrase {
	return &Passphrase{Ask: func(string) ([]byte, error) { return []byte(passphrase), nil }, Time: 1, Memory: 64, Threads: 1}
}

// newStore opens a store in a new folder.
func newStore(t *testing.T, opts Options) *Store {
	t.Helper()
	return openStore(t, filepath.Join(t.TempDir(), "new", "store.db"), opts)
}

func openStore(t *testing.T, path string, opts Options) *Store {
	t.Helper()
	s := must(Open(t.Context(), path, opts))(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// world is a CA and the certificates it issues.
type world struct {
	t  *testing.T
	ca *testpki.CA
}

func newWorld(t *testing.T, name string) *world {
	t.Helper()
	return &world{t, must(testpki.NewCA(name))(t)}
}

func (w *world) roots() *pki.Roots {
	return pki.NewRoots([]*pki.Certificate{pki.FromX509(w.ca.Root())})
}

func (w *world) issue(p testpki.Profile) *testpki.Person {
	w.t.Helper()
	return must(w.ca.Issue(p))(w.t)
}

// identity issues a certificate for P-256 with its key.
func (w *world) identity(p testpki.Profile) keystore.Identity {
	w.t.Helper()
	if p.Key == 0 {
		p.Key = testpki.P256
	}
	person := w.issue(p)
	return keystore.Identity{Certificate: pki.FromX509(person.Cert), Key: person.Key, Chain: chain(person)}
}

func (w *world) cert(p testpki.Profile) *pki.Certificate {
	w.t.Helper()
	return w.identity(p).Certificate
}

func chain(p *testpki.Person) []*pki.Certificate {
	var out []*pki.Certificate
	for _, c := range p.Chain {
		out = append(out, pki.FromX509(c))
	}
	return out
}

// begun is when the tests began, as the store keeps times: in whole seconds.
var begun = time.Now().Truncate(time.Second)

// days returns a time that is n days from when the tests began: the same one
// whenever it is asked for.
func days(n int) time.Time { return begun.Add(time.Duration(n) * 24 * time.Hour) }

// wantErr fails unless err is want.
func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, not %v", err, want)
	}
}

// integrity checks the database.
func integrity(t *testing.T, s *Store) {
	t.Helper()
	var word string
	if err := s.db.QueryRow("PRAGMA integrity_check").Scan(&word); err != nil || word != "ok" {
		t.Errorf("integrity_check: %q, %v", word, err)
	}
	rows := must(s.db.Query("PRAGMA foreign_key_check"))(t)
	if rows.Next() {
		t.Error("foreign_key_check found a row")
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Error(err)
	}
}

// count returns the number that a query has for an answer.
func count(t *testing.T, s *Store, query string, args ...any) int {
	t.Helper()
	var n int
	if err := s.db.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// certPEM and parsePEM carry a certificate to another process.
func certPEM(c *pki.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func parsePEM(data []byte) (*pki.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return pki.FromX509(c), err
}
