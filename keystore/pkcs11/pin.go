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

// pins remembers, by token, the PIN that was refused last and the one that was
// taken last: as hashes under a key of this process.
type pins struct {
	mu             sync.Mutex
	key            []byte
	refused, taken map[string][]byte
}

func (p *pins) hash(pin []byte) []byte {
	if p.key == nil {
		p.key = make([]byte, 32)
		_, _ = rand.Read(p.key) // never fails
		p.refused, p.taken = make(map[string][]byte), make(map[string][]byte)
	}
	h := hmac.New(sha256.New, p.key)
	h.Write(pin)
	return h.Sum(nil)
}

// wasRefused reports whether the token has refused this PIN, and taken none
// since.
func (p *pins) wasRefused(token string, pin []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.hash(pin)
	return p.refused[token] != nil && hmac.Equal(p.refused[token], sum)
}

// refuse notes that a PIN was refused.
func (p *pins) refuse(token string, pin []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[token] = p.hash(pin)
}

// take notes that a PIN was taken.
func (p *pins) take(token string, pin []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[token] = p.hash(pin)
	delete(p.refused, token)
}

// differs reports whether another PIN than this one was taken.
func (p *pins) differs(token string, pin []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.hash(pin)
	return p.taken[token] != nil && !hmac.Equal(p.taken[token], sum)
}
