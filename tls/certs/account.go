package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mholt/acmez/v3/acme"

	"github.com/postseal/postseal/keystore"
)

// accountFile is the name of the file with the key of the account.
const accountFile = "account.key"

// account returns the account of our key, which it makes where there is none. A
// server that knows the key returns the account that there is (RFC 8555, Section
// 7.3).
func (a *issuer) account(ctx context.Context) (acme.Account, error) {
	key, err := accountKey(a.conf.Folder)
	if err != nil {
		return acme.Account{}, err
	}
	account := acme.Account{TermsOfServiceAgreed: a.conf.AgreeTerms, PrivateKey: key}
	for _, address := range a.conf.Contact {
		account.Contact = append(account.Contact, "mailto:"+address)
	}
	if a.conf.KeyID != "" {
		eab := acme.EAB{KeyID: a.conf.KeyID, MACKey: a.conf.MACKey}
		if err = account.SetExternalAccountBinding(ctx, a.client.Client, eab); err != nil {
			return account, err
		}
	}
	return a.client.NewAccount(ctx, account)
}

// accountKey reads the key of the account, or makes one.
func accountKey(folder string) (crypto.Signer, error) {
	name := filepath.Join(folder, accountFile)
	for {
		data, err := readFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			if err = makeKey(name); err == nil || errors.Is(err, fs.ErrExist) {
				continue // another one may have been quicker
			}
		}
		if err != nil {
			return nil, err
		}
		key, err := keystore.ParsePrivateKey(name, data, nil)
		if err != nil {
			return nil, err
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, &LoadError{name, ErrKeyType}
		}
		return signer, nil
	}
}

// makeKey writes a new key. The error is fs.ErrExist when there is one.
func makeKey(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeTo(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), os.Link)
}

// writeFile writes a file for its owner alone, whole or not at all, in the place
// of one that may be there.
func writeFile(name string, data []byte) error { return writeTo(name, data, os.Rename) }

// writeTo writes a temporary file beside the target, and names it.
func writeTo(name string, data []byte, give func(from, to string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has its name by then, or is not wanted
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = give(f.Name(), name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
