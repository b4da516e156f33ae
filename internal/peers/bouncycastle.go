package peers

import (
	"bufio"
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// bcSources is the program that drives Bouncy Castle.
//
//go:embed bc/*.java
var bcSources embed.FS

// bcJars are what the program needs below bcFolder, where Debian installs it.
var bcJars = []string{"bcprov.jar", "bcutil.jar", "bcpkix.jar", "bcmail.jar", "javax.mail.jar", "javax.activation.jar"}

const bcFolder = "/usr/share/java"

// bcPeer is one Java process that carries out one request at a time.
type bcPeer struct {
	w       *world
	dir     string
	version string
	cmd     *exec.Cmd
	stop    context.CancelFunc

	mu     sync.Mutex // held during a request
	in     io.WriteCloser
	out    *bufio.Reader
	stderr strings.Builder // read only after cmd.Wait
	closed bool
}

func newBouncyCastle(ctx context.Context, w *world) (Peer, error) {
	if err := look("openjdk-17-jdk-headless", "java", "javac"); err != nil {
		return nil, err
	}
	var path []string
	for _, jar := range bcJars {
		file := filepath.Join(bcFolder, jar)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("%s %w (Debian package libbcmail-java)", file, errAbsent)
		}
		path = append(path, file)
	}
	p := &bcPeer{w: w, dir: filepath.Join(w.dir, "bouncycastle")}
	classes := filepath.Join(p.dir, "classes")
	if err := p.compile(ctx, classes, strings.Join(path, ":")); err != nil {
		return nil, err
	}
	if err := p.start(ctx, strings.Join(append(path, classes), ":")); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// compile writes the sources out and compiles them to classes.
func (p *bcPeer) compile(ctx context.Context, classes, classPath string) error {
	sources := filepath.Join(p.dir, "sources")
	for _, dir := range []string{sources, classes} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	entries, err := bcSources.ReadDir("bc")
	if err != nil {
		return err
	}
	args := []string{"javac", "-nowarn", "-d", classes, "-cp", classPath}
	for _, entry := range entries {
		var text []byte
		if text, err = bcSources.ReadFile("bc/" + entry.Name()); err != nil {
			return err
		}
		file := filepath.Join(sources, entry.Name())
		if err = os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		args = append(args, file)
	}
	_, _, err = run(ctx, nil, args...)
	return err
}

// start starts the program and waits for its greeting.
func (p *bcPeer) start(ctx context.Context, classPath string) error {
	ctx, p.stop = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "java", "-Xmx2g", "-Xss16m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.awt.headless=true", "-cp", classPath, "Peer")
	cmd.Stderr = &p.stderr
	cmd.WaitDelay = 5 * time.Second
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	var out io.ReadCloser
	if out, err = cmd.StdoutPipe(); err != nil {
		return err
	}
	p.out = bufio.NewReader(out)
	if err = cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	greeting, err := p.answer()
	if err != nil {
		return err
	}
	word, rest, _ := strings.Cut(greeting, " ")
	if p.version, err = url.QueryUnescape(rest); err != nil || word != "ready" {
		return fmt.Errorf("unexpected greeting %q", greeting)
	}
	return nil
}

func (p *bcPeer) answer() (string, error) {
	line, err := p.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// ask sends one request and waits for its answer. A request that is not
// answered in time is the last one: the process is killed.
func (p *bcPeer) ask(ctx context.Context, request url.Values) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("bouncycastle: %w", os.ErrClosed)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, p.stop)()
	if _, err := io.WriteString(p.in, request.Encode()+"\n"); err != nil {
		return fmt.Errorf("bouncycastle: %w", errors.Join(err, ctx.Err()))
	}
	answer, err := p.answer()
	if err != nil {
		return fmt.Errorf("bouncycastle: %w", errors.Join(err, ctx.Err()))
	}
	word, rest, _ := strings.Cut(answer, " ")
	reason, err := url.QueryUnescape(rest)
	switch {
	case err != nil:
		return err
	case word == "ok":
		return nil
	case word == "refused":
		return &RefusedError{p.Name(), reason}
	default:
		return fmt.Errorf("bouncycastle: %s: %s", word, reason)
	}
}

