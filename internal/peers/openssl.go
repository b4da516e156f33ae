package peers

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
)

// opensslPeer runs "openssl cms", one process per operation.
type opensslPeer struct {
	w       *world
	version string
}

func newOpenSSL(ctx context.Context, w *world) (Peer, error) {
	if err := look("openssl", "openssl"); err != nil {
		return nil, err
	}
	out, _, err := run(ctx, nil, "openssl", "version")
	if err != nil {
		return nil, err
	}
	return &opensslPeer{w, firstLine(out)}, nil
}

func (p *opensslPeer) Name() string    { return "openssl" }
func (p *opensslPeer) Version() string { return p.version }
func (p *opensslPeer) Close() error    { return nil }

func (p *opensslPeer) CanMake(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, true)
	if err != nil {
		return err
	}
	l.opensslBoth()
	l.not(op.CounterSigner != "", "countersignatures")
	l.not(op.AEAD() && op.Password != "", "password recipient in AuthEnvelopedData")
	sha3 := strings.HasPrefix(op.digest(), "sha3-") && op.Kind == Signed
	l.not(sha3 && op.PSS, "RSASSA-PSS with SHA-3")
	l.not(sha3 && l.anyone(op.Signers, (*member).ec), "ECDSA with SHA-3")
	// Streaming writes the parameters of RSASSA-PSS before they are known. A
	// multipart/signed entity is streamed only up to its signature.
	l.not(op.Empty && op.BER && !op.Detached && (op.Kind == Signed || op.AEAD()), "streaming of empty content")
	l.not(op.Detached && op.BER && op.Format == DER, "streaming without the content (it puts it in)")
	l.not(op.PSS && op.BER && !(op.Format == SMIME && op.Detached), "streaming with RSASSA-PSS")
	return l.verdict()
}

func (p *opensslPeer) CanOpen(op *Op) error {
	l, err := newLimits(p.Name(), p.w, op, false)
	if err != nil {
		return err
	}
	l.opensslBoth()
	return l.verdict()
}

// opensslBoth notes what OpenSSL can neither make nor open.
func (l *limits) opensslBoth() {
	op := l.op
	l.not(op.Kind == Authenticated, "AuthenticatedData")
	l.not(op.Kind == Compressed, "CompressedData (Debian builds it without zlib)")
	l.not(strings.HasPrefix(op.Cipher, "chacha20"), "ChaCha20-Poly1305 in CMS")
	l.not(strings.HasSuffix(op.Cipher, "-ccm"), "AES-CCM in CMS")
	l.not(l.anyone(op.Signers, func(m *member) bool { return m.keyType == "ed25519" }), "Ed25519 signature in CMS")
	l.not(l.anyone(l.parties(), func(m *member) bool { return m.keyType == "x25519" }), "X25519 key agreement in CMS")
}

func (p *opensslPeer) Make(ctx context.Context, op *Op, content []byte) ([]byte, error) {
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
	args := []string{"openssl", "cms", "-in", in, "-out", d.path("message"), "-outform", opensslForm(op)}
	args = append(args, opensslShape(op)...)
	switch op.Kind {
	case Signed:
		args = append(args, p.signArgs(op)...)
	case Enveloped:
		args = append(args, "-encrypt", "-"+op.Cipher)
		args = append(args, p.recipientArgs(op)...)
	case Encrypted:
		args = append(args, "-EncryptedData_encrypt", "-"+op.Cipher, "-secretkey", hex.EncodeToString(op.Key))
	case Digested:
		args = append(args, "-digest_create", "-nodetach", "-md", op.digest())
	}
	if _, _, err = run(ctx, nil, args...); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path("message"))
}

func opensslForm(op *Op) string {
	if op.Format == SMIME {
		return "SMIME"
	}
	return "DER"
}

