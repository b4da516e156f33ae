package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/pki/ca"
)

const caInitLong = `
Makes a certification authority in a new folder: a root, which vouches for an
issuing CA, which vouches for people. Their private keys are encrypted with a
passphrase.

The URLs are put into every certificate, for those who ask whether it has been
revoked: serve the output of "smimetool ca crl" and "smimetool ca ocsp" there. The
baseline requirements ask for them, and for an organisation and its country.
`

type caInit struct {
	dir, name, org, country, key string
	noPassphrase                 bool
	config                       caConfig
	root                         rootURLs
}

func newCAInit(a *app) *cobra.Command {
	f := &caInit{}
	cmd := a.newCommand("init --dir DIR [--name NAME] [--org ORG] [--key TYPE]", "Make a certification authority", caInitLong, 0,
		func([]string) error { return a.caInit(f) })
	flags := cmd.Flags()
	dirFlag(cmd, &f.dir)
	flags.StringVar(&f.name, "name", "Mail", "`NAME` of the authority; the root is called \"NAME Root CA\"")
	flags.StringVar(&f.org, "org", "", "name of the organisation, `ORG`")
	flags.StringVar(&f.country, "country", "", "country of the organisation, `CODE` of two capital letters")
	flags.StringVar(&f.key, "key", "p384", "`TYPE` of the keys: "+keyNames(keyTypes(true)))
	flags.BoolVar(&f.noPassphrase, "no-passphrase", false, "do not encrypt the private keys")
	flags.StringVar(&f.config.CRL, "crl-url", "", "`URL` of the CRL")
	flags.StringVar(&f.config.OCSP, "ocsp-url", "", "`URL` of the OCSP responder")
	flags.StringVar(&f.config.Issuer, "issuer-url", "", "`URL` of the issuing CA's certificate")
	flags.StringVar(&f.root.crl, "root-crl-url", "", "`URL` of the root's own CRL, which tells whether the issuing CA is revoked")
	flags.StringVar(&f.root.issuer, "root-url", "", "`URL` of the root's certificate")
	passphraseFlag(a, cmd)
	complete(cmd, "key", strings.Split(keyNames(keyTypes(true)), ", "))
	return cmd
}

func (a *app) caInit(f *caInit) error {
	if f.dir == "" {
		return &usageError{"--dir is needed", []string{"the folder is made, and must not be there yet"}}
	}
	kind, err := keyType(f.key, true)
	if err != nil {
		return err
	}
	for _, u := range []string{f.config.CRL, f.config.OCSP, f.config.Issuer, f.root.crl, f.root.issuer} {
		if err = checkURL(u); err != nil {
			return err
		}
	}
	if err = mustBeNew(f.dir); err != nil {
		return err
	}
	var passphrase []byte
	if !f.noPassphrase {
		if passphrase, err = a.secret.askNew("the CA"); err != nil {
			if errors.Is(err, errNoTerminal) {
				return &usageError{"a passphrase is needed for the CA", []string{passphraseHint, "--no-passphrase leaves the keys as they are"}}
			}
			return err
		}
		if len(passphrase) == 0 {
			return &usageError{"the passphrase is empty", []string{"--no-passphrase leaves the keys as they are"}}
		}
	}
	files, err := f.files(kind, passphrase)
	if err != nil {
		return err
	}
	if err = a.makeFolder(f.dir, files); err != nil {
		return err
	}
	a.say("made a CA in " + printable(f.dir) + "; those who trust it need " + printable(filepath.Join(f.dir, rootName+".crt")))
	return nil
}

// checkURL takes what can stand in a certificate.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || printable(text) != text || hasUTF8(text):
		return &usageError{"not a URL: " + quote(text), []string{"URLs look like http://ca.example.org/ca.crl"}}
	}
	return nil
}

func hasUTF8(text string) bool {
	for _, r := range text {
		if r >= 0x80 {
			return true
		}
	}
	return false
}

// mustBeNew finds a folder that has something in it.
func mustBeNew(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return &usageError{dir + ": there is something in this folder already", []string{"a CA is made in a folder of its own; nothing was changed"}}
	}
	return nil
}

// files makes the CA, and returns the files of its folder.
func (f *caInit) files(kind ca.KeyType, passphrase []byte) (map[string][]byte, error) {
	rootKey, err := ca.GenerateKey(kind)
	if err != nil {
		return nil, err
	}
	issuingKey, err := ca.GenerateKey(kind)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	root, err := ca.NewRoot(ca.Subject{Country: f.country, Organization: f.org, Name: f.name + " Root CA"}, rootKey, now)
	if err != nil {
		return nil, err
	}
	issuing, err := root.NewIssuing(ca.Subject{Country: f.country, Organization: f.org, Name: f.name + " Issuing CA"}, issuingKey,
		ca.URLs{CRL: f.root.crl, Issuer: f.root.issuer}, now)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(f.config)
	if err != nil {
		return nil, err
	}
	first, err := json.Marshal(issueRecord(rootName, issuing.Certificate))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{caConfigFile: append(config, '\n'), caIndexFile: append(first, '\n'), caLockFile: nil}
	for _, one := range []struct {
		name      string
		authority *ca.Authority
		key       any
	}{{rootName, root, rootKey}, {issuingName, issuing, issuingKey}} {
		encoded, keyErr := ca.MarshalKey(one.key, passphrase)
		if keyErr != nil {
			return nil, keyErr
		}
		label := "ENCRYPTED PRIVATE KEY"
		if len(passphrase) == 0 {
			label = "PRIVATE KEY"
		}
		files[one.name+".key"] = pemBlock(label, encoded)
		files[one.name+".crt"] = pemBlock("CERTIFICATE", one.authority.Certificate.Raw)
	}
	return files, nil
}

// makeFolder makes a folder with its files, which are there together or not at
// all.
func (a *app) makeFolder(dir string, files map[string][]byte) error {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never returns an error
	dir = filepath.Clean(dir)
	temp := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"."+hex.EncodeToString(random[:])+".tmp")
	remove := func() { _ = os.RemoveAll(temp) } // there is nobody to tell
	defer a.temps.onExit(remove)()
	defer remove()
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	for name, data := range files {
		if err := writeSynced(filepath.Join(temp, name), data); err != nil {
			return err
		}
	}
	return os.Rename(temp, dir)
}

func writeSynced(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
