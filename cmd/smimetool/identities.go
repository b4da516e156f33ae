package main

import (
	"crypto"
	"errors"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// An identityFlag collects --identity (or --sign) and --key. A key belongs to
// the identity before it, or, when there are as many keys as identities, to
// the one in the same place.
type identityFlag struct {
	name  string // "identity"
	files []string
	keys  []string
	after []int // for each key, how many identities came before it
}

// An identityFile is an identity with its key's file, which is "" when the key
// is in the same file.
type identityFile struct{ cert, key string }

func (f *identityFlag) register(cmd *cobra.Command, name, usage string) {
	f.name = name
	cmd.Flags().Var(collector{"FILE", func(s string) { f.files = append(f.files, s) }}, name, usage)
	cmd.Flags().Var(collector{"FILE", func(s string) {
		f.keys = append(f.keys, s)
		f.after = append(f.after, len(f.files))
	}}, "key", "private key to a certificate after --"+name+", when it is in a file of its own (repeatable)")
	markFiles(cmd, name, "key")
}

// A collector is a flag that can be given several times.
type collector struct {
	kind string
	add  func(string)
}

func (c collector) String() string     { return "" }
func (c collector) Type() string       { return c.kind }
func (c collector) Set(s string) error { c.add(s); return nil }

// pairs finds the key to each identity.
func (f *identityFlag) pairs() ([]identityFile, error) {
	out := make([]identityFile, len(f.files))
	for i, file := range f.files {
		out[i].cert = file
	}
	for i, key := range f.keys {
		at := max(f.after[i]-1, 0)
		if len(f.keys) == len(f.files) {
			at = i
		}
		if at >= len(out) || out[at].key != "" {
			return nil, &usageError{"there are more keys than identities", []string{"each --key belongs to the --" + f.name + " before it"}}
		}
		out[at].key = key
	}
	return out, nil
}

// loadIdentity reads one. ask is asked for passphrases.
func (a *app) loadIdentity(file identityFile, ask keystore.Passphrase) ([]keystore.Identity, error) {
	if isToken(file.cert) || isToken(file.key) {
		return a.loadToken(file)
	}
	cert, err := a.readFile(file.cert)
	if err != nil {
		return nil, err
	}
	if file.key == "" {
		return keystore.Load(file.cert, cert, ask)
	}
	key, err := a.readFile(file.key)
	if err != nil {
		return nil, err
	}
	return keystore.LoadPair(file.cert, cert, file.key, key, ask)
}

// signerFlags say who signs, and how.
type signerFlags struct {
	identities identityFlag
	as         []string // addresses, of identities in the store
	digest     string
	pss        bool
	certs      []string
}

func (f *signerFlags) register(a *app, cmd *cobra.Command, name, usage string) {
	f.identities.register(cmd, name, usage)
	cmd.Flags().StringArrayVar(&f.as, "as", nil, "sign as `ADDRESS`, with your identity in the store or the configuration (repeatable)")
	storeFlags(a, cmd)
	cmd.Flags().StringVar(&f.digest, "digest", "", "`NAME` of the digest (default: what fits the key, sha256 for RSA): "+digestNames())
	cmd.Flags().BoolVar(&f.pss, "pss", false, "sign with RSA-PSS, not with RSA PKCS #1 v1.5")
	cmd.Flags().StringArrayVar(&f.certs, "certificate", nil, "more certificates to put in, such as those of the issuers, from `FILE` (repeatable)")
	complete(cmd, "digest", digestList())
	markFiles(cmd, "certificate")
}

// given reports whether there is anybody to sign.
func (f *signerFlags) given() bool { return len(f.identities.files)+len(f.as) > 0 }

// signers reads the identities, of each file and address one that may sign.
func (a *app) signers(f *signerFlags) ([]cms.Signer, error) {
	digest, err := signingDigest(f.digest)
	if err != nil {
		return nil, err
	}
	files, err := f.identities.pairs()
	if err != nil {
		return nil, err
	}
	var out []cms.Signer
	for _, file := range files {
		ids, loadErr := a.loadIdentity(file, a.secret.ask)
		if loadErr != nil {
			return nil, loadErr
		}
		id, key := chooseSigner(ids)
		if key == nil {
			return nil, &usageError{file.cert + ": none of its certificates may sign", []string{
				"people with separate certificates for signing and for encryption need the one for signing here"}}
		}
		out = append(out, cms.Signer{Certificate: id.Certificate, Key: key, Chain: id.Chain, Digest: digest, PSS: f.pss && isRSA(key)})
	}
	for _, address := range f.as {
		id, key, storeErr := a.ownIdentity(address)
		if storeErr != nil {
			return nil, storeErr
		}
		out = append(out, cms.Signer{Certificate: id.Certificate, Key: key, Chain: id.Chain, Digest: digest, PSS: f.pss && isRSA(key)})
	}
	return out, nil
}

// chooseSigner returns the first identity that may sign.
func chooseSigner(ids []keystore.Identity) (keystore.Identity, crypto.Signer) {
	for _, id := range ids {
		if key, ok := id.Key.(crypto.Signer); ok && id.Certificate.CanSign() {
			return id, key
		}
	}
	return keystore.Identity{}, nil
}

// readers returns those who may be able to open a message: the files that were
// given, or else the identities of the store and the configuration. What is
// encrypted, or on a token, is opened when it is needed alone.
func (a *app) readers(f *identityFlag) ([]cms.Identity, error) {
	files, err := f.pairs()
	if err != nil {
		return nil, err
	}
	var out []cms.Identity
	if len(files) == 0 {
		s, storeErr := a.home.there(a.context())
		if storeErr != nil {
			return nil, storeErr
		}
		if s != nil {
			out = append(out, s.Decrypter(a.context()))
		}
		c, configErr := a.home.settings()
		if configErr != nil {
			return nil, configErr
		}
		for _, name := range c.Identities {
			out = append(out, &lazyIdentity{a: a, file: identityFile{cert: name}, spare: true})
		}
		return out, nil
	}
	for _, file := range files {
		if isToken(file.cert) || isToken(file.key) {
			out = append(out, &lazyIdentity{a: a, file: file})
			continue
		}
		later := false
		ids, loadErr := a.loadIdentity(file, func(string) ([]byte, error) {
			later = true
			return nil, keystore.ErrPassphraseNeeded
		})
		switch {
		case loadErr != nil && later && errors.Is(loadErr, keystore.ErrPassphraseNeeded):
			out = append(out, &lazyIdentity{a: a, file: file})
		case loadErr != nil:
			return nil, loadErr
		default:
			out = append(out, asReaders(ids)...)
		}
	}
	return out, nil
}

func asReaders(ids []keystore.Identity) []cms.Identity {
	var out []cms.Identity
	for _, id := range ids {
		out = append(out, &cms.CertificateIdentity{Certificate: id.Certificate, Key: id.Key})
	}
	return out
}

// A lazyIdentity asks for its passphrase when there is something to open.
type lazyIdentity struct {
	a      *app
	file   identityFile
	ids    []cms.Identity
	err    error
	loaded bool
	// spare says that it is one of several that the user has, of which others may
	// be missing: a token that is not there has no key for this message.
	spare, told bool
}

// Unwrap implements cms.Identity.
func (l *lazyIdentity) Unwrap(infos []cms.RecipientInfo, cekLen int) ([]byte, error) {
	if !l.loaded {
		ids, err := l.a.loadIdentity(l.file, l.a.secret.ask)
		l.ids, l.err, l.loaded = asReaders(ids), err, true
	}
	if l.err != nil && l.spare && !errors.Is(l.err, keystore.ErrPassphrase) {
		if !l.told {
			l.a.warn("%s", printable(l.err.Error()))
		}
		l.told = true
		return nil, cms.ErrNoMatch
	}
	if l.err != nil {
		return nil, l.err
	}
	for _, id := range l.ids {
		key, err := id.Unwrap(infos, cekLen)
		if err != cms.ErrNoMatch {
			return key, err
		}
	}
	return nil, cms.ErrNoMatch
}

// readCerts reads the certificates in several files.
func (a *app) readCerts(files []string) ([]*pki.Certificate, error) {
	var out []*pki.Certificate
	for _, name := range files {
		data, err := a.readFile(name)
		if err != nil {
			return nil, err
		}
		certs, err := keystore.ParseCertificates(name, data)
		if err != nil {
			return nil, err
		}
		out = append(out, certs...)
	}
	return out, nil
}