// opensslShape returns the options that shape the outside of a message.
func opensslShape(op *Op) []string {
	var args []string
	if op.BER {
		args = append(args, "-stream")
	} else {
		args = append(args, "-noindef")
	}
	switch {
	case op.Format == DER:
		args = append(args, "-binary")
	case !op.LF:
		args = append(args, "-crlfeol")
	}
	if op.KeyID {
		args = append(args, "-keyid")
	}
	return args
}

func (p *opensslPeer) signArgs(op *Op) []string {
	args := []string{"-sign", "-md", op.digest()}
	if !op.Detached {
		args = append(args, "-nodetach")
	}
	if op.NoAttrs {
		args = append(args, "-noattr")
	}
	for _, name := range op.Signers {
		m := p.w.people[name]
		args = append(args, "-signer", m.certFile, "-inkey", m.keyFile)
		if op.PSS && m.keyType == "rsa" {
			args = append(args, "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest")
		}
		if m.aboveFile != "" {
			args = append(args, "-certfile", m.aboveFile)
		}
	}
	return args
}

func (p *opensslPeer) recipientArgs(op *Op) []string {
	var args []string
	for _, name := range op.Recipients {
		m := p.w.people[name]
		args = append(args, "-recip", m.certFile)
		if op.OAEP != "" && m.keyType == "rsa" {
			args = append(args, "-keyopt", "rsa_padding_mode:oaep",
				"-keyopt", "rsa_oaep_md:"+op.OAEP, "-keyopt", "rsa_mgf1_md:"+op.OAEP)
		}
		if op.KDF != "" && m.ec() {
			args = append(args, "-keyopt", "ecdh_kdf_md:"+op.KDF)
		}
	}
	if op.KEK != nil {
		args = append(args, "-secretkey", hex.EncodeToString(op.KEK.Key), "-secretkeyid", hex.EncodeToString(op.KEK.ID))
	}
	if op.Password != "" {
		args = append(args, "-pwri_password", op.Password)
	}
	return args
}

func (p *opensslPeer) Open(ctx context.Context, op *Op, message, detached []byte) ([]byte, error) {
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
	args := []string{"openssl", "cms", "-in", in, "-out", d.path("content"), "-inform", opensslForm(op)}
	if op.Format == DER {
		args = append(args, "-binary")
	}
	if op.Detached && op.Format == DER {
		var file string
		if file, err = d.put("detached", detached); err != nil {
			return nil, err
		}
		args = append(args, "-content", file)
	}
	args = append(args, p.openArgs(op)...)
	if _, _, err = run(ctx, nil, args...); err != nil {
		return nil, p.refusal(err)
	}
	return os.ReadFile(d.path("content"))
}

func (p *opensslPeer) openArgs(op *Op) []string {
	switch {
	case op.Kind == Signed:
		return []string{"-verify", "-purpose", "smimesign", "-CAfile", p.w.roots, "-no-CApath", "-no-CAstore"}
	case op.Kind == Encrypted:
		return []string{"-EncryptedData_decrypt", "-secretkey", hex.EncodeToString(op.Key)}
	case op.Kind == Digested:
		return []string{"-digest_verify"}
	case op.reader() != "":
		m := p.w.people[op.reader()]
		return []string{"-decrypt", "-recip", m.certFile, "-inkey", m.keyFile}
	case op.KEK != nil:
		return []string{"-decrypt", "-secretkey", hex.EncodeToString(op.KEK.Key), "-secretkeyid", hex.EncodeToString(op.KEK.ID)}
	default:
		return []string{"-decrypt", "-pwri_password", op.Password}
	}
}

// refusal turns the exit status of openssl into a verdict: 2 is a message that
// cannot be read, 4 one that fails to decrypt or to verify.
func (p *opensslPeer) refusal(err error) error {
	var failed *runError
	if errors.As(err, &failed) && (failed.code == 2 || failed.code == 4) {
		return &RefusedError{p.Name(), string(bytes.TrimSpace(failed.stderr))}
	}
	return err
}
