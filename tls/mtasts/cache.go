package mtasts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// CacheOptions bound a [Cache]. Zero values are the defaults.
type CacheOptions struct {
	// MaxPolicies is how many policies are kept; default 10,000.
	MaxPolicies int
	// MaxSize is how many octets they may have together; default 16 MiB.
	MaxSize int64
}

// ErrFull says that a policy is not kept, since the cache is full of policies
// that are in force.
var ErrFull = errors.New("the cache of MTA-STS policies is full")

// A CacheError says that the cache cannot be read or written.
type CacheError struct {
	File string
	Err  error
}

// Error names the file.
func (e *CacheError) Error() string {
	return fmt.Sprintf("the cache of MTA-STS policies: %s: %v", e.File, e.Err)
}

// Unwrap returns the cause.
func (e *CacheError) Unwrap() error { return e.Err }

// errCorrupt is the cause where a file has not what it should have.
var errCorrupt = errors.New("the file is damaged; without it, the policy is not known until it is fetched again")

// A Cache keeps policies, in memory and, so that they outlive the program, each in
// a file. It may be used by several goroutines, and the folder by one Cache at a
// time. There is nothing to close.
type Cache struct {
	dir  string // "" for none
	opts CacheOptions

	mu   sync.Mutex
	all  map[string]*entry
	size int64
}

// An entry is a policy that is kept. It is not changed.
type entry struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Fetched time.Time `json:"fetched"`
	Text    string    `json:"policy"` // that of Policy.String

	policy *Policy
}

func (e *entry) expires() time.Time { return e.Fetched.Add(e.policy.MaxAge) }

func (e *entry) size() int64 { return int64(len(e.Domain) + len(e.ID) + len(e.Text)) }

// Limits of the files.
const (
	suffix   = ".sts"
	temp     = ".new-*"
	maxEntry = 8 * MaxSize // with all that JSON escapes
)

// NewMemoryCache returns a cache that ends with the program: its policies do not
// protect from who waits for a restart.
func NewMemoryCache(opts *CacheOptions) *Cache {
	c := &Cache{all: make(map[string]*entry)}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.MaxPolicies <= 0 {
		c.opts.MaxPolicies = 10_000
	}
	if c.opts.MaxSize <= 0 {
		c.opts.MaxSize = 16 << 20
	}
	return c
}

// OpenCache opens a cache in a folder, which is made if it is not there (mode
// 0700). A file that is damaged is a *CacheError that names it: what it said is in
// force, and would be lost if the file were passed over.
func OpenCache(dir string, opts *CacheOptions) (*Cache, error) {
	c := NewMemoryCache(opts)
	c.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &CacheError{dir, err}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, &CacheError{dir, err}
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if left, _ := filepath.Match(temp, f.Name()); left {
			_ = os.Remove(name) // of a write that was cut short
			continue
		}
		if !strings.HasSuffix(f.Name(), suffix) {
			continue
		}
		e, readErr := readEntry(name)
		if readErr != nil {
			return nil, &CacheError{name, readErr}
		}
		c.all[e.Domain] = e
		c.size += e.size()
	}
	return c, nil
}

func readEntry(name string) (*entry, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return nil, errCorrupt
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if json.Unmarshal(data, e) != nil || fileName(e.Domain) != filepath.Base(name) {
		return nil, errCorrupt
	}
	if e.policy, err = ParsePolicy([]byte(e.Text)); err != nil {
		return nil, errCorrupt
	}
	return e, nil
}

// fileName is of one length, and says nothing.
func fileName(domain string) string {
	sum := sha256.Sum256([]byte(domain))
	return hex.EncodeToString(sum[:16]) + suffix
}

// get returns the policy of a domain that is in force, or nil.
func (c *Cache) get(domain string, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.all[domain]
	if e == nil || !now.Before(e.expires()) {
		return nil
	}
	return e
}

// put keeps a policy. The error is [ErrFull] or a *CacheError.
func (c *Cache) put(e *entry, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.all[e.Domain]
	if !c.room(e, old, now) {
		return ErrFull
	}
	if old != nil {
		c.size -= old.size()
	}
	// In memory it is in force, whatever becomes of the file.
	c.all[e.Domain] = e
	c.size += e.size()
	return c.write(e)
}

// room makes room for an entry in place of an old one, which may be nil.
func (c *Cache) room(e, old *entry, now time.Time) bool {
	fits := func() bool {
		n, size := len(c.all)+1, c.size+e.size()
		if old != nil {
			n, size = n-1, size-old.size()
		}
		return n <= c.opts.MaxPolicies && size <= c.opts.MaxSize
	}
	if fits() {
		return true
	}
	var idle []*entry // may go, the most useless first
	for _, other := range c.all {
		if other != old && (other.policy.Mode != Enforce || !now.Before(other.expires())) {
			idle = append(idle, other)
		}
	}
	rank := func(x *entry) int {
		return slices.Index([]Mode{None, Testing, Enforce}, x.policy.Mode)
	}
	slices.SortFunc(idle, func(a, b *entry) int {
		if aOld, bOld := !now.Before(a.expires()), !now.Before(b.expires()); aOld != bOld {
			if aOld {
				return -1
			}
			return 1
		}
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return a.expires().Compare(b.expires())
	})
	for _, other := range idle {
		c.drop(other)
		if fits() {
			return true
		}
	}
	return false
}

func (c *Cache) drop(e *entry) {
	delete(c.all, e.Domain)
	c.size -= e.size()
	if c.dir != "" {
		_ = os.Remove(filepath.Join(c.dir, fileName(e.Domain))) // at worst it comes again with the next start
	}
}

// write writes an entry's file: all of it or nothing.
func (c *Cache) write(e *entry) (err error) {
	if c.dir == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = &CacheError{filepath.Join(c.dir, fileName(e.Domain)), err}
		}
	}()
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, temp) // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, fileName(e.Domain)))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// stale returns the domains whose policies were fetched before a time.
func (c *Cache) stale(before time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for domain, e := range c.all {
		if e.Fetched.Before(before) {
			out = append(out, domain)
		}
	}
	slices.Sort(out)
	return out
}
