package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Options says how a store is used. The zero value is for all that needs no
// private key.
type Options struct {
	// Key keeps the data key of the store, under which private keys are
	// encrypted. It is not asked before a private key is needed. Nil: private
	// keys cannot be added or used.
	Key Wrapper

	// Others take the place of Key in a store whose data key one of them keeps.
	Others []Wrapper

	// BusyTimeout is how long a writer waits for others. 0: 30 seconds.
	BusyTimeout time.Duration

	// Remember is how long certificates and private keys that were read may be
	// kept in memory to be used again. What anybody changes in the store, in this
	// process or another, ends it at once, and so does Close. 0: not at all.
	Remember time.Duration

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// A Store is an open store. It is safe for concurrent use; Close must be
// called.
type Store struct {
	path   string
	source string // of the database, for the driver
	opts   Options
	db     *sql.DB
	known  int           // the newest version of the schema that is known
	turn   chan struct{} // holds one element while somebody writes
	memo   memo

	askMu   sync.Mutex // held while a question is asked
	keyMu   sync.Mutex // for what follows
	wrapper Wrapper
	key     []byte // the data key, once it is known
	closed  bool
}

// DefaultPath returns the place of the user's store: postseal/store.db in
// $XDG_DATA_HOME, or where that is not set in the folder that the operating
// system has for such data.
func DefaultPath() (string, error) {
	// XDG Base Directory Specification: a relative path is to be ignored.
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "postseal", "store.db"), nil
	}
	if dir := os.Getenv("LocalAppData"); runtime.GOOS == "windows" && dir != "" {
		return filepath.Join(dir, "postseal", "store.db"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return filepath.Join(home, "Library", "Application Support", "postseal", "store.db"), nil
	}
	return filepath.Join(home, ".local", "share", "postseal", "store.db"), nil
}

// Open opens the store at path, or makes it, with folders that are not there;
// "" is DefaultPath. What is made is for its owner alone. The error is an
// [*Error], which wraps ErrExposed, ErrFolder, ErrNotStore, ErrDamaged, ErrBusy, a
// [*NewerError] or an error of the file system.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	return open(ctx, path, opts, migrations)
}

func open(ctx context.Context, path string, opts Options, steps []string) (*Store, error) {
	const op = "opening"
	var err error
	if path == "" {
		if path, err = DefaultPath(); err != nil {
			return nil, &Error{Path: "the user's store", Op: op, Err: err}
		}
	}
	s := &Store{path: path, opts: opts, turn: make(chan struct{}, 1), known: len(steps), wrapper: opts.Key}
	if s.opts.BusyTimeout == 0 {
		s.opts.BusyTimeout = 30 * time.Second
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, s.fail(op, err)
	}
	if err = makeFile(full); err != nil {
		return nil, s.fail(op, err)
	}
	s.source = dataSource(full)
	s.memo.store, s.memo.keep = s, opts.Remember
	if s.db, err = driver.Open(s.source, s.prepare); err != nil {
		return nil, s.fail(op, err)
	}
	s.db.SetMaxOpenConns(maxConns)
	s.db.SetMaxIdleConns(maxConns)
	if err = s.start(ctx, steps); err != nil {
		return nil, s.fail(op, errors.Join(err, s.db.Close()))
	}
	return s, nil
}

// maxConns bounds the connections to the database, each of which has a memory
// of its own.
const maxConns = 4

// makeFile makes an empty file, for SQLite to fill, so that it never has
// another mode than 0600.
func makeFile(path string) error {
	if !vfs.SupportsFileLocking {
		return errors.ErrUnsupported
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := checkFolder(path); err != nil {
		return err
	}
	// The index of the WAL has no content of the store in it, but SQLite would
	// make it with whatever mode the process's mask leaves.
	for _, name := range []string{path, path + indexEnding} {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return checkMode(path)
}

// Endings of the names of files that SQLite has beside a database.
const (
	walEnding     = "-wal"
	indexEnding   = "-shm"
	journalEnding = "-journal"
)

// checkFolder looks at what others may have put beside the file: SQLite takes
// what a WAL or a journal says for content of the database.
func checkFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return ErrFolder
	}
	for _, ending := range []string{walEnding, indexEnding, journalEnding} {
		if err = checkBeside(path, ending); err != nil {
			return &fs.PathError{Op: "open", Path: path + ending, Err: err}
		}
	}
	return nil
}

