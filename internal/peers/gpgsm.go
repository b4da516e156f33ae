package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// gpgsmPeer runs GnuPG's gpgsm, one process per operation, in homes whose agents
// run until Close.
type gpgsmPeer struct {
	w       *world
	dir     string // short, since the agent's socket is below it
	version string
	grips   map[string]string // by fingerprint, what the agent calls a key
	homes   *homes
	// Guarded by the lock of homes:
	made   int // homes made
	agents []*gpgAgent
}

func newGPGSM(ctx context.Context, w *world) (Peer, error) {
	err := errors.Join(look("gpgsm", "gpgsm"), look("gnupg-agent", "gpg-agent"), look("gpgconf", "gpgconf"))
	if err != nil {
		return nil, err
	}
	out, _, err := run(ctx, nil, "gpgsm", "--version")
	if err != nil {
		return nil, err
	}
	p := &gpgsmPeer{w: w, version: firstLine(out)}
	if p.dir, err = shortDir(); err != nil {
		return nil, err
	}
	p.homes = newHomes(func(person string) (string, error) { return p.newHome(ctx, person) })
	if _, err = p.homes.of(""); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// shortDir makes a folder with a name that leaves room for that of a socket,
// which must not be longer than about 100 octets.
func shortDir() (string, error) {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "g")
}

// newHome makes a home with everybody's certificate. Those of people, whose
// names are joined by "+", are copies to which private keys are added.
func (p *gpgsmPeer) newHome(ctx context.Context, people string) (string, error) {
	public := filepath.Join(p.dir, "0")
	if people == "" {
		return public, p.newPublicHome(ctx, public)
	}
	p.made++
	dir := filepath.Join(p.dir, strconv.Itoa(p.made))
	if err := os.MkdirAll(filepath.Join(dir, "private-keys-v1.d"), 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"pubring.kbx", "trustlist.txt", "gpg-agent.conf"} {
		data, err := os.ReadFile(filepath.Join(public, name))
		if err != nil {
			return "", err
		}
		if err = os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	for name := range strings.SplitSeq(people, "+") {
		if err := p.addKey(dir, p.w.people[name]); err != nil {
			return "", fmt.Errorf("gpgsm: %s: %w", name, err)
		}
	}
	return dir, p.startAgent(dir)
}

func (p *gpgsmPeer) startAgent(home string) error {
	a, err := startAgent(home)
	if err == nil {
		p.agents = append(p.agents, a)
	}
	return err
}

// addKey gives a private key into the keeping of the agent of a home.
func (p *gpgsmPeer) addKey(dir string, m *member) error {
	key, err := AgentKey(m.KeyPEM)
	if err != nil {
		return err
	}
	grip := p.grips[fingerprint(m.certDER)]
	if grip == "" {
		return errors.New("the certificate was not imported")
	}
	return os.WriteFile(filepath.Join(dir, "private-keys-v1.d", grip+".key"), key, 0o600)
}

func (p *gpgsmPeer) newPublicHome(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var trust strings.Builder
	for _, der := range p.w.rootDER {
		fmt.Fprintf(&trust, "%s S relax\n", fingerprint(der))
	}
	for name, text := range map[string]string{
		"trustlist.txt":  trust.String(),
		"gpg-agent.conf": "disable-scdaemon\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := p.startAgent(dir); err != nil {
		return err
	}
	files := []string{p.w.roots}
	for _, name := range p.w.order {
		files = append(files, p.w.people[name].chainFile)
	}
	for _, file := range files {
		if _, _, err := run(ctx, nil, p.command(dir, "--import", file)...); err != nil {
			return err
		}
	}
	out, _, err := run(ctx, nil, p.command(dir, "--with-colons", "--with-keygrip", "--list-keys")...)
	p.grips = Keygrips(out)
	return err
}

// Keygrips reads what --with-colons lists: records "fpr" and "grp", each with
// its value in the tenth field.
func Keygrips(listing []byte) map[string]string {
	grips := make(map[string]string)
	var last string
	for line := range strings.Lines(string(listing)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 10 {
			continue
		}
		switch fields[0] {
		case "fpr":
			last = fields[9]
		case "grp":
			grips[last] = fields[9]
		}
	}
	return grips
}

func (p *gpgsmPeer) command(home string, args ...string) []string {
	return append([]string{"gpgsm", "--homedir", home, "--no-options", "--no-autostart", "--batch", "--yes", "--status-fd", "1",
		"--disable-dirmngr", "--disable-crl-checks", "--disable-policy-checks", "--no-common-certs-import"}, args...)
}

// Close stops the agents and removes the homes.
func (p *gpgsmPeer) Close() error {
	p.homes.mu.Lock()
	defer p.homes.mu.Unlock()
	var errs []error
	for _, a := range p.agents {
		errs = append(errs, a.stop())
	}
	p.agents = nil
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

func (p *gpgsmPeer) Name() string    { return "gpgsm" }
func (p *gpgsmPeer) Version() string { return p.version }

func (p *gpgsmPeer) CanMake(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, true)
	if err != nil {
		return err
	}
	l.gpgsmBoth()
	l.not(op.CounterSigner != "", "countersignatures")
	l.not(op.PSS, "RSASSA-PSS signing")
	l.not(op.Empty && op.Kind == Signed, "signature of empty content")
	l.not(op.NoAttrs, "signature without attributes")
	l.not(op.Kind == Enveloped && gpgsmCiphers[op.Cipher] == "", "cipher "+op.Cipher)
	l.not(l.anyone(op.Recipients, func(m *member) bool { return m.keyType != "rsa" }), "key agreement")
	return l.verdict()
}

func (p *gpgsmPeer) CanOpen(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, false)
	if err != nil {
		return err
	}
	l.gpgsmBoth()
	l.not(op.Kind == Signed && op.digest() == "sha224", "SHA-224 named with its signature algorithm")
	l.not(op.PSS && op.digest() == "sha1", "RSASSA-PSS with SHA-1")
	l.not(l.anyone(op.reading(), func(m *member) bool { return m.keyType != "rsa" }), "key agreement")
	l.not(l.anyone(op.Signers, func(m *member) bool { return m.keyType == "p521" }), "verification on P-521 (it calls good ones bad)")
	return l.verdict()
}

