package certs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/postseal/postseal/keystore"
)

// maxFile bounds a file, in octets.
const maxFile = 1 << 20

// A watch is files that belong together: they are taken together or not at all.
type watch struct {
	files []string
	// optional files may be missing.
	optional bool
	// take is given their contents; first says that nothing was taken before.
	take func(data [][]byte, first bool) error
	// loaded, if set, reports that something was taken.
	loaded func()

	taken    bool
	seen     [sha256.Size]byte // what was taken
	changed  [sha256.Size]byte // what there is instead
	since    time.Time         // when that was first seen, or zero
	refused  [sha256.Size]byte // what could not be used
	err      error             // why, or nil
	failures int               // in a row, of the same content
	again    time.Time         // when it may be tried again as it is
}

// watching looks at the files again and again.
func (m *Manager) watching() {
	timer := time.NewTimer(m.opts.Interval)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-timer.C:
		}
		wait := m.opts.Interval
		if settling, _ := m.look(false); settling {
			wait = min(wait, m.opts.Settle)
		}
		timer.Reset(wait)
	}
}

// Reload reads all files that have changed now, as after a signal: whoever sends
// it has finished writing. The errors of files that cannot be used are joined;
// what they had is still in use.
func (m *Manager) Reload() error {
	_, err := m.look(true)
	return err
}

// look looks at all files. With now they need not have settled. settling says
// that it should look again soon.
func (m *Manager) look(now bool) (settling bool, err error) {
	m.loading.Lock()
	defer m.loading.Unlock()
	var errs []error
	for _, w := range m.watched {
		wait, failure := m.lookAt(w, now)
		settling = settling || wait
		if failure != nil {
			errs = append(errs, failure)
		}
	}
	return settling, errors.Join(errs...)
}

// lookAt looks at the files of one watch. The error is what is wrong with them
// now, also if that was known.
func (m *Manager) lookAt(w *watch, now bool) (wait bool, err error) {
	data, sum, err := w.read()
	switch {
	case w.optional && !w.taken && errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil && w.taken && sum == w.seen:
		w.since, w.err = time.Time{}, nil
		return false, nil
	case err == nil && w.err != nil && sum == w.refused && !now && !(mayPass(w.err) && time.Now().After(w.again)):
		return false, w.err
	case !now && !w.settled(sum, m.opts.Settle):
		return true, nil // a file that is being replaced may be missing for a moment
	}
	if err == nil {
		err = w.take(data, !w.taken)
	}
	if err != nil {
		return false, m.failed(w, sum, err)
	}
	w.taken, w.seen, w.since, w.err = true, sum, time.Time{}, nil
	if w.loaded != nil {
		w.loaded()
	}
	return false, nil
}

// mayPass reports whether what cannot be used now may be good later as it is.
func mayPass(err error) bool { return errors.Is(err, ErrNoStaple) || errors.Is(err, errNotYet) }

// settled reports whether what there is has been there for long enough.
func (w *watch) settled(sum [sha256.Size]byte, settle time.Duration) bool {
	if w.since.IsZero() || sum != w.changed {
		w.changed, w.since = sum, time.Now()
	}
	return time.Since(w.since) >= settle
}

// failed notes a failure, and reports it if it is news.
func (m *Manager) failed(w *watch, sum [sha256.Size]byte, err error) error {
	err = &LoadError{w.files[0], err}
	news := w.err == nil || sum != w.refused || w.err.Error() != err.Error()
	if sum != w.refused {
		w.failures = 0
	}
	w.failures++
	w.again = time.Now().Add(retry(w.failures))
	w.refused, w.err = sum, err
	if news && w.taken {
		m.report(Event{Kind: LoadFailed, File: w.files[0], Err: err})
	}
	return err
}

// read reads all files.
func (w *watch) read() (data [][]byte, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, name := range w.files {
		content, readErr := readFile(name)
		if readErr != nil {
			return nil, sum, readErr
		}
		data = append(data, content)
		one := sha256.Sum256(content)
		h.Write(one[:])
	}
	h.Sum(sum[:0])
	return data, sum, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name) // to open a pipe may take for ever
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, ErrTooLarge
	}
	return data, err
}

// watchCertificate watches the files of a certificate, which fill a slot.
func (m *Manager) watchCertificate(slot int, f File, optional bool) *watch {
	w := &watch{files: []string{f.Certificate}, optional: optional}
	if f.Key != "" {
		w.files = append(w.files, f.Key)
	}
	w.take = func(data [][]byte, first bool) error {
		entries, err := m.load(f, data)
		if err != nil {
			return err
		}
		return m.replace(slot, entries, first)
	}
	w.loaded = func() {
		for _, e := range m.slots[slot] {
			m.report(Event{Kind: Loaded, File: e.file, Names: e.names, Until: e.cert.Leaf.NotAfter})
		}
		if key := w.files[len(w.files)-1]; exposed(key) {
			m.report(Event{Kind: Exposed, File: key, Err: ErrExposed})
		}
	}
	m.watched = append(m.watched, w)
	return w
}

// exposed reports whether everybody may read a file. Groups are used to share keys.
func exposed(name string) bool {
	info, err := os.Stat(name)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0
}

// load makes entries of what a file has.
func (m *Manager) load(f File, data [][]byte) ([]*entry, error) {
	ask := f.Passphrase
	var ids []keystore.Identity
	var err error
	if f.Key == "" {
		ids, err = keystore.Load(f.Certificate, data[0], ask)
	} else {
		ids, err = keystore.LoadPair(f.Certificate, data[0], f.Key, data[1], ask)
	}
	if err != nil {
		return nil, err
	}
	var entries []*entry
	now := time.Now()
	for i := range ids {
		e, entryErr := newEntry(f.Certificate, &ids[i], now)
		if entryErr != nil {
			err = entryErr
			continue // others may do
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, err
	}
	return entries, nil
}

// replace puts entries into a slot and serves them. Where nothing was served
// before, a response that cannot be had now may come later.
func (m *Manager) replace(slot int, entries []*entry, first bool) error {
	for _, e := range entries {
		if m.inherit(e) || !e.mustStaple {
			continue
		}
		// RFC 7633, Section 4.2.3.1: clients refuse it without a response.
		err := m.demandStaple(e)
		if err != nil && (first && !m.canStaple(e) || !first && !m.ending(slot)) {
			return err
		}
	}
	m.slots[slot] = entries
	m.set.Store(newSet(slices.Concat(m.slots...)))
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return nil
}

// inherit takes over what is known from OCSP of a certificate that is served
// already. It reports whether there was one.
func (m *Manager) inherit(e *entry) bool {
	for _, old := range m.set.Load().entries {
		if !old.cert.Leaf.Equal(e.cert.Leaf) {
			continue
		}
		st := *old.status.Load()
		if st.stapled != nil {
			st.stapled = e.with(st.stapled.OCSPStaple)
		}
		e.status.Store(&st)
		return true
	}
	return false
}

// ending reports whether what is in a slot is about to end, so that whatever
// comes is better.
func (m *Manager) ending(slot int) bool {
	for _, e := range m.slots[slot] {
		if time.Until(e.cert.Leaf.NotAfter) > 24*time.Hour {
			return false
		}
	}
	return true
}
