package facts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Errors of Open.
var (
	// ErrNotFacts says that a file has something else in it.
	ErrNotFacts = errors.New("this is not a database of facts about messages, or of another version")
	// ErrExposed says that others than the owner may read or write the file.
	ErrExposed = errors.New("others may read or write this file; its mode has to be 0600")
)

// An Error says what could not be done with a database of facts.
type Error struct {
	Path string
	Err  error
}

// Error returns a sentence for people.
func (e *Error) Error() string { return fmt.Sprintf("facts about messages in %s: %v", e.Path, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// A Database is a Store in a file.
type Database struct {
	path string
	db   *sql.DB
	turn chan struct{} // holds one element while somebody writes
}

const (
	applicationID = 0x50534661 // "PSFa"
	version       = 1
	maxConns      = 4
	busy          = 30 * time.Second
)

const schema = `
CREATE TABLE mailbox (
	id INTEGER PRIMARY KEY, server TEXT NOT NULL, account TEXT NOT NULL, name TEXT NOT NULL, validity INTEGER NOT NULL,
	UNIQUE (server, account, name, validity)) STRICT;
CREATE TABLE message (
	mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE, uid INTEGER NOT NULL, plain INTEGER NOT NULL, sealed BLOB,
	PRIMARY KEY (mailbox, uid)) STRICT, WITHOUT ROWID;
CREATE TABLE came (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
`

// Open opens the database at path, or makes it. The folder has to be there. Close
// must be called.
func Open(ctx context.Context, path string) (*Database, error) {
	d := &Database{path: path, turn: make(chan struct{}, 1)}
	full, err := filepath.Abs(path)
	if err == nil {
		err = makeFile(full)
	}
	if err != nil {
		return nil, d.fail(err)
	}
	u := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(full), "/")}
	if runtime.GOOS != "windows" {
		// The WAL gets the mode of the file.
		u.RawQuery = "modeof=" + strings.ReplaceAll(url.QueryEscape(full), "+", "%20")
	}
	if d.db, err = driver.Open(u.String(), prepare); err != nil {
		return nil, d.fail(err)
	}
	d.db.SetMaxOpenConns(maxConns)
	d.db.SetMaxIdleConns(maxConns)
	if err = d.start(ctx); err != nil {
		return nil, d.fail(errors.Join(err, d.db.Close()))
	}
	return d, nil
}

// makeFile makes an empty file, so that it never has another mode than 0600.
func makeFile(path string) error {
	for _, name := range []string{path, path + "-shm"} {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return ErrNotFacts
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return ErrExposed
	}
	return nil
}

func prepare(c *sqlite3.Conn) error {
	if err := c.BusyTimeout(busy); err != nil {
		return err
	}
	// What the file says of itself, such as triggers, is not believed.
	if _, err := c.Config(sqlite3.DBCONFIG_DEFENSIVE, true); err != nil {
		return err
	}
	// What was said to a client must not be forgotten, even if the machine fails.
	return c.Exec(`PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;
		PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY`)
}

// start makes the WAL and the schema.
func (d *Database) start(ctx context.Context) error {
	var id, tables int
	if err := d.db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&id, &tables); err != nil {
		if errors.Is(err, sqlite3.NOTADB) {
			return ErrNotFacts
		}
		return err
	}
	if tables > 0 && id != applicationID {
		return ErrNotFacts // another's file is not touched
	}
	if vfs.SupportsSharedMemory {
		if err := d.useWAL(ctx); err != nil {
			return err
		}
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		var known int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&known); err != nil {
			return err
		}
		switch known {
		case version:
			return nil
		case 0:
			_, err := tx.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA application_id=%d; PRAGMA user_version=%d", schema, applicationID, version))
			return err
		}
		return ErrNotFacts
	})
}

// useWAL turns on the WAL. Where two processes do so at once, SQLite does not let
// one wait for the other.
func (d *Database) useWAL(ctx context.Context) error {
	for end := time.Now().Add(busy); ; {
		var mode string
		err := d.db.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode)
		if err == nil || !errors.Is(err, sqlite3.BUSY) && !errors.Is(err, sqlite3.LOCKED) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (d *Database) fail(err error) error {
	if err == nil {
		return nil
	}
	return &Error{d.path, err}
}

// Close closes the database.
func (d *Database) Close() error { return d.fail(d.db.Close()) }

// write runs f in a transaction, of which there is one at a time: in this process
// by turns, and across processes by SQLite's lock.
func (d *Database) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.turn }()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = f(tx); err == nil {
		return tx.Commit()
	}
	if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
		err = errors.Join(err, undo)
	}
	return err
}

