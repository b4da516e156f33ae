package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

func benchStore(b *testing.B) (*Store, *pki.Certificate) {
	b.Helper()
	return benchStoreWith(b, Options{Key: quick("x")})
}

func benchStoreWith(b *testing.B, opts Options) (*Store, *pki.Certificate) {
	b.Helper()
	ca, err := testpki.NewCA("CA")
	if err != nil {
		b.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Email: bob, Key: testpki.P256})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "store.db"), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s, pki.FromX509(p.Cert)
}

func BenchmarkAddCertificate(b *testing.B) {
	s, cert := benchStore(b)
	for i := 0; b.Loop(); i++ {
		if _, err := s.AddCertificate(b.Context(), fmt.Sprintf("a%d@example.test", i), cert, AddOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFind looks up one address of ten thousand.
func BenchmarkFind(b *testing.B) {
	s, cert := benchStore(b)
	if _, err := s.AddCertificate(b.Context(), bob, cert, AddOptions{}); err != nil {
		b.Fatal(err)
	}
	print := FingerprintOf(cert)
	_, err := s.db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 10000)
		INSERT INTO correspondents (address) SELECT 'a' || i || '@example.test' FROM n`)
	if err == nil {
		_, err = s.db.Exec("INSERT INTO entries (address, fingerprint, source, first_seen, last_seen) SELECT address, ?, 'ldap', 0, 0 FROM correspondents WHERE address <> ?", print[:], bob)
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found, err := s.Find(b.Context(), bob); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkRecall asks for what is remembered, again and again: what is left is to
// ask whether anybody has changed the store.
func BenchmarkRecall(b *testing.B) {
	s, cert := benchStoreWith(b, Options{Key: quick("x"), Remember: time.Hour})
	if _, err := s.AddCertificate(b.Context(), bob, cert, AddOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found, err := s.Find(b.Context(), bob); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}
