package dane

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postseal/postseal/pki"
)

// VerifyOptions say how [Verify] looks at certificates.
type VerifyOptions struct {
	// Usages are those that the protocol takes; none means all of them.
	Usages []Usage
	// Name returns nil if a certificate is for the server that is meant. It is
	// asked in all usages but DANE-EE (RFC 7671, Section 5.1), and required.
	Name func(*x509.Certificate) error
	// Roots are the authorities for PKIX-TA and PKIX-EE; nil means those of the
	// system. They play no part in the other usages.
	Roots *x509.CertPool
	// Time is when certificates have to be valid; zero means now.
	Time time.Time
}

// A Match says which record vouches for a server.
type Match struct {
	Record Record
	// Path leads from the server's certificate to the one that the record is
	// for, or in PKIX-TA and PKIX-EE to a root.
	Path []*x509.Certificate
}

// Fault says, for a program, why no record vouches for a server.
type Fault int

// The faults, the least first: of several records, the one that came farthest is
// told of.
const (
	NoUsable    Fault = iota + 1 // no record is of a kind that can be used here
	NoMatch                      // no record is for a certificate that the server sent
	UntrustedCA                  // a record matches, but there is no valid path
	Expired                      // a record matches, but a certificate on the path is out of date
	WrongName                    // a record matches, but the certificate is for another name
)

// A VerifyError says why no record vouches for a server.
type VerifyError struct {
	Fault Fault
	// Record is the one that came farthest; for NoUsable and NoMatch it is zero.
	Record Record
	// Records is how many were looked at.
	Records int
	Err     error // the cause, or nil
}

// Error returns a sentence.
func (e *VerifyError) Error() string {
	switch e.Fault {
	case NoUsable:
		return of(e.Records, "the TLSA record cannot be used here", "none of %d TLSA records can be used here")
	case NoMatch:
		return of(e.Records, "the TLSA record is not for a certificate that the server sent", "none of %d TLSA records is for a certificate that the server sent")
	case Expired:
		return fmt.Sprintf("the TLSA record %s matches, but a certificate is out of date: %v", e.Record.Short(), e.Err)
	case WrongName:
		return fmt.Sprintf("the TLSA record %s matches, but %v", e.Record.Short(), e.Err)
	}
	return fmt.Sprintf("the TLSA record %s matches, but the certificate has no valid path: %v", e.Record.Short(), e.Err)
}

// of chooses a sentence by a number.
func of(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// Unwrap returns the cause.
func (e *VerifyError) Unwrap() error { return e.Err }

// Verify holds the certificates that a server sent, its own first, against TLSA
// records that DNSSEC vouches for. One record that matches is enough (RFC 6698,
// Section 4.1). Records that cannot be used are passed over, and so are those
// with a weaker hash than others ([Strongest]). The error is a *VerifyError.
func Verify(records []Record, chain []*x509.Certificate, opts *VerifyOptions) (*Match, error) {
	usable := Strongest(Usable(records, opts.Usages...))
	if len(usable) == 0 {
		return nil, &VerifyError{Fault: NoUsable, Records: len(records)}
	}
	worst := &VerifyError{Fault: NoMatch, Records: len(usable)}
	if len(chain) == 0 {
		return nil, worst
	}
	v := &verifier{chain: chain, opts: opts, parsed: make(map[*x509.Certificate]*pki.Certificate)}
	for _, r := range usable {
		path, err := v.verify(r)
		if err == nil {
			return &Match{Record: r, Path: path}, nil
		}
		if f := faultOf(err); f > worst.Fault {
			worst = &VerifyError{Fault: f, Record: r, Records: len(usable), Err: err}
		}
	}
	return nil, worst
}

// errNoMatch says that a record is for none of the certificates.
var errNoMatch = errors.New("the record is for another certificate")

// A nameError is what VerifyOptions.Name said.
type nameError struct{ error }

// Unwrap returns what it said.
func (e nameError) Unwrap() error { return e.error }

func faultOf(err error) Fault {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errNoMatch):
		return NoMatch
	case errors.As(err, new(nameError)):
		return WrongName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	}
	return UntrustedCA
}

type verifier struct {
	chain  []*x509.Certificate
	opts   *VerifyOptions
	parsed map[*x509.Certificate]*pki.Certificate
	built  int // how often paths have been looked for
}

// maxBuilt bounds the work that a zone and a server can make together: each look for
// paths may check a hundred signatures.
const maxBuilt = 32

