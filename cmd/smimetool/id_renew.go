package main

import (
	"errors"
	"slices"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// isCertificateAlone reports whether a file has certificates and no key.
func isCertificateAlone(err error) bool { return errors.Is(err, keystore.ErrNoKey) }

// idRenew takes in a certificate for a private key that is in the store. noKey
// is the error when there is none.
func (a *app) idRenew(f *idImport, name string, noKey error) error {
	certs, err := a.readCerts([]string{name})
	if err != nil {
		return err
	}
	s, err := a.home.open(a.context())
	if err != nil {
		return err
	}
	issuers := slices.DeleteFunc(slices.Clone(certs), func(c *pki.Certificate) bool { return !c.IsCA })
	taken := 0
	for _, c := range certs {
		print, renewErr := s.RenewIdentity(a.context(), c, issuers, f.addresses...)
		if errors.Is(renewErr, store.ErrNotFound) {
			continue
		}
		if renewErr != nil {
			return inFile(name, renewErr)
		}
		a.tellIdentity(keystore.Identity{Certificate: c}, print)
		taken++
	}
	if taken == 0 {
		return noKey
	}
	return nil
}
