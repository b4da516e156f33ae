package ldap

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Find implements keystore.Finder. It returns the certificates in the entries that
// the filter finds; of more than Options.Certificates the best. Detail names the
// attribute and the entry. None is Vouched for. A certificate that a
// userSMIMECertificate with a valid signature names for encryption is Preferred,
// and has the capabilities in it.
//
// Values that cannot be read are passed over, as long as one can be; else they
// are an error, for there may be a certificate.
//
// Every error is a [*keystore.SourceError]. In it are a [*keystore.SyntaxError]
// for what is no address, the errors of this package, those of package tls and of
// the connection, and context.DeadlineExceeded. Certificates and an error may both
// be there.
func (f *Finder) Find(ctx context.Context, address string) ([]keystore.Found, error) {
	filter, err := f.filter.of(address)
	if err != nil {
		return nil, f.fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	entries, err := f.search(ctx, filter)
	s := &selection{f: f, address: address, now: f.opts.Now(), seen: make(map[string]bool)}
	for _, e := range entries {
		if readErr := s.entry(ctx, e); err == nil {
			err = readErr
		}
	}
	if err == nil && len(s.found) == 0 {
		err = s.unread
	}
	return s.best(), f.fail(err)
}

func (f *Finder) fail(err error) error {
	if err == nil || errors.As(err, new(*keystore.SourceError)) {
		return err
	}
	return &keystore.SourceError{Source: f.Source(), Err: err}
}

// A selection collects what is in entries.
type selection struct {
	f       *Finder
	address string
	now     time.Time
	found   []keystore.Found
	seen    map[string]bool // certificates
	unread  error           // the first value that cannot be read
}

// entry takes the values of an entry, userSMIMECertificate first: it says more.
// The error is that of the context.
func (s *selection) entry(ctx context.Context, e *goldap.Entry) error {
	for _, name := range []string{attrSMIME, attrCertificate} {
		for _, a := range e.Attributes {
			base, _, _ := strings.Cut(a.Name, ";")
			if !strings.EqualFold(base, name) {
				continue
			}
			for _, value := range a.ByteValues {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				s.value(name, e.DN, value)
			}
		}
	}
	return nil
}

func (s *selection) value(name, dn string, value []byte) {
	found, err := read(name, value)
	if err != nil {
		s.unread = cmp.Or(s.unread, error(&keystore.FileError{Name: name + " of " + dn, Err: err}))
		return
	}
	for i := range found {
		one := &found[i]
		if key := string(one.Certificate.Raw); !s.seen[key] {
			s.seen[key] = true
			one.Source, one.Detail = s.f.Source(), name+" of "+dn
			one.Err = keystore.CheckEncryption(one.Certificate, s.address, s.now)
			s.found = append(s.found, *one)
		}
	}
	if len(s.found) > 4*s.f.opts.Certificates {
		s.found = s.best()
	}
}

// best returns the certificates that are returned, in their order.
func (s *selection) best() []keystore.Found {
	keystore.SortFound(s.found)
	return slices.Clip(s.found[:min(len(s.found), s.f.opts.Certificates)])
}

// contains reports whether c is among certs.
func contains(certs []*pki.Certificate, c *pki.Certificate) bool {
	return slices.ContainsFunc(certs, func(o *pki.Certificate) bool { return bytes.Equal(o.Raw, c.Raw) })
}
