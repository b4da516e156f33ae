package certs

import (
	"context"
	"crypto/sha256"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// Clients says which certificates clients may show, and whose accounts they are.
// The zero value asks and accepts none.
type Clients struct {
	// Require refuses clients without a certificate that counts. Otherwise they are
	// asked for one.
	Require bool
	// IgnoreBad lets in a client whose certificate does not count, as if it had shown none:
	// many programs show whatever they have. It has no meaning with Require.
	IgnoreBad bool

	// Roots are the authorities whose certificates count. CAFiles are names of files
	// with more of them, in PEM, DER or PKCS#7, which the Manager watches.
	Roots   []*pki.Certificate
	CAFiles []string
	// Intermediates are certificates, trusted or not, of authorities that clients
	// leave out.
	Intermediates []*pki.Certificate
	// MailCertificates accepts certificates for the protection of mail as well as
	// those for the authentication of clients.
	MailCertificates bool
	// Revocation, if set, is asked about all certificates of a path but the root, at
	// every handshake and in Accounts; it should have a cache. It is copied.
	Revocation *pki.Revocation

	// Fingerprints are SHA-256 digests of certificates, in hexadecimal digits with
	// colons or without, and the account of each. Such a certificate counts in its
	// time of validity, whoever has issued it.
	Fingerprints map[string]string
	// Subjects are subjects of certificates, as pki.Certificate.Subject writes them,
	// such as "CN=Alice,O=Example", and the account of each.
	Subjects map[string]string
	// Address, if set, returns the account of a mail address that a certificate has,
	// as rfc822Name, as SmtpUTF8Mailbox or as emailAddress of its subject: see
	// pki.Certificate.Emails. It reports false for an address that is no account's.
	// SameAddress takes the address for the name of the account.
	Address func(address string) (account string, ok bool)
}

// A judge judges the clients of one Manager.
type judge struct {
	Clients
	fingerprints map[[sha256.Size]byte]string
	authorities  atomic.Pointer[authorities]
}

// authorities are those of Roots and CAFiles at one time.
type authorities struct {
	roots *pki.Roots
	hints *x509.CertPool // told to clients
}

// SameAddress is for [Clients.Address]: the name of the account is the address, in
// lower case.
func SameAddress(address string) (account string, ok bool) { return strings.ToLower(address), true }

// judge copies and checks.
func (c *Clients) judge() (*judge, error) {
	own := &judge{Clients: *c, fingerprints: make(map[[sha256.Size]byte]string)}
	own.IgnoreBad = c.IgnoreBad && !c.Require
	own.Roots, own.CAFiles = slices.Clone(c.Roots), slices.Clone(c.CAFiles)
	own.Intermediates, own.Subjects = slices.Clone(c.Intermediates), maps.Clone(c.Subjects)
	if c.Revocation != nil {
		r := *c.Revocation
		own.Revocation = &r
	}
	for text, account := range c.Fingerprints {
		raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(raw) != sha256.Size {
			return nil, &ConfigError{"Fingerprints", "one is not a SHA-256 digest in hexadecimal digits"}
		}
		own.fingerprints[[sha256.Size]byte(raw)] = account
	}
	if own.Require && len(own.Roots)+len(own.CAFiles)+len(own.fingerprints) == 0 {
		return nil, &ConfigError{"Clients", "a certificate is required, and none is accepted"}
	}
	own.setAuthorities(own.Roots)
	return own, nil
}

// takeCAs is told of the files of CAFiles.
func (c *judge) takeCAs(data [][]byte, _ bool) error {
	all := slices.Clone(c.Roots)
	for i, content := range data {
		certs, err := keystore.ParseCertificates(c.CAFiles[i], content)
		if err != nil {
			return err
		}
		all = append(all, certs...)
	}
	c.setAuthorities(all)
	return nil
}

func (c *judge) setAuthorities(certs []*pki.Certificate) {
	a := &authorities{roots: pki.NewRoots(certs), hints: x509.NewCertPool()}
	for _, cert := range certs {
		if cert.X509 != nil {
			a.hints.AddCert(cert.X509)
		}
	}
	c.authorities.Store(a)
}

// apply has a configuration ask for certificates. crypto/tls checks that the
// client has the key; what the certificate is worth is judged here, in every
// handshake.
func (c *judge) apply(config *cryptotls.Config) {
	config.ClientAuth = cryptotls.RequestClientCert
	if c.Require {
		config.ClientAuth = cryptotls.RequireAnyClientCert
	}
	first := c.authorities.Load()
	config.ClientCAs = first.hints
	config.GetConfigForClient = nil
	defer func() { c.followHints(config, first) }()
	before := config.VerifyConnection
	config.VerifyConnection = func(state cryptotls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 && !c.IgnoreBad {
			if _, _, err := c.verify(context.Background(), &state); err != nil {
				return err // crypto/tls sends bad_certificate
			}
		}
		if before != nil {
			return before(state)
		}
		return nil
	}
}

// followHints has a configuration tell clients the authorities of the moment, if
// they have changed.
func (c *judge) followHints(config *cryptotls.Config, first *authorities) {
	if len(c.CAFiles) == 0 {
		return
	}
	type told struct {
		*authorities
		config *cryptotls.Config
	}
	var last atomic.Pointer[told]
	base := config.Clone()
	config.GetConfigForClient = func(*cryptotls.ClientHelloInfo) (*cryptotls.Config, error) {
		now := c.authorities.Load()
		if now == first {
			return nil, nil
		}
		t := last.Load()
		if t == nil || t.authorities != now {
			t = &told{now, base.Clone()}
			t.config.ClientCAs = now.hints
			last.Store(t)
		}
		return t.config, nil
	}
}

// verifyTimeout bounds what is fetched about one client.
const verifyTimeout = 10 * time.Second

// verify judges the certificate of a client. pinned says that its fingerprint is
// listed.
func (c *judge) verify(ctx context.Context, state *cryptotls.ConnectionState) (leaf *pki.Certificate, pinned bool, err error) {
	if len(state.PeerCertificates) == 0 {
		return nil, false, &ClientError{Err: ErrNoCertificate}
	}
	others := slices.Clone(c.Intermediates)
	for _, cert := range state.PeerCertificates[1:] {
		others = append(others, pki.FromX509(cert))
	}
	leaf = pki.FromX509(state.PeerCertificates[0])
	if _, pinned = c.fingerprints[sha256.Sum256(leaf.Raw)]; pinned {
		if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return nil, false, &ClientError{leaf.Subject(), ErrExpired}
		}
		return leaf, true, nil
	}
	chain, err := c.authorities.Load().roots.Verify(leaf, pki.ChainOptions{Intermediates: others, Purpose: pki.AnyPurpose})
	if err == nil && !c.fits(chain) {
		err = ErrPurpose
	}
	if err == nil && c.Revocation != nil {
		bounded, cancel := context.WithTimeout(ctx, verifyTimeout)
		defer cancel()
		_, err = c.Revocation.Check(bounded, chain)
	}
	if err != nil {
		return nil, false, &ClientError{leaf.Subject(), err}
	}
	return leaf, false, nil
}