// gpgsmCiphers are the ciphers that gpgsm encrypts with.
var gpgsmCiphers = map[string]string{
	"aes-128-cbc": "AES128", "aes-192-cbc": "AES192", "aes-256-cbc": "AES256", "des3": "3DES",
}

// curveBits are the sizes of digests that gpgsm wants with a curve at least.
var curveBits = map[string][]string{
	"p256": {"sha256", "sha384", "sha512"},
	"p384": {"sha384", "sha512"},
	"p521": {"sha512"},
}

// gpgsmBoth notes what gpgsm can neither make nor open.
func (l *limits) gpgsmBoth() {
	op := l.op
	l.not(op.Format == SMIME, "MIME, only CMS")
	l.not(op.Kind != Signed && op.Kind != Enveloped, op.Kind.String()+" data")
	l.not(op.Kind == Signed && strings.HasPrefix(op.digest(), "sha3-") && !op.PSS, "SHA-3 but with RSASSA-PSS")
	l.not(op.KeyID, "key identifiers")
	l.not(op.AEAD(), "AuthEnvelopedData")
	l.not(op.OAEP != "", "RSAES-OAEP")
	l.not(op.KEK != nil && op.reader() == "", "KEK recipient")
	l.not(op.Password != "" && op.reader() == "", "password recipient")
	l.not(l.anyone(op.Signers, func(m *member) bool { return !m.rsaOrEC() }), "keys but RSA and NIST curves")
	l.not(l.anyone(op.Signers, func(m *member) bool {
		return m.ec() && !slices.Contains(curveBits[m.keyType], op.digest())
	}), "digest shorter than the curve")
}

func (p *gpgsmPeer) Make(ctx context.Context, op *Op, content []byte) ([]byte, error) {
	op = op.of(content)
	if err := p.CanMake(op); err != nil {
		return nil, err
	}
	d, err := newDesk(p.w.dir)
	if err != nil {
		return nil, err
	}
	defer d.clear()
	in, err := d.put("content", content)
	if err != nil {
		return nil, err
	}
	home, err := p.homes.of(strings.Join(op.Signers, "+"))
	if err != nil {
		return nil, err
	}
	args := append(p.makeArgs(op), "--output", d.path("message"), in)
	if _, _, err = run(ctx, nil, p.command(home, args...)...); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("message"))
}

func (p *gpgsmPeer) makeArgs(op *Op) []string {
	var args []string
	if op.Kind == Enveloped {
		args = append(args, "--encrypt", "--cipher-algo", gpgsmCiphers[op.Cipher])
		for _, name := range op.Recipients {
			args = append(args, "--recipient", p.userID(name))
		}
		return args
	}
	if op.Detached {
		args = append(args, "--detach-sign")
	} else {
		args = append(args, "--sign")
	}
	args = append(args, "--digest-algo", strings.ToUpper(op.digest()))
	for _, name := range op.Signers {
		args = append(args, "--local-user", p.userID(name))
	}
	return args
}

// userID returns a name by which gpgsm finds exactly one certificate.
func (p *gpgsmPeer) userID(name string) string {
	return "0x" + fingerprint(p.w.people[name].certDER)
}

func (p *gpgsmPeer) Open(ctx context.Context, op *Op, message, detached []byte) ([]byte, error) {
	if err := p.CanOpen(op); err != nil {
		return nil, err
	}
	d, err := newDesk(p.w.dir)
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
	var args []string
	switch {
	case op.Detached:
		var file string
		if file, err = d.put("detached", detached); err != nil {
			return nil, err
		}
		args = []string{"--verify", in, file}
	case op.Kind == Signed:
		args = []string{"--output", d.path("content"), "--verify", in}
	default:
		args = []string{"--output", d.path("content"), "--decrypt", in}
	}
	status, errOut, err := run(ctx, nil, p.command(home, args...)...)
	if err = p.verdict(op, status, errOut, err); err != nil {
		return nil, err
	}
	if op.Detached {
		return detached, nil
	}
	return os.ReadFile(d.path("content"))
}

// verdict judges what gpgsm said of a message. Exit status 1 and 2 are its own,
// anything else is a crash; they tell of signatures. But with several
// recipients gpgsm exits with 2 also when it was only the first key that it
// had not got, so that of decryption the status lines tell.
func (p *gpgsmPeer) verdict(op *Op, status, errOut []byte, err error) error {
	var failed *runError
	if err != nil && !(errors.As(err, &failed) && (failed.code == 1 || failed.code == 2)) {
		return err
	}
	count := func(word string) int { return bytes.Count(status, []byte("[GNUPG:] "+word)) }
	good := err == nil && count("GOODSIG ") == len(op.Signers) && count("BADSIG ")+count("ERRSIG ") == 0
	if op.Kind == Enveloped {
		good = count("DECRYPTION_OKAY") == 1 && count("DECRYPTION_FAILED") == 0
	}
	if good {
		return nil
	}
	return &RefusedError{p.Name(), string(bytes.TrimSpace(append(status, errOut...)))}
}
