// Package files finds certificates of correspondents in a file or a folder, such
// as one that a team shares. A [Finder] is a keystore.Finder.
//
// # Security
//
// A folder vouches for nothing: whose a certificate is has to be found out by a
// path to a root, and the certificate itself has to be for the address that is
// asked for. The name of a file says nothing. How many files are read, and how much
// of each, is bounded.
//
// A folder that cannot be read, or a file in it that should have certificates and
// has none that can be read, is an error beside what was found, and never "no
// certificate".
//
// # Compatibility
//
// Files are PEM, DER or PKCS#7, as package keystore reads them. Of a folder those
// are read whose name ends in .pem, .crt, .cer, .der, .p7b or .p7c, in any case;
// folders in it are not.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// What is read at most.
const (
	MaxFiles = 10000    // of a folder
	MaxFile  = 16 << 20 // octets of a file
)

// ErrNotRegular says that what has the name of a file is something else, such as a
// pipe.
var ErrNotRegular = errors.New("it is neither a file nor a folder")

// A LimitError says that there is more than is read.
type LimitError struct {
	Limit string // what is exceeded
}

func (e *LimitError) Error() string { return "there are more than " + e.Limit }

// A Finder reads a file or a folder. It does so whenever it is asked, so that what
// is put there is found. It may be used by several goroutines.
type Finder struct {
	path string
	now  func() time.Time
}

var _ keystore.Finder = (*Finder)(nil)

// New returns a Finder of a file or folder, which need not be there yet. now is the
// clock; nil means time.Now.
func New(path string, now func() time.Time) *Finder {
	if now == nil {
		now = time.Now
	}
	return &Finder{path, now}
}

// Source implements keystore.Finder: it is the path.
func (f *Finder) Source() string { return f.path }

// Find implements keystore.Finder. Detail is the name of the file, in a folder.
// None of the certificates is Vouched for. The error, which joins one for every
// file that could not be read, is a [*keystore.SourceError]; in it are a
// [*keystore.SyntaxError] for what is no address, errors of the system,
// [*keystore.FileError], [*LimitError] and [ErrNotRegular].
func (f *Finder) Find(ctx context.Context, address string) ([]keystore.Found, error) {
	normal, err := keystore.NormalizeAddress(address)
	if err != nil {
		return nil, f.fail(err)
	}
	names, folder, err := f.names()
	if err != nil {
		return nil, f.fail(err)
	}
	var found []keystore.Found
	var failures []error
	for _, name := range names {
		if ctx.Err() != nil {
			failures = append(failures, ctx.Err())
			break
		}
		certs, readErr := read(name)
		if readErr != nil {
			failures = append(failures, readErr)
			continue
		}
		found = append(found, f.match(certs, normal, name, folder)...)
	}
	keystore.SortFound(found)
	return found, f.fail(errors.Join(failures...))
}

func (f *Finder) fail(err error) error {
	if err == nil {
		return nil
	}
	return &keystore.SourceError{Source: f.path, Err: err}
}

// extensions are those of files with certificates.
var extensions = []string{".pem", ".crt", ".cer", ".der", ".p7b", ".p7c"}

// names returns the files that are read.
func (f *Finder) names() (names []string, folder bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{f.path}, false, nil
	}
	dir, err := os.Open(f.path)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = dir.Close() }() // it was only read
	entries, err := dir.ReadDir(MaxFiles + 1)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if len(entries) > MaxFiles {
		return nil, false, &LimitError{fmt.Sprintf("%d files", MaxFiles)}
	}
	for _, e := range entries {
		if !e.IsDir() && slices.Contains(extensions, strings.ToLower(filepath.Ext(e.Name()))) {
			names = append(names, filepath.Join(f.path, e.Name()))
		}
	}
	slices.Sort(names)
	return names, true, nil
}

// read returns the certificates in a file. One with a private key alone has none,
// and that is no error: keys are often beside certificates.
func read(name string) ([]*pki.Certificate, error) {
	// A pipe is not to be waited for.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &keystore.FileError{Name: name, Err: ErrNotRegular}
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, &keystore.FileError{Name: name, Err: &LimitError{fmt.Sprintf("%d octets", MaxFile)}}
	}
	certs, err := keystore.ParseCertificates(name, data)
	if errors.Is(err, keystore.ErrNoCertificate) {
		return nil, nil
	}
	return certs, err
}

// match returns the certificates that are for an address.
func (f *Finder) match(certs []*pki.Certificate, address, name string, folder bool) []keystore.Found {
	var out []keystore.Found
	for _, c := range certs {
		err := keystore.CheckEncryption(c, address, f.now())
		var unusable *keystore.UnusableError
		if errors.As(err, &unusable) && unusable.Reason == keystore.UnusableAddress {
			continue
		}
		one := keystore.Found{Certificate: c, Source: f.path, Err: err}
		if folder {
			one.Detail = filepath.Base(name)
		}
		for _, o := range certs {
			if o != c && o.IsCA {
				one.Chain = append(one.Chain, o)
			}
		}
		out = append(out, one)
	}
	return out
}