// Get implements Store.
func (d *Database) Get(ctx context.Context, mailbox Mailbox, uids []uint32) (map[uint32]Fact, error) {
	if len(uids) == 0 {
		return map[uint32]Fact{}, nil
	}
	out, err := get(ctx, d.db, mailbox, uids)
	return out, d.fail(err)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const theMailbox = "(SELECT id FROM mailbox WHERE server = ? AND account = ? AND name = ? AND validity = ?)"

func get(ctx context.Context, q querier, mailbox Mailbox, uids []uint32) (map[uint32]Fact, error) {
	condition, args := which(mailbox, uids)
	rows, err := q.QueryContext(ctx, "SELECT uid, plain, sealed FROM message WHERE "+condition, args...)
	if err != nil {
		return nil, err
	}
	asked := make(map[uint32]bool, len(uids))
	for _, uid := range uids {
		asked[uid] = true
	}
	out := make(map[uint32]Fact, len(uids))
	for rows.Next() {
		var uid uint32
		var f Fact
		if err = rows.Scan(&uid, &f.Plain, &f.Sealed); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if asked[uid] {
			out[uid] = f
		}
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// which is the condition for messages: those between two UIDs, where these are most
// of them, which is much quicker than a list. There may be more of them.
func which(mailbox Mailbox, uids []uint32) (string, []any) {
	args := []any{mailbox.Server, mailbox.Account, mailbox.Name, mailbox.Validity}
	low, high := slices.Min(uids), slices.Max(uids)
	if uint64(high-low) <= 2*uint64(len(uids)) {
		return "mailbox = " + theMailbox + " AND uid BETWEEN ? AND ?", append(args, low, high)
	}
	return "mailbox = " + theMailbox + " AND uid IN (SELECT value FROM json_each(?))", append(args, jsonList(uids))
}

func jsonList(uids []uint32) string {
	text, err := json.Marshal(uids)
	if err != nil {
		return "[]" // numbers can be written
	}
	return string(text)
}

// Put implements Store.
func (d *Database) Put(ctx context.Context, mailbox Mailbox, facts map[uint32]Fact) (out map[uint32]Fact, err error) {
	if len(facts) == 0 {
		return map[uint32]Fact{}, nil
	}
	uids := make([]uint32, 0, len(facts))
	for uid := range facts {
		uids = append(uids, uid)
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		id, idErr := mailboxID(ctx, tx, mailbox)
		if idErr != nil {
			return idErr
		}
		stmt, prepareErr := tx.PrepareContext(ctx, "INSERT INTO message (mailbox, uid, plain, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
		if prepareErr != nil {
			return prepareErr
		}
		defer func() { _ = stmt.Close() }() // it belongs to tx
		for uid, f := range facts {
			if _, insertErr := stmt.ExecContext(ctx, id, uid, f.Plain, f.Sealed); insertErr != nil {
				return insertErr
			}
		}
		var getErr error
		out, getErr = get(ctx, tx, mailbox, uids)
		return getErr
	})
	return out, d.fail(err)
}

// mailboxID returns the number of a mailbox, which is made if it is not there. A
// mailbox of that name with another validity has gone.
func mailboxID(ctx context.Context, tx *sql.Tx, m Mailbox) (int64, error) {
	var id int64
	err := tx.QueryRowContext(ctx, "SELECT id FROM mailbox WHERE server = ? AND account = ? AND name = ? AND validity = ?", m.Server, m.Account, m.Name, m.Validity).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	if _, err = tx.ExecContext(ctx, "DELETE FROM mailbox WHERE server = ? AND account = ? AND name = ?", m.Server, m.Account, m.Name); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, "INSERT INTO mailbox (server, account, name, validity) VALUES (?, ?, ?, ?) RETURNING id", m.Server, m.Account, m.Name, m.Validity).Scan(&id)
	return id, err
}

// Forget implements Store.
func (d *Database) Forget(ctx context.Context, mailbox Mailbox, uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	return d.fail(d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM message WHERE mailbox = "+theMailbox+" AND uid IN (SELECT value FROM json_each(?))",
			mailbox.Server, mailbox.Account, mailbox.Name, mailbox.Validity, jsonList(uids))
		return err
	}))
}

// NoteEncrypted implements Store.
func (d *Database) NoteEncrypted(ctx context.Context, account string, messageIDs []string) error {
	if len(messageIDs) == 0 {
		return nil
	}
	return d.fail(d.write(ctx, func(tx *sql.Tx) error {
		for _, id := range messageIDs {
			sum := digestOf(account, id)
			if _, err := tx.ExecContext(ctx, "INSERT INTO came (digest) VALUES (?) ON CONFLICT DO NOTHING", sum[:]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// CameEncrypted implements Store.
func (d *Database) CameEncrypted(ctx context.Context, account string, messageIDs []string) (bool, error) {
	for _, id := range messageIDs {
		sum := digestOf(account, id)
		var found bool
		if err := d.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM came WHERE digest = ?)", sum[:]).Scan(&found); err != nil || found {
			return found, d.fail(err)
		}
	}
	return false, nil
}
