package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/postseal/postseal/keystore/pkcs11"
)

// maxFile bounds a configuration, in octets.
const maxFile = 4 << 20

// Read reads and validates a file. The error is that of opening it, or Errors.
func Read(name string) (*Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, Errors{{File: name, Want: fmt.Sprintf("larger than %d octets, which no configuration is", maxFile)}}
	}
	return Parse(name, string(data))
}

// Parse reads and validates what a file holds. Its name is for errors, and for
// the names of files in it. The error is of type Errors.
func Parse(name, text string) (*Config, error) {
	c := defaults()
	meta, err := toml.Decode(text, c)
	if err != nil {
		return nil, Errors{syntax(name, text, err)}
	}
	v := &validator{c: c, file: name, lines: lines(text), meta: &meta}
	v.unknown()
	v.all()
	if len(v.errs) > 0 {
		slices.SortStableFunc(v.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
		return nil, v.errs
	}
	c.resolve(filepath.Dir(name))
	return c, nil
}

// badType is how the parser says that a value is of another type; it has no error
// value for that.
var badType = regexp.MustCompile(`(?s)^toml: line (\d+) \(last key "(.*?)"\): (.*)$`)

// syntax turns an error of the parser into one of ours.
func syntax(name, text string, err error) *Error {
	e := &Error{File: name, Want: err.Error()}
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		e.Line, e.Key, e.Want = pe.Position.Line, pe.LastKey, pe.Message
	} else if m := badType.FindStringSubmatch(e.Want); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits
		e.Key, e.Want = m[2], m[3]
	}
	e.place(text)
	return e
}

// place finds the right one of several keys with the same name in an array of
// tables: the parser names the last. It is the first with which the text up to
// the next table is wrong.
func (e *Error) place(text string) {
	all := lines(text)
	var places []string
	for where := range all {
		if where != e.Key && index.ReplaceAllString(where, "") == e.Key {
			places = append(places, where)
		}
	}
	slices.SortFunc(places, func(a, b string) int { return cmp.Compare(all[a], all[b]) })
	split := strings.SplitAfter(text, "\n")
	for _, where := range places {
		end := all[where]
		for end < len(split) && !strings.HasPrefix(strings.TrimSpace(split[end]), "[") {
			end++
		}
		if _, err := toml.Decode(strings.Join(split[:end], ""), defaults()); err != nil {
			e.Key, e.Line = where, all[where]
			return
		}
	}
}

var index = regexp.MustCompile(`\[\d+\]`)

// unknown finds keys that nothing is known of.
func (v *validator) unknown() {
	seen := make(map[string]bool)
	for _, key := range v.meta.Undecoded() {
		name := key.String()
		if seen[name] {
			continue
		}
		seen[name] = true
		found := false
		for where := range v.lines {
			if index.ReplaceAllString(where, "") == name {
				v.fail(where, "there is no such key")
				found = true
			}
		}
		if !found {
			v.fail(name, "there is no such key")
		}
	}
}

// resolve makes the names of files absolute, or relative to the working folder.
func (c *Config) resolve(dir string) {
	file := func(names ...*string) {
		for _, name := range names {
			if *name != "" && !filepath.IsAbs(*name) {
				*name = filepath.Join(dir, *name)
			}
		}
	}
	file(&c.Server.Spool, &c.Revocation.Cache, &c.Certificates.Folder, &c.IMAP.Facts)
	if name, ok := strings.CutPrefix(c.Milter.Address, Unix); ok {
		file(&name)
		c.Milter.Address = Unix + name
	}
	for i := range c.LDAP {
		file(&c.LDAP[i].CA, &c.LDAP[i].Password)
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		file(&l.Certificate, &l.Key, &l.SelfMade, &l.Authority, &l.Upstream.CA)
	}
	for i := range c.Domains {
		d := &c.Domains[i]
		file(&d.CA)
		for _, p := range []*Place{d.SMTP, d.IMAP} {
			if p != nil {
				file(&p.CA)
			}
		}
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		file(&a.Store, &a.Passphrase)
		for j := range a.Identities {
			if !pkcs11.Is(a.Identities[j]) {
				file(&a.Identities[j])
			}
		}
	}
	for i := range c.Trust.Authorities {
		file(&c.Trust.Authorities[i])
	}
}
