package fetch

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// CacheOptions are the limits of a [Cache]. Zero values are the defaults.
type CacheOptions struct {
	// MaxSize bounds all files together, in octets; default 256 MiB.
	MaxSize int64
	// MaxFiles bounds their number; default 2,000.
	MaxFiles int
	// MaxAge is how long anything is kept; default 24 hours.
	MaxAge time.Duration
}

// A Cache keeps what was fetched in files of a folder of its own, one for each
// URL, or for each URL and certificate asked for. Files are readable by their
// owner alone, are written whole or not at all, and are removed, the oldest
// first, where they exceed the limits. Several goroutines and processes may use
// one folder. Failures to read or write are no errors: then it is fetched again.
type Cache struct {
	dir  string
	opts CacheOptions
	mu   sync.Mutex // one goroutine cleans up at a time
}

// suffix ends the names of the files of a cache; others are left alone.
const suffix = ".pkicache"

// OpenCache makes the folder dir, if it is not there, and returns a cache in it.
// opts may be nil and is copied.
func OpenCache(dir string, opts *CacheOptions) (*Cache, error) {
	c := &Cache{dir: dir}
	if opts != nil {
		c.opts = *opts
	}
	setDefault(&c.opts.MaxSize, 256<<20)
	setDefault(&c.opts.MaxFiles, 2000)
	setDefault(&c.opts.MaxAge, 24*time.Hour)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cache) path(kind, key string) string {
	h := sha256.Sum256([]byte(kind + "\n" + key))
	return filepath.Join(c.dir, hex.EncodeToString(h[:])+suffix)
}

// get returns what was put under a key and is not too old. A nil cache is empty.
func (c *Cache) get(kind, key string) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	f, err := os.Open(c.path(kind, key))
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > c.opts.MaxSize || c.old(info) {
		return nil, false
	}
	data, err := io.ReadAll(io.LimitReader(f, c.opts.MaxSize+1))
	return data, err == nil && int64(len(data)) == info.Size()
}

// old reports whether a file is past its time, or from the future.
func (c *Cache) old(info fs.FileInfo) bool {
	age := time.Since(info.ModTime())
	return age > c.opts.MaxAge || age < -time.Hour
}

// put keeps data under a key.
func (c *Cache) put(kind, key string, data []byte) {
	if c == nil || int64(len(data)) > c.opts.MaxSize {
		return
	}
	if c.write(c.path(kind, key), data) == nil {
		c.clean()
	}
}

// write writes a file whole or not at all.
func (c *Cache) write(name string, data []byte) (err error) {
	f, err := os.CreateTemp(c.dir, "new-*"+suffix) // its mode is 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// clean removes what is too old, and the oldest of what is too much. Files of
// writers that were interrupted age like others.
func (c *Cache) clean() {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	var size int64
	for _, e := range entries {
		info, infoErr := e.Info()
		if infoErr != nil || !info.Mode().IsRegular() || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if c.old(info) {
			_ = os.Remove(filepath.Join(c.dir, e.Name()))
			continue
		}
		files = append(files, info)
		size += info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for i, info := range files {
		if size <= c.opts.MaxSize && len(files)-i <= c.opts.MaxFiles {
			return
		}
		if os.Remove(filepath.Join(c.dir, info.Name())) == nil {
			size -= info.Size()
		}
	}
}