// errTooMuch says that the work is too much.
var errTooMuch = errors.New("there are too many records that match, and none has a path")

// matches reports whether a record is for a certificate.
func (v *verifier) matches(r Record, c *x509.Certificate) bool {
	parsed, known := v.parsed[c]
	if !known {
		parsed, _ = pki.ParseCertificate(c.Raw) // nil matches nothing
		v.parsed[c] = parsed
	}
	return r.Matches(parsed)
}

// verify returns the path for a record that vouches for the server.
func (v *verifier) verify(r Record) ([]*x509.Certificate, error) {
	switch r.Usage {
	case DANEEE:
		// RFC 7671, Section 5.1: names and dates do not count.
		if !v.matches(r, v.chain[0]) {
			return nil, errNoMatch
		}
		return v.chain[:1:1], nil
	case PKIXEE:
		if !v.matches(r, v.chain[0]) {
			return nil, errNoMatch
		}
		return v.pkix(nil, func([]*x509.Certificate) bool { return true })
	case PKIXTA:
		// RFC 7671, Section 5.4: the authority is one of the validated path.
		return v.pkix(certificateIn(r), func(path []*x509.Certificate) bool {
			return slices.ContainsFunc(path[1:], func(c *x509.Certificate) bool { return v.matches(r, c) })
		})
	}
	return v.anchored(r)
}

// pkix finds a path to a root that is as wanted. more may be nil, or a certificate
// that the server may have left out.
func (v *verifier) pkix(more *x509.Certificate, wanted func([]*x509.Certificate) bool) ([]*x509.Certificate, error) {
	paths, err := v.paths(v.opts.Roots, more)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(paths, wanted)
	if i < 0 {
		return nil, errNoMatch
	}
	return paths[i], v.name()
}

// anchored finds a path to the trust anchor that a record of DANE-TA is for (RFC
// 7671, Section 5.2). It is one of the issuers that were sent, or in the record.
func (v *verifier) anchored(r Record) ([]*x509.Certificate, error) {
	err := errNoMatch
	for _, anchor := range v.anchors(r) {
		pool := x509.NewCertPool()
		pool.AddCert(anchor)
		paths, pathErr := v.paths(pool, nil)
		if pathErr == nil {
			return paths[0], v.name()
		}
		err = pathErr
	}
	return nil, err
}

// anchors returns the certificates that a record makes trust anchors.
func (v *verifier) anchors(r Record) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range v.chain[1:] {
		if v.matches(r, c) {
			out = append(out, c)
		}
	}
	if r.MatchingType != Full || len(out) > 0 {
		return out
	}
	if r.Selector == FullCert {
		// RFC 7671, Section 5.2.2: the server may leave it out.
		if c := certificateIn(r); c != nil && !c.Equal(v.chain[0]) {
			out = append(out, c)
		}
		return out
	}
	// RFC 7671, Section 5.2.3: a key alone. What it has signed is as good.
	key, err := x509.ParsePKIXPublicKey(r.Data)
	if err != nil {
		return nil
	}
	for _, c := range v.chain {
		if signedBy(c, key) {
			out = append(out, c)
		}
	}
	return out
}

// certificateIn returns the certificate that a record has in it, or nil.
func certificateIn(r Record) *x509.Certificate {
	if r.Selector != FullCert || r.MatchingType != Full {
		return nil
	}
	c, err := x509.ParseCertificate(r.Data)
	if err != nil {
		return nil
	}
	return c
}

// signedBy reports whether a key has signed a certificate.
func signedBy(c *x509.Certificate, key any) bool {
	// That the algorithm is known is asked for; the type of the key is what counts.
	return c.CheckSignatureFrom(&x509.Certificate{PublicKey: key, PublicKeyAlgorithm: x509.RSA}) == nil
}

func (v *verifier) paths(roots *x509.CertPool, more *x509.Certificate) ([][]*x509.Certificate, error) {
	if v.built++; v.built > maxBuilt {
		return nil, errTooMuch
	}
	pool := x509.NewCertPool()
	if more != nil {
		pool.AddCert(more)
	}
	for _, c := range v.chain[1:] {
		pool.AddCert(c)
	}
	return v.chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: pool, CurrentTime: v.opts.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (v *verifier) name() error {
	if err := v.opts.Name(v.chain[0]); err != nil {
		return nameError{err}
	}
	return nil
}