// ekuClientAuth is id-kp-clientAuth: RFC 5280, Section 4.2.1.12.
const ekuClientAuth oid.OID = "1.3.6.1.5.5.7.3.2"

// fits reports whether all of a path but its root are for the authentication of
// clients, and the key is one that signs.
func (c *judge) fits(chain []*pki.Certificate) bool {
	for _, cert := range chain[:max(len(chain)-1, 1)] {
		ok := cert.ExtKeyUsage == nil || slices.Contains(cert.ExtKeyUsage, ekuClientAuth) ||
			slices.Contains(cert.ExtKeyUsage, oid.EKUAny) ||
			c.MailCertificates && slices.Contains(cert.ExtKeyUsage, oid.EKUEmailProtection)
		if !ok {
			return false
		}
	}
	return chain[0].CanSign()
}

// accounts returns the accounts of a connection's client, sorted.
func (c *judge) accounts(ctx context.Context, state *cryptotls.ConnectionState) ([]string, error) {
	leaf, pinned, err := c.verify(ctx, state)
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	if pinned {
		found[c.fingerprints[sha256.Sum256(leaf.Raw)]] = true
	} else {
		if account, ok := c.Subjects[leaf.Subject()]; ok {
			found[account] = true
		}
		if c.Address != nil {
			for _, address := range leaf.Emails {
				if account, ok := c.Address(address); ok {
					found[account] = true
				}
			}
		}
	}
	delete(found, "")
	if len(found) == 0 {
		return nil, &ClientError{leaf.Subject(), ErrNoAccount}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
