package files_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/files"
)

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFolder(t *testing.T) {
	root, err := testpki.NewCA("Root")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := root.Intermediate("CA")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(p testpki.Profile) *testpki.Person {
		p.Key = testpki.P256
		person, issueErr := ca.Issue(p)
		if issueErr != nil {
			t.Fatal(issueErr)
		}
		return person
	}
	alice := issue(testpki.Profile{Email: "alice@example.test"})
	old := issue(testpki.Profile{Email: "alice@example.test", NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	bob := issue(testpki.Profile{Email: "bob@example.test"})
	key, err := alice.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "team.pem", testpki.CertPEM(alice.Cert, bob.Cert, ca.Cert, root.Cert))
	write(t, dir, "alice@example.test.CRT", old.Cert.Raw)
	write(t, dir, "alice.pem", key)
	write(t, dir, "bob.txt", []byte("no certificate"))
	if err = os.Mkdir(filepath.Join(dir, "more.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := files.New(dir, nil)
	found, err := f.Find(t.Context(), "alice@EXAMPLE.test")
	if err != nil || len(found) != 2 || !bytes.Equal(found[0].Certificate.Raw, alice.Cert.Raw) || found[0].Err != nil || found[0].Vouched ||
		found[0].Source != dir || found[0].Detail != "team.pem" || len(found[0].Chain) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	var unusable *keystore.UnusableError
	if !errors.As(found[1].Err, &unusable) || unusable.Reason != keystore.UnusableExpired {
		t.Error(found[1].Err)
	}
	if found, err = f.Find(t.Context(), "carol@example.test"); err != nil || found != nil {
		t.Errorf("%+v, %v", found, err)
	}
	one := files.New(filepath.Join(dir, "team.pem"), nil)
	if found, err = one.Find(t.Context(), "bob@example.test"); err != nil || len(found) != 1 || found[0].Detail != "" {
		t.Errorf("%+v, %v", found, err)
	}
	// What cannot be read is said beside what was found.
	write(t, dir, "broken.cer", []byte("no certificate"))
	found, err = f.Find(t.Context(), "bob@example.test")
	var source *keystore.SourceError
	var file *keystore.FileError
	if len(found) != 1 || !errors.As(err, &source) || source.Source != dir || !errors.As(err, &file) || file.Name != filepath.Join(dir, "broken.cer") {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNotThere(t *testing.T) {
	dir := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	write(t, dir, "x.pem", nil)
	var syntax *keystore.SyntaxError
	var limit *files.LimitError
	big := filepath.Join(dir, "big")
	file, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(file.Truncate(files.MaxFile+1), file.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, address string
		ctx           context.Context
		want          func(error) bool
	}{
		{filepath.Join(dir, "none"), "a@b", t.Context(), func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{dir, "ab", t.Context(), func(err error) bool { return errors.As(err, &syntax) }},
		{dir, "a@b", ended, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{dir, "a@b", t.Context(), func(err error) bool { return errors.Is(err, keystore.ErrFormat) }},
		{os.DevNull, "a@b", t.Context(), func(err error) bool { return errors.Is(err, files.ErrNotRegular) }},
		{big, "a@b", t.Context(), func(err error) bool { return errors.As(err, &limit) }},
	} {
		found, findErr := files.New(c.path, nil).Find(c.ctx, c.address)
		var source *keystore.SourceError
		if len(found) != 0 || !errors.As(findErr, &source) || !c.want(findErr) {
			t.Errorf("%s: %+v, %v", c.path, found, findErr)
		}
	}
}
