package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/ncruces/go-sqlite3/driver"

	"github.com/postseal/postseal/internal/testpki"
)

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no file modes")
	}
	s := newStore(t, Options{Key: quick("x")})
	must(s.AddIdentity(t.Context(), newWorld(t, "CA").identity(testpki.Profile{})))(t)
	dir := filepath.Dir(s.Path())
	files := must(os.ReadDir(dir))(t)
	if len(files) != 3 { // the database, the WAL and its index
		t.Errorf("%d files", len(files))
	}
	for _, f := range files {
		if info := must(f.Info())(t); info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	if info := must(os.Stat(dir))(t); info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
	var mode string
	if err := s.db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q, %v", mode, err)
	}

	for _, exposed := range []fs.FileMode{0o640, 0o606, 0o660, 0o601} {
		if err := os.Chmod(s.Path(), exposed); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), s.Path(), Options{})
		wantErr(t, err, ErrExposed)
	}
}

// What others can put beside a store is not taken for a part of it.
func TestPlanted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no file modes")
	}
	s := newStore(t, Options{})
	path, dir := s.Path(), filepath.Dir(s.Path())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ending := range []string{walEnding, indexEnding, journalEnding} {
		name := path + ending
		for what, plant := range map[string]func() error{
			"a file of everybody": func() error { return errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Chmod(name, 0o666)) },
			"a link":              func() error { return os.Symlink(filepath.Join(dir, "elsewhere"), name) },
			"a folder":            func() error { return os.Mkdir(name, 0o700) },
		} {
			if err := errors.Join(os.RemoveAll(name), plant()); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), path, Options{})
			wantErr(t, err, ErrExposed)
			var where *fs.PathError
			if !errors.As(err, &where) || where.Path != name {
				t.Errorf("%s: %v does not name %s", what, err, name)
			}
		}
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link was followed: %v", err)
	}
	for _, mode := range []fs.FileMode{0o707, 0o777, 0o777 | fs.ModeSticky} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), path, Options{})
		wantErr(t, err, ErrFolder)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Others cannot lay something beside a store that is to be made either.
	orphan := filepath.Join(dir, "new.db")
	err := os.WriteFile(orphan+walEnding, nil, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		err = errors.Join(os.WriteFile(path+journalEnding, nil, 0o600), os.Chown(path+journalEnding, 65534, 65534), os.Chown(orphan+walEnding, 65534, 65534))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, orphan} {
			_, err = Open(t.Context(), name, Options{})
			wantErr(t, err, ErrExposed)
		}
		if err = os.Chown(orphan+walEnding, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err = os.Remove(path + journalEnding); err != nil {
			t.Fatal(err)
		}
	}
	openStore(t, orphan, Options{}) // what is left of one's own store
	// What a killed process left has the mode of its mask.
	if err = os.WriteFile(path+walEnding, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	openStore(t, path, Options{})
	if info, statErr := os.Stat(path + walEnding); statErr != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, statErr)
	}
}

func TestPaths(t *testing.T) {
	for _, name := range []string{"plain", "with space", "50%", "a?b=c&d", "x#y", "a+b", "ä ö", "semi;colon", "quote'\"", "file:x", "%41"} {
		path := filepath.Join(t.TempDir(), name, name+".db")
		s := openStore(t, path, Options{})
		must(s.AddCertificate(t.Context(), "a@example.test", newWorld(t, "CA").cert(testpki.Profile{}), AddOptions{}))(t)
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: %v", name, err)
		}
		for _, f := range must(os.ReadDir(filepath.Dir(path)))(t) {
			if info := must(f.Info())(t); runtime.GOOS != "windows" && info.Mode() != 0o600 {
				t.Errorf("%q has mode %v", f.Name(), info.Mode())
			}
		}
	}
	t.Chdir(t.TempDir())
	openStore(t, "relative.db", Options{})
	if _, err := os.Stat("relative.db"); err != nil {
		t.Error(err)
	}
}

func TestDefaultPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	want := filepath.Join(dir, "postseal", "store.db")
	if got := must(DefaultPath())(t); got != want {
		t.Errorf("%q", got)
	}
	s := openStore(t, "", Options{})
	if _, err := os.Stat(want); err != nil || s.Path() != want {
		t.Errorf("%q: %v", s.Path(), err)
	}
	t.Setenv("XDG_DATA_HOME", "relative")
	t.Setenv("HOME", dir)
	if runtime.GOOS == "linux" {
		if got := must(DefaultPath())(t); got != filepath.Join(dir, ".local", "share", "postseal", "store.db") {
			t.Errorf("%q", got)
		}
		t.Setenv("HOME", "")
		if _, err := Open(t.Context(), "", Options{}); !errors.As(err, new(*Error)) {
			t.Errorf("no home: %v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := file("text", "this is a letter and not a database; it has more than a hundred octets, which is the size of the header of a database.")
	other := filepath.Join(dir, "other.db")
	db := must(driver.Open("file:" + other))(t)
	must(db.Exec("CREATE TABLE mail (a)"))(t)
	if err := errors.Join(db.Close(), os.Chmod(other, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := must(os.ReadFile(other))(t)
	for _, tc := range []struct {
		path string
		want error
	}{
		{text, ErrNotStore},
		{other, ErrNotStore},
		{dir, ErrNotStore},
		{filepath.Join(text, "store.db"), errNotDir},
	} {
		_, err := Open(t.Context(), tc.path, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Path != tc.path {
			t.Errorf("%s: %v", tc.path, err)
		}
		if tc.path == dir && !errors.Is(err, ErrNotStore) {
			continue // the operating system says that it is a folder
		}
		wantErr(t, err, tc.want)
	}
	if after := must(os.ReadFile(other))(t); string(after) != string(before) {
		t.Error("another program's database was changed")
	}
	if got := string(must(os.ReadFile(text))(t)); got[:4] != "this" {
		t.Error("a file was changed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, filepath.Join(dir, "cancelled.db"), Options{})
	wantErr(t, err, context.Canceled)
}

func TestDamagedFile(t *testing.T) {
	s := newStore(t, Options{})
	w := newWorld(t, "CA")
	for i := range 20 {
		must(s.AddCertificate(t.Context(), "a@example.test", w.cert(testpki.Profile{KeyIndex: i}), AddOptions{}))(t)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data := must(os.ReadFile(s.Path()))(t)
	for i := 4096; i < len(data); i++ {
		data[i] ^= 0x5a
	}
	if err := os.WriteFile(s.Path(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, s.Path(), Options{})
	_, err := s.Find(t.Context(), "a@example.test")
	wantErr(t, err, ErrDamaged)
}

func TestNewerSchema(t *testing.T) {
	s := newStore(t, Options{})
	must(s.db.Exec("PRAGMA user_version=99"))(t)
	_, err := Open(t.Context(), s.Path(), Options{})
	var newer *NewerError
	if !errors.As(err, &newer) || newer.Version != 99 || newer.Known != len(migrations) {
		t.Errorf("%v", err)
	}
	if v := count(t, s, "SELECT user_version FROM pragma_user_version"); v != 99 {
		t.Errorf("version %d", v)
	}
}

func TestMigrations(t *testing.T) {
	s := newStore(t, Options{})
	cert := newWorld(t, "CA").cert(testpki.Profile{Email: "a@example.test"})
	must(s.AddCertificate(t.Context(), "a@example.test", cert, AddOptions{}))(t)

	// A migration that fails in its midst leaves the old version.
	bad := append(slices.Clone(migrations), "CREATE TABLE extra (a); ALTER TABLE entries ADD COLUMN note TEXT; CREATE TABLE entries (a)")
	_, err := open(t.Context(), s.Path(), Options{}, bad)
	if !errors.As(err, new(*Error)) {
		t.Errorf("a migration that fails: %v", err)
	}
	if n := count(t, s, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'"); n != 0 {
		t.Error("half a migration was done")
	}
	good := append(slices.Clone(migrations), "ALTER TABLE entries ADD COLUMN note TEXT NOT NULL DEFAULT 'none'", "CREATE TABLE extra (a)")
	next := must(open(t.Context(), s.Path(), Options{}, good))(t)
	defer next.Close()
	if found := must(next.Find(t.Context(), "a@example.test"))(t); len(found) != 1 {
		t.Errorf("%d certificates after the migration", len(found))
	}
	if v := count(t, next, "SELECT user_version FROM pragma_user_version"); v != len(migrations)+2 {
		t.Errorf("version %d", v)
	}
	// The program that was there before does not touch it now.
	_, err = Open(t.Context(), s.Path(), Options{})
	if !errors.As(err, new(*NewerError)) {
		t.Errorf("%v", err)
	}
}

func TestClosed(t *testing.T) {
	s := newStore(t, Options{Key: quick("x")})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := s.Find(t.Context(), "a@example.test")
	wantErr(t, err, ErrClosed)
	wantErr(t, s.Unlock(t.Context()), ErrClosed)
	wantErr(t, s.RemoveCorrespondent(t.Context(), "a@example.test"), ErrClosed)
}
