package pkcs11

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/postseal/postseal/keystore"
)

// maxPIN bounds the file with a PIN, in octets.
const maxPIN = 4096

// pinFrom returns who is asked for the PIN, or nil.
func (u *URI) pinFrom(ask keystore.Passphrase, allowValue bool) (keystore.Passphrase, error) {
	if value, ok := u.Query(QueryPINValue); ok {
		if !allowValue {
			return nil, ErrPINInURI
		}
		return func(string) ([]byte, error) { return []byte(value), nil }, nil
	}
	source, ok := u.Query(QueryPINSource)
	if !ok {
		return ask, nil
	}
	name, err := pinFile(source)
	if err != nil {
		return nil, err
	}
	return func(string) ([]byte, error) { return readPIN(name) }, nil
}

// pinFile returns the name of the file that a pin-source names: an absolute
// path or a file URI. RFC 7512, Section 2.4, leaves open what a source is;
// programs to run ("|program") are refused.
func pinFile(source string) (string, error) {
	if filepath.IsAbs(source) {
		return filepath.Clean(source), nil
	}
	u, err := url.Parse(source)
	if err != nil || !strings.EqualFold(u.Scheme, "file") || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" {
		return "", ErrPINSource
	}
	name := filepath.FromSlash(u.Path)
	if !filepath.IsAbs(name) {
		// A file URI has a slash before the letter of a drive.
		name = strings.TrimPrefix(name, string(filepath.Separator))
	}
	if !filepath.IsAbs(name) {
		return "", ErrPINSource
	}
	return filepath.Clean(name), nil
}

// readPIN reads a PIN from a file, whose last line end is not part of it.
func readPIN(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINSource, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPIN+1))
	_ = f.Close() // it was read only
	if err == nil && len(data) > maxPIN {
		err = errors.New("the file is too big for a PIN")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPINSource, err)
	}
	data, _ = bytes.CutSuffix(data, []byte("\n"))
	data, _ = bytes.CutSuffix(data, []byte("\r"))
	return data, nil
}

// refusedPINs remembers, by token, the PIN that was refused last: as a hash
// under a key of this process.
type refusedPINs struct {
	mu  sync.Mutex
	key []byte
	m   map[string][]byte
}

func (r *refusedPINs) hash(pin []byte) []byte {
	if r.key == nil {
		r.key = make([]byte, 32)
		_, _ = rand.Read(r.key) // never fails
	}
	h := hmac.New(sha256.New, r.key)
	h.Write(pin)
	return h.Sum(nil)
}

// has reports whether the token has refused this PIN.
func (r *refusedPINs) has(token string, pin []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[token] != nil && hmac.Equal(r.m[token], r.hash(pin))
}

// add notes that a PIN was refused, and remove that the token has taken one.
func (r *refusedPINs) add(token string, pin []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = make(map[string][]byte)
	}
	r.m[token] = r.hash(pin)
}

func (r *refusedPINs) remove(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, token)
}
