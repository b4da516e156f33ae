package interop

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// ours is this project, driven as the peers are.
type ours struct {
	root   *testpki.CA
	people map[string]*testpki.Person
}

// errCannot says that this project does not make what is asked for.
var errCannot = errors.New("not made here")

// allowances are those that old messages need.
var allowances = []cms.Allowance{cms.AllowSHA1, cms.Allow3DES}

func (o *ours) signers(op *peers.Op) ([]cms.Signer, error) {
	var out []cms.Signer
	for i, name := range op.Signers {
		s, err := o.signer(name, op)
		if err != nil {
			return nil, err
		}
		if i == 0 && op.CounterSigner != "" {
			counter, err := o.signer(op.CounterSigner, op)
			if err != nil {
				return nil, err
			}
			counter.NoAttributes = false
			s.Countersigners = []cms.Signer{counter}
		}
		out = append(out, s)
	}
	return out, nil
}

func (o *ours) signer(name string, op *peers.Op) (cms.Signer, error) {
	p := o.people[name]
	s := cms.NewSigner(p.Cert, p.Key.(crypto.Signer))
	for _, c := range p.Chain {
		s.Chain = append(s.Chain, pki.FromX509(c))
	}
	s.KeyID, s.NoAttributes, s.PSS = op.KeyID, op.NoAttrs, op.PSS
	if op.Digest != "" && name != "ed25519" {
		d, ok := alg.DigestByName(op.Digest)
		if !ok || d.Weak != "" {
			return s, errCannot
		}
		s.Digest = d.Hash
	}
	return s, nil
}

func (o *ours) recipients(op *peers.Op) ([]cms.Recipient, error) {
	var out []cms.Recipient
	for _, name := range op.Recipients {
		r := cms.NewRecipient(o.people[name].Cert)
		r.KeyID = op.KeyID
		if op.OAEP != "" {
			d, _ := alg.DigestByName(op.OAEP)
			r.OAEP = &cms.OAEPOptions{Hash: d.Hash}
		}
		if op.KDF != "" {
			if d, _ := alg.DigestByName(op.KDF); d.Weak == "" {
				r.KDF = d.Hash
			} else {
				return nil, errCannot
			}
		}
		out = append(out, r)
	}
	if op.KEK != nil {
		out = append(out, &cms.KEK{ID: op.KEK.ID, Key: op.KEK.Key})
	}
	if op.Password != "" {
		out = append(out, &cms.Password{Password: []byte(op.Password), Iterations: 2000})
	}
	return out, nil
}

func (o *ours) identities(op *peers.Op) []cms.Identity {
	name := op.Reader
	if name == "" && len(op.Recipients) > 0 {
		name = op.Recipients[0]
	}
	if name != "" {
		return []cms.Identity{cms.NewIdentity(o.people[name].Cert, o.people[name].Key)}
	}
	if op.KEK != nil {
		return []cms.Identity{&cms.KEK{ID: op.KEK.ID, Key: op.KEK.Key}}
	}
	return []cms.Identity{&cms.Password{Password: []byte(op.Password)}}
}

// make makes a message. errCannot is for what this project never writes.
func (o *ours) make(op *peers.Op, content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := o.open(&out, op, content)
	if err != nil || w == nil {
		return out.Bytes(), err
	}
	if _, err = w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	message := out.Bytes()
	if op.LF {
		message = bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n"))
	}
	return message, err
}

