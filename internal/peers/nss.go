package peers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// nssPeer runs NSS's cmsutil, one process per operation.
type nssPeer struct {
	w       *world
	dir     string
	version string
	homes   *homes
}

func newNSS(ctx context.Context, w *world) (Peer, error) {
	if err := look("libnss3-tools", "cmsutil", "certutil", "pk12util"); err != nil {
		return nil, err
	}
	p := &nssPeer{w: w, dir: filepath.Join(w.dir, "nss"), version: nssVersion(ctx)}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	// Homes live longer than the operation that first needs them.
	p.homes = newHomes(func(person string) (string, error) { return p.newHome(ctx, person) })
	_, err := p.homes.of("")
	return p, err
}

// nssVersion asks the package manager, since NSS's tools do not tell.
func nssVersion(ctx context.Context) string {
	out, _, err := run(ctx, nil, "dpkg-query", "-W", "-f", "NSS ${Version}", "libnss3-tools")
	if err != nil {
		return "NSS of unknown version"
	}
	return firstLine(out)
}

// newHome makes a database with everybody's certificate. That of a person is a
// copy, to which the private key is added.
func (p *nssPeer) newHome(ctx context.Context, person string) (string, error) {
	dir := filepath.Join(p.dir, "home-"+person)
	if person != "" {
		public := filepath.Join(p.dir, "home-")
		if err := os.CopyFS(dir, os.DirFS(public)); err != nil {
			return "", err
		}
		return dir, p.importKey(ctx, dir, p.w.people[person])
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if _, _, err := run(ctx, nil, "certutil", "-N", "-d", "sql:"+dir, "--empty-password"); err != nil {
		return "", err
	}
	for i, der := range p.w.rootDER {
		if err := p.importCert(ctx, dir, fmt.Sprintf("root %d", i), "CT,C,C", der); err != nil {
			return "", err
		}
	}
	for _, name := range p.w.order {
		m := p.w.people[name]
		if !m.rsaOrEC() {
			continue // not even the certificate can be imported
		}
		if err := p.importCert(ctx, dir, name, ",,", m.certDER); err != nil {
			return "", err
		}
		for i, der := range m.chain {
			if err := p.importCert(ctx, dir, fmt.Sprintf("%s above %d", name, i), ",,", der); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

func (p *nssPeer) importCert(ctx context.Context, dir, nick, trust string, der []byte) error {
	file := filepath.Join(p.dir, "import.der")
	if err := os.WriteFile(file, der, 0o600); err != nil {
		return err
	}
	_, _, err := run(ctx, nil, "certutil", "-A", "-d", "sql:"+dir, "-n", nick, "-t", trust, "-i", file)
	return err
}

// importKey brings in a person's private key, which takes a PKCS #12 file. The
// certificate in it is known already and keeps its nickname.
func (p *nssPeer) importKey(ctx context.Context, dir string, m *member) error {
	block, _ := pem.Decode(m.KeyPEM)
	if block == nil {
		return fmt.Errorf("nss: the private key of %s is not in PEM", m.Name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(m.certDER)
	if err != nil {
		return err
	}
	const password = "peers"
	data, err := pkcs12.Modern.Encode(key, cert, nil, password)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "key.p12")
	if err = os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	_, _, err = run(ctx, nil, "pk12util", "-i", file, "-d", "sql:"+dir, "-W", password, "-K", "")
	return err
}

func (p *nssPeer) Name() string    { return "nss" }
func (p *nssPeer) Version() string { return p.version }
func (p *nssPeer) Close() error    { return nil }

func (p *nssPeer) CanMake(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, true)
	if err != nil {
		return err
	}
	l.nssBoth()
	l.not(op.CounterSigner != "", "countersignatures")
	l.not(len(op.Signers) > 1, "second signer in cmsutil")
	l.not(op.Empty && op.Kind == Signed, "signature of empty content")
	l.not(op.PSS, "way to ask for RSASSA-PSS")
	l.not(op.KeyID, "way to ask for key identifiers")
	l.not(op.NoAttrs, "signature without attributes")
	l.not(op.Kind == Signed && !slices.Contains(nssDigests, op.digest()), "signature with "+op.digest())
	l.not(op.Kind == Enveloped && op.Cipher != "aes-128-cbc", "way to choose a cipher (it takes aes-128-cbc)")
	return l.verdict()
}

func (p *nssPeer) CanOpen(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, false)
	if err != nil {
		return err
	}
	l.nssBoth()
	l.not(op.Empty && op.Kind == Signed && !op.Detached, "opaque signature of empty content")
	return l.verdict()
}

// nssDigests are the digests with which cmsutil signs.
var nssDigests = []string{"sha1", "sha256", "sha384", "sha512"}

// nssBoth notes what NSS can neither make nor open.
func (l *limits) nssBoth() {
	op := l.op
	l.not(op.Format == SMIME, "MIME, only CMS")
	l.not(op.Kind != Signed && op.Kind != Enveloped, op.Kind.String()+" data in cmsutil")
	l.not(op.Kind == Signed && strings.HasPrefix(op.digest(), "sha3-"), "SHA-3")
	l.not(l.anyone(op.Signers, func(m *member) bool { return !m.rsaOrEC() }), "keys but RSA and NIST curves")
	l.not(op.AEAD(), "AuthEnvelopedData")
	l.not(op.OAEP != "", "RSAES-OAEP")
	l.not(l.anyone(l.parties(), func(m *member) bool { return m.keyType != "rsa" }), "key agreement, not even beside other recipients")
	l.not(op.keyed() && (op.KEK != nil || op.Password != ""), "KEK or password recipient, not even beside others")
}

func (p *nssPeer) Make(ctx context.Context, op *Op, content []byte) ([]byte, error) {
	op = op.of(content)
	if err := p.CanMake(op); err != nil {
		return nil, err
	}
	d, err := newDesk(p.dir)
	if err != nil {
		return nil, err
	}
	defer d.clear()
	in, err := d.put("content", content)
	if err != nil {
		return nil, err
	}
	var person string
	args := []string{"cmsutil", "-i", in, "-o", d.path("message")}
	if op.Kind == Enveloped {
		args = append(args, "-E", "-r", strings.Join(op.Recipients, ","))
	} else {
		person = op.Signers[0]
		args = append(args, "-S", "-G", "-N", person, "-H", strings.ToUpper(op.digest()))
	}
	if op.Detached {
		args = append(args, "-T")
	}
	home, err := p.homes.of(person)
	if err != nil {
		return nil, err
	}
	if _, _, err = run(ctx, nil, append(args, "-d", "sql:"+home)...); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("message"))
}

func (p *nssPeer) Open(ctx context.Context, op *Op, message, detached []byte) ([]byte, error) {
	if err := p.CanOpen(op); err != nil {
		return nil, err
	}
	d, err := newDesk(p.dir)
	if err != nil {
		return nil, err
	}
	defer d.clear()
	in, err := d.put("message", message)
	if err != nil {
		return nil, err
	}
	home, err := p.homes.of(op.reader())
	if err != nil {
		return nil, err
	}
	args := []string{"cmsutil", "-D", "-d", "sql:" + home, "-i", in, "-o", d.path("content")}
	if op.Detached {
		var file string
		if file, err = d.put("detached", detached); err != nil {
			return nil, err
		}
		args = append(args, "-c", file)
	}
	_, _, err = run(ctx, nil, args...)
	var failed *runError
	if errors.As(err, &failed) && failed.code == 1 && bytes.Contains(failed.stderr, []byte("problem decoding")) {
		return nil, &RefusedError{p.Name(), string(bytes.TrimSpace(failed.stderr))}
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("content"))
}