// Close ends the program by closing its input, and waits for it.
func (p *bcPeer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cmd == nil {
		p.closed = true
		return nil
	}
	p.closed = true
	_ = p.in.Close()
	timer := time.AfterFunc(10*time.Second, p.stop)
	defer timer.Stop()
	err := p.cmd.Wait()
	p.stop()
	if err != nil {
		return fmt.Errorf("bouncycastle: %w: %s", err, p.stderr.String())
	}
	return nil
}

func (p *bcPeer) Name() string    { return "bouncycastle" }
func (p *bcPeer) Version() string { return p.version }

func (p *bcPeer) CanMake(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, true)
	if err != nil {
		return err
	}
	l.bcBoth()
	l.not(op.LF, "LF line ends")
	l.not(op.Kind == Digested, "generator of DigestedData")
	l.not(op.Format == SMIME && op.CounterSigner != "", "countersignatures in S/MIME")
	return l.verdict()
}

func (p *bcPeer) CanOpen(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, false)
	if err != nil {
		return err
	}
	l.bcBoth()
	return l.verdict()
}

// bcBoth notes what Bouncy Castle can neither make nor open.
func (l *limits) bcBoth() {
	op := l.op
	l.not(strings.HasPrefix(op.Cipher, "chacha20"), "ChaCha20-Poly1305 in CMS")
	l.not(l.anyone(l.parties(), func(m *member) bool { return m.keyType == "x25519" }), "X25519 key agreement in CMS")
}

func (p *bcPeer) Make(ctx context.Context, op *Op, content []byte) ([]byte, error) {
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
	request := p.request(op, "make", in, d.path("message"))
	if op.Detached {
		request.Set("detached", "yes")
	}
	p.name(request, "recipient", op.Recipients...)
	if err = p.ask(ctx, request); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("message"))
}

func (p *bcPeer) Open(ctx context.Context, op *Op, message, detached []byte) ([]byte, error) {
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
	request := p.request(op, "open", in, d.path("content"))
	if op.Detached {
		var file string
		if file, err = d.put("detached", detached); err != nil {
			return nil, err
		}
		request.Set("detached", file)
	}
	if op.reader() != "" {
		p.name(request, "reader", op.reader())
	}
	if err = p.ask(ctx, request); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("content"))
}

// request returns what requests to make and to open have in common.
func (p *bcPeer) request(op *Op, verb, in, out string) url.Values {
	r := url.Values{}
	for _, v := range []struct {
		given       bool
		name, value string
	}{
		{true, "verb", verb},
		{true, "kind", op.Kind.String()},
		{true, "format", op.Format.String()},
		{true, "in", in},
		{true, "out", out},
		{true, "roots", p.w.roots},
		{op.BER, "ber", "yes"},
		{op.KeyID, "keyid", "yes"},
		{true, "digest", op.digest()},
		{op.PSS, "pss", "yes"},
		{op.NoAttrs, "noattrs", "yes"},
		{op.Cipher != "", "cipher", op.Cipher},
		{op.OAEP != "", "oaep", op.OAEP},
		{op.KDF != "", "kdf", op.KDF},
		{op.Password != "", "password", op.Password},
		{op.Key != nil, "key", hex.EncodeToString(op.Key)},
	} {
		if v.given {
			r.Set(v.name, v.value)
		}
	}
	if op.KEK != nil {
		r.Set("kek", hex.EncodeToString(op.KEK.Key))
		r.Set("kek-id", hex.EncodeToString(op.KEK.ID))
	}
	p.name(r, "signer", op.Signers...)
	if op.CounterSigner != "" {
		p.name(r, "countersigner", op.CounterSigner)
	}
	return r
}

// name adds people to a request.
func (p *bcPeer) name(r url.Values, role string, names ...string) {
	for _, name := range names {
		m := p.w.people[name]
		r.Add(role, m.chainFile)
		r.Add(role+"-key", m.keyFile)
	}
}
