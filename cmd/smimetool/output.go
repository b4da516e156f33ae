package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/internal/stage"
)

// temps are the temporary files of output that is not complete, and what else
// has to be put right when the program is interrupted.
type temps struct {
	mu      sync.Mutex
	names   map[string]bool
	named   bool   // also those have names that need none
	restore func() // puts the terminal back; may be nil
}

// onExit has f called when the program is interrupted before the function that
// it returns has been called.
func (t *temps) onExit(f func()) (over func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restore = f
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.restore = nil
	}
}

func (t *temps) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = make(map[string]bool)
	}
	t.names[name] = true
}

// commit closes a temporary file and renames it to its target. Before, it is
// linked to its name if it has none.
func (t *temps) commit(file *os.File, nameless bool, name, target string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.names[name] {
		return fs.ErrClosed
	}
	if nameless {
		if err := link(file, name); err != nil {
			return err
		}
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(name, target); err != nil {
		return err
	}
	delete(t.names, name)
	return nil
}

func (t *temps) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names[name] {
		_ = os.Remove(name) // there is nobody to tell
		delete(t.names, name)
	}
}

func (t *temps) removeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.names {
		_ = os.Remove(name) // there is nobody to tell
	}
	clear(t.names)
	if t.restore != nil {
		t.restore()
	}
}

// A release says when output may be seen.
type release int

const (
	streamed release = iota // as it is written
	withheld                // when it is complete, and the verdict on it is good
)

// An output is where a command writes. Commit makes it visible; without it a
// file, and what is withheld, never existed. Discard must be called at the end
// and does nothing after Commit.
type output struct {
	a      *app
	path   string // "" for the standard output
	target string // where path leads
	file   *os.File
	temp   string // the name that file has, or gets before it takes the place of the target; "" when there is none
	linked bool   // it has it
	buffer *spool.Buffer
	dst    io.Writer // where a buffer goes in the end
	w      *stage.Writer
	done   bool
}

// create opens the output at path; "" and "-" are the standard output. Private
// output is for its owner's eyes alone.
func (a *app) create(path string, mode release, private bool) (*output, error) {
	o := &output{a: a, path: path, dst: a.stdout}
	if path == "" || path == "-" {
		o.path = ""
		return o.buffered(mode), nil
	}
	o.target = path
	perm := fs.FileMode(0o666)
	if private {
		perm = 0o600
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, usagef("%s: is a folder, and cannot be written to", path)
	case err == nil && !info.Mode().IsRegular(): // a device or a pipe cannot be replaced
		if o.file, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			return nil, err
		}
		o.dst = o.file
		return o.buffered(mode), nil
	case err == nil:
		if o.target, err = filepath.EvalSymlinks(path); err != nil {
			return nil, err
		}
		perm = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err = o.makeTemp(perm); err != nil {
		return nil, err
	}
	o.w = stage.NewWriter(o.file)
	return o, nil
}

// buffered sets o up to write to dst.
func (o *output) buffered(mode release) *output {
	if mode == withheld {
		o.buffer = spool.New(spool.Options{})
		o.w = stage.NewWriter(o.buffer)
	} else {
		o.w = stage.NewWriter(o.dst)
	}
	return o
}

// makeTemp makes a file beside the target, so that it can be renamed. Where that
// can be done it has no name before it is complete.
func (o *output) makeTemp(perm fs.FileMode) error {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never returns an error
	dir, base := filepath.Split(o.target)
	o.temp = filepath.Join(dir, "."+base+"."+hex.EncodeToString(random[:])+".tmp")
	o.a.temps.add(o.temp)
	var err error
	if !o.a.temps.named {
		if o.file, err = openNameless(dir, perm); err == nil {
			return nil
		}
	}
	o.linked = true
	o.file, err = os.OpenFile(o.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		o.a.temps.remove(o.temp)
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			return &fs.PathError{Op: "create", Path: o.path, Err: pe.Err} // the name that the person knows
		}
		return err
	}
	return nil
}

// restart throws away what was written to a temporary file.
func (o *output) restart() error {
	o.w.Stop()
	o.w = stage.NewWriter(o.file)
	_, err := o.file.Seek(0, io.SeekStart)
	if err == nil {
		err = o.file.Truncate(0)
	}
	if err != nil {
		return o.named(err)
	}
	return nil
}

func (o *output) isTemp() bool { return o.temp != "" }

// staged opens an output that can be written before the verdict is known, since
// nobody else can see it before Commit: a smime.Stage. Nil says that there is
// none, and that to has to be opened later.
func (a *app) staged(to destination) (*output, error) {
	if to.path == "" || to.path == "-" {
		return nil, nil
	}
	if info, err := os.Stat(to.path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, nil
	}
	o, err := to.open(a, streamed)
	if err != nil || !o.linked {
		return o, err
	}
	o.Discard()
	return nil, nil
}

// ReadAt implements smime.Stage, as do WriteAt and Truncate.
func (o *output) ReadAt(p []byte, off int64) (int, error) { return o.file.ReadAt(p, off) }

// WriteAt implements smime.Stage.
func (o *output) WriteAt(p []byte, off int64) (int, error) {
	n, err := o.file.WriteAt(p, off)
	if err != nil {
		err = o.named(err)
	}
	return n, err
}

// Truncate implements smime.Stage.
func (o *output) Truncate(size int64) error {
	if err := o.file.Truncate(size); err != nil {
		return o.named(err)
	}
	return nil
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = o.named(err)
	}
	return n, err
}

// Lend lends memory for the next Write: a mimeraw.Lender.
func (o *output) Lend() []byte { return o.w.Lend() }

// named says where writing failed, in words that the person knows.
func (o *output) named(err error) error {
	name := o.path
	if name == "" {
		name = "standard output"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &writeError{&namedError{name, err}}
}

// A writeError is about the output, not about the input.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// Commit makes what was written visible.
func (o *output) Commit() error {
	if o.done {
		return nil
	}
	defer o.Discard()
	if err := o.w.Flush(); err != nil {
		return o.named(err)
	}
	if o.buffer != nil {
		o.a.progress.clear()
		if err := copyAll(o.dst, o.buffer.NewReader()); err != nil {
			return o.named(err)
		}
	}
	var err error
	if o.isTemp() {
		err = o.a.temps.commit(o.file, !o.linked, o.temp, o.target)
	} else if o.file != nil {
		err = o.file.Close()
	}
	if err != nil {
		return o.named(err)
	}
	return nil
}

// Discard frees what o holds, and removes output that was not committed.
func (o *output) Discard() {
	if o == nil || o.done {
		return
	}
	o.done = true
	o.w.Stop()
	if o.buffer != nil {
		_ = o.buffer.Close() // nothing depends on it any more
	}
	if o.file != nil {
		_ = o.file.Close()
	}
	if o.isTemp() {
		o.a.temps.remove(o.temp)
	}
}