func (o *ours) open(out *bytes.Buffer, op *peers.Op, content []byte) (io.WriteCloser, error) {
	switch op.Kind {
	case peers.Signed:
		signers, err := o.signers(op)
		if err != nil || (op.NoAttrs && slices.Contains(op.Signers, "ed25519")) {
			return nil, errors.Join(err, errCannot)
		}
		switch {
		case op.Format == peers.SMIME:
			return smime.Sign(out, signers, &smime.SignOptions{Opaque: !op.Detached})
		case op.Detached:
			d, err := cms.NewDetachedSigner(signers, nil)
			if err != nil {
				return nil, err
			}
			_, _ = d.Write(content) // never fails
			return nil, d.Finish(out)
		}
		return cms.Sign(out, signers, nil)
	case peers.Enveloped:
		c, ok := alg.CipherByName(op.Cipher)
		if !ok || c.Weak != "" {
			return nil, errCannot
		}
		to, err := o.recipients(op)
		if err != nil {
			return nil, err
		}
		if op.Format == peers.SMIME {
			return smime.Encrypt(out, to, &smime.EncryptOptions{Cipher: cms.Cipher(op.Cipher)})
		}
		return cms.Encrypt(out, to, &cms.EncryptOptions{Cipher: cms.Cipher(op.Cipher)})
	case peers.Authenticated:
		to, err := o.recipients(op)
		if err != nil {
			return nil, err
		}
		var h crypto.Hash
		if op.Digest != "" {
			d, _ := alg.DigestByName(op.Digest)
			h = d.Hash
		}
		if op.NoAttrs || (h != 0 && h.Size() < 32) {
			return nil, errCannot
		}
		return cms.Authenticate(out, to, &cms.AuthenticateOptions{Digest: h})
	case peers.Encrypted:
		if c, ok := alg.CipherByName(op.Cipher); !ok || c.Weak != "" {
			return nil, errCannot
		}
		return cms.EncryptWithKey(out, op.Key, &cms.EncryptOptions{Cipher: cms.Cipher(op.Cipher)})
	case peers.Compressed:
		if op.Format == peers.SMIME {
			return smime.Compress(out, nil)
		}
		return cms.Compress(out, "")
	case peers.Digested:
		d, _ := alg.DigestByName(op.Digest)
		if d.Weak != "" {
			return nil, errCannot
		}
		return cms.Digest(out, d.Hash, "")
	}
	return nil, fmt.Errorf("kind %v", op.Kind)
}

// read opens a message and returns its content.
func (o *ours) read(op *peers.Op, message, detached []byte) ([]byte, error) {
	if op.Format == peers.SMIME {
		return o.readMail(op, message)
	}
	r, err := cms.NewReader(bytes.NewReader(message), nil)
	if err != nil {
		return nil, err
	}
	var rc io.ReadCloser
	switch op.Kind {
	case peers.Signed:
		opts := &cms.VerifyOptions{Trust: cms.TrustRoots(o.root.Cert), Allow: allowances}
		if op.Detached {
			opts.Content = bytes.NewReader(detached)
		}
		rc, err = r.Verify(opts)
	case peers.Enveloped:
		rc, err = r.Decrypt(o.identities(op), &cms.DecryptOptions{Allow: allowances})
	case peers.Authenticated:
		rc, err = r.VerifyMAC(o.identities(op))
	case peers.Encrypted:
		rc, err = r.DecryptWithKey(op.Key, &cms.DecryptOptions{Allow: allowances})
	case peers.Compressed:
		rc, err = r.Decompress()
	case peers.Digested:
		rc, err = r.VerifyDigest(nil, allowances)
	}
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(rc)
	return content, errors.Join(err, rc.Close())
}

func (o *ours) readMail(op *peers.Op, message []byte) ([]byte, error) {
	opts := &smime.ReadOptions{Trust: cms.TrustRoots(o.root.Cert), Allow: allowances}
	if op.Kind == peers.Enveloped {
		opts.Identities = o.identities(op)
	}
	m, err := smime.Read(bytes.NewReader(message), opts)
	if m == nil {
		return nil, err
	}
	defer m.Close()
	if err == nil && len(m.Layers) != 1 {
		err = fmt.Errorf("%d layers", len(m.Layers))
	}
	if err == nil && op.Kind == peers.Signed && m.Status != "signed/verified" {
		err = fmt.Errorf("the status is %q", m.Status)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(m.Content())
}