// checkBeside checks a file of SQLite's, which may not be there. One that
// SQLite made has the mode of the process's mask until it gets its own, also
// when the process was killed just then.
func checkBeside(path, ending string) error {
	info, err := os.Lstat(path + ending)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o002 != 0 {
		return ErrExposed
	}
	if who, known := owner(info); known && who != os.Geteuid() {
		main, statErr := os.Stat(path)
		if statErr != nil {
			return ErrExposed
		}
		if whose, _ := owner(main); who != whose {
			return ErrExposed
		}
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err = os.Chmod(path+ending, 0o600); errors.Is(err, fs.ErrNotExist) {
		return nil // another process was done with it
	}
	return errors.Unwrap(err)
}

func checkMode(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // SQLite's own words for a failure say less
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return ErrNotStore
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return ErrExposed
	}
	return nil
}

// dataSource names a file, of an absolute path, for the driver. modeof gives
// the WAL the mode of the file.
func dataSource(path string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a Windows drive
	}
	u := url.URL{Scheme: "file", Path: slashed}
	if runtime.GOOS != "windows" {
		u.RawQuery = "modeof=" + strings.ReplaceAll(url.QueryEscape(path), "+", "%20") // SQLite takes no plus sign for a space
	}
	return u.String()
}

// prepare sets up a connection.
func (s *Store) prepare(c *sqlite3.Conn) error {
	if err := c.BusyTimeout(s.opts.BusyTimeout); err != nil {
		return err
	}
	// What the file says of itself, such as triggers, is not believed.
	if _, err := c.Config(sqlite3.DBCONFIG_DEFENSIVE, true); err != nil {
		return err
	}
	return c.Exec(`PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON;
		PRAGMA secure_delete=ON; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY`)
}

// start makes the WAL and the schema.
func (s *Store) start(ctx context.Context, steps []string) error {
	if _, err := s.version(ctx, s.db); err != nil {
		return err // another's file is not touched
	}
	if vfs.SupportsSharedMemory {
		if err := s.useWAL(ctx); err != nil {
			return err
		}
	}
	return s.migrate(ctx, steps)
}

// useWAL turns on the WAL, which stays on. Where two processes do so at once,
// SQLite does not let one wait for the other.
func (s *Store) useWAL(ctx context.Context) error {
	deadline := time.Now().Add(s.opts.BusyTimeout)
	for {
		var mode string
		err := s.db.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
		if !errors.Is(kindOf(err), ErrBusy) || err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Path returns the path with which the store was opened, or DefaultPath.
func (s *Store) Path() string { return s.path }

// Close closes the store and forgets its data key. It may be called any number
// of times.
func (s *Store) Close() error {
	s.keyMu.Lock()
	clear(s.key)
	s.key, s.closed = nil, true
	s.keyMu.Unlock()
	return s.fail("closing", errors.Join(s.memo.close(), s.db.Close()))
}

// A querier is an *sql.DB or an *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// write runs f in a transaction, of which there is one at a time: in this
// process by turns, and across processes by SQLite's lock.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	// The driver begins immediately, so that a transaction that has begun does
	// not fail for another's.
	tx, err := s.begin(ctx, nil)
	if err != nil {
		return err
	}
	if err = f(tx); err == nil {
		err = tx.Commit()
	} else if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
		err = errors.Join(err, undo)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // rather than the database's word for it
	}
	return err
}

// scrub takes what was deleted out of the WAL, as far as nobody reads older
// states of the store: pages of the database are overwritten when what is on
// them is deleted, and those in the WAL are not.
func (s *Store) scrub(ctx context.Context) error {
	if !vfs.SupportsSharedMemory {
		return nil
	}
	var busy, pages, done int
	err := s.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done)
	if errors.Is(kindOf(err), ErrBusy) && err != nil {
		return nil // the next one does it
	}
	return err
}

func (s *Store) begin(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	s.keyMu.Lock()
	closed := s.closed
	s.keyMu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	tx, err := s.db.BeginTx(ctx, opts)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return tx, err
}

// read runs f in a transaction that sees one state of the store.
func (s *Store) read(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.begin(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return f(tx)
}

// each calls f for every row of a query.
func each(ctx context.Context, q querier, f func(rows *sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err = f(rows); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
