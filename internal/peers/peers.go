package peers

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Person is somebody whom peers know: a certificate, and for those who sign
// or decrypt the private key.
type Person struct {
	Name  string // what an Op calls the person; also a file name
	Email string
	// CertPEM is the certificate, followed by the certificates of the issuers
	// between it and a root, if any.
	CertPEM []byte
	// KeyPEM is the private key, a "PRIVATE KEY" block (PKCS #8), or nil.
	KeyPEM []byte
}

// An Env is the world in which peers run: whom they trust and whom they know.
type Env struct {
	// Dir is where peers keep their files, each in a folder of its own. The
	// caller removes it after the peers have been closed.
	Dir string
	// Roots are the trust anchors, each a PEM certificate.
	Roots  [][]byte
	People []Person
}

// A Peer is another implementation of S/MIME. Its methods may be called from
// several goroutines.
type Peer interface {
	// Name returns a short name, such as "openssl".
	Name() string
	// Version returns what the peer says of its own version.
	Version() string

	// CanMake and CanOpen return nil if the peer has what op needs, and an
	// *UnsupportedError that says what it lacks if not.
	CanMake(op *Op) error
	CanOpen(op *Op) error

	// Make makes a message from content. For a detached signature in DER the
	// message is the signature alone; in S/MIME it is the multipart/signed
	// entity. With SMIME content must be a MIME entity.
	Make(ctx context.Context, op *Op, content []byte) (message []byte, err error)

	// Open opens a message, trusting Env.Roots, and returns its content.
	// Content of a detached signature in DER is given in detached. Open is
	// exact: it succeeds if the peer found nothing wrong, every signature
	// included, and else returns a *RefusedError, or another error if the
	// peer could not be asked.
	Open(ctx context.Context, op *Op, message, detached []byte) (content []byte, err error)

	// Close stops every process of the peer. It may be called twice.
	Close() error
}

// An UnsupportedError says what a peer cannot do.
type UnsupportedError struct {
	Peer string
	What string
}

func (e *UnsupportedError) Error() string { return e.Peer + ": no " + e.What }

// A RefusedError is a peer's verdict that a message is not acceptable.
type RefusedError struct {
	Peer   string
	Reason string // the peer's own words
}

func (e *RefusedError) Error() string { return e.Peer + " refused the message: " + e.Reason }

// errAbsent is wrapped by the error of a peer's constructor when the peer is
// not installed.
var errAbsent = errors.New("not installed")

// constructors lists the peers in the order in which Find returns them.
var constructors = []struct {
	name string
	open func(context.Context, *world) (Peer, error)
}{
	{"openssl", newOpenSSL},
	{"bouncycastle", newBouncyCastle},
	{"nss", newNSS},
	{"gpgsm", newGPGSM},
}

// Find starts the peers that are installed. Those that are not are named in
// missing, with what would have to be installed. An error means that a peer is
// there and could not be set up; then no peer is left running. The context
// bounds the life of the peers' own processes: it must outlive their use.
func Find(ctx context.Context, env *Env) (found []Peer, missing []string, err error) {
	w, err := newWorld(env)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range constructors {
		p, openErr := c.open(ctx, w)
		switch {
		case openErr == nil:
			found = append(found, p)
		case errors.Is(openErr, errAbsent):
			missing = append(missing, fmt.Sprintf("%s: %v", c.name, openErr))
		default:
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", c.name, openErr), Close(found))
		}
	}
	return found, missing, nil
}

// Close closes all of the peers.
func Close(peers []Peer) error {
	var errs []error
	for _, p := range peers {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// firstLine returns the first line of a program's output.
func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(line)
}
