package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/net/idna"
)

// LetsEncrypt is the directory of Let's Encrypt, which issues certificates that
// everybody trusts.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// ACME obtains certificates from an ACME server (RFC 8555), and renews them when
// a third of their life is left, or before that when the server wants it (RFC 9773).
type ACME struct {
	// Directory is the URL of the server's directory; LetsEncrypt when empty.
	Directory string
	// Roots are trusted for the server itself; nil are those of the system.
	Roots *x509.CertPool
	// Contact are mail addresses that the server may write to. It may be empty.
	Contact []string
	// AgreeTerms agrees to the server's terms of service, and must be set.
	AgreeTerms bool
	// KeyID and MACKey bind the account to one that the server's owner knows
	// (RFC 8555, Section 7.3.4). MACKey is in base64url.
	KeyID, MACKey string
	// Certificates are the host names of each certificate. Without a wildcard, since
	// there is no dns-01.
	Certificates [][]string
	// Folder holds the key of the account, account.key, and for each certificate a
	// file with it and its key, which has the first of its names. It is made with the
	// mode 0700. Several servers may share it: each takes what another has renewed.
	Folder string
	// HTTP is the address to listen on for the challenge http-01 (RFC 8555, Section
	// 8.3), such as ":80", which is where the server looks; a web server can hand
	// /.well-known/acme-challenge/ on to another one. TLS is the address for
	// tls-alpn-01 (RFC 8737), such as ":443". One of them is required. They are
	// listened on while a challenge waits, and no longer.
	HTTP, TLS string
}

// Limits of ACME.
const (
	// orderTimeout bounds one attempt.
	orderTimeout = 10 * time.Minute
	// minRenew and maxRenew bound the pause after an attempt that failed. Let's
	// Encrypt allows 5 failures an hour.
	minRenew = 15 * time.Minute
	maxRenew = 12 * time.Hour
	// recheck is how often it is looked whether something is due.
	recheck = time.Hour
	// maxNames bounds the names of a certificate, as servers do.
	maxNames = 100
)

// An issuer is the ACME of one Manager.
type issuer struct {
	m      *Manager
	conf   ACME
	client acmez.Client
	http   *http.Transport
	solver solver
	first  int // the first slot
	orders []*order
}

// An order is a certificate to obtain.
type order struct {
	names    []string
	file     string
	watch    *watch
	slot     int
	next     time.Time // not before
	part     float64   // of when it is due, of this process
	failures int
	done     chan struct{} // closed when there is a certificate

	suggestion suggestion
}

// newIssuer checks, makes the folder, and has files watched that are there.
func newIssuer(m *Manager, conf *ACME) (*issuer, error) {
	a := &issuer{m: m, conf: *conf, first: len(m.opts.Files)}
	if a.conf.Directory == "" {
		a.conf.Directory = LetsEncrypt
	}
	u, err := url.Parse(a.conf.Directory)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return nil, &ConfigError{"Directory", "is not an https URL"}
	case !conf.AgreeTerms:
		return nil, &ConfigError{"AgreeTerms", "the terms of service have not been agreed to"}
	case conf.HTTP == "" && conf.TLS == "":
		return nil, &ConfigError{"HTTP", "there is no address for a challenge, nor in TLS"}
	case conf.Folder == "":
		return nil, &ConfigError{"Folder", "is not set"}
	case len(conf.Certificates) == 0:
		return nil, &ConfigError{"Certificates", "there are none"}
	case (conf.KeyID == "") != (conf.MACKey == ""):
		return nil, &ConfigError{"KeyID", "KeyID and MACKey belong together"}
	}
	if err = os.MkdirAll(conf.Folder, 0o700); err != nil {
		return nil, err
	}
	for i, list := range conf.Certificates {
		names, nameErr := publicNames(list)
		if nameErr != nil {
			return nil, nameErr
		}
		o := &order{names: names, file: filepath.Join(conf.Folder, names[0]+".pem"), slot: a.first + i, part: rand.Float64(), done: make(chan struct{})}
		if slices.ContainsFunc(a.orders, func(other *order) bool { return other.file == o.file }) {
			return nil, &ConfigError{"Certificates", "two begin with the name " + names[0]}
		}
		o.watch = m.watchCertificate(o.slot, File{Certificate: o.file}, true)
		a.orders = append(a.orders, o)
	}
	a.connect()
	return a, nil
}

// publicNames checks the names of a certificate, and makes them ASCII.
func publicNames(list []string) ([]string, error) {
	if len(list) == 0 || len(list) > maxNames {
		return nil, &ConfigError{"Certificates", fmt.Sprintf("one has no names, or more than %d", maxNames)}
	}
	out := make([]string, 0, len(list))
	for _, name := range list {
		ascii, err := idna.Lookup.ToASCII(normalName(name))
		if err != nil || !strings.Contains(ascii, ".") || strings.Contains("."+ascii, "..") || strings.ContainsAny(ascii, "*/\\") || net.ParseIP(ascii) != nil {
			return nil, &ConfigError{"Certificates", fmt.Sprintf("%q is not the name of a host", name)}
		}
		out = append(out, ascii)
	}
	return out, nil
}

func (a *issuer) connect() {
	a.http = &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 30 * time.Second,
		TLSClientConfig: &cryptotls.Config{RootCAs: a.conf.Roots, MinVersion: cryptotls.VersionTLS12},
	}
	a.client = acmez.Client{
		Client: &acme.Client{
			Directory: a.conf.Directory, UserAgent: "postseal",
			HTTPClient: &http.Client{Transport: a.http, Timeout: time.Minute},
		},
		ChallengeSolvers: make(map[string]acmez.Solver),
	}
	a.solver.init(a.conf.HTTP, a.conf.TLS)
	if a.conf.HTTP != "" {
		a.client.ChallengeSolvers[acme.ChallengeTypeHTTP01] = httpSolver{&a.solver}
	}
	if a.conf.TLS != "" {
		a.client.ChallengeSolvers[acme.ChallengeTypeTLSALPN01] = tlsSolver{&a.solver}
	}
}

func (a *issuer) close() {
	a.solver.close()
	a.http.CloseIdleConnections()
}

// run obtains what is due until the Manager ends.
func (a *issuer) run() {
	for {
		wait := recheck
		for _, o := range a.orders {
			wait = min(wait, a.attend(o))
		}
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-a.m.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// attend obtains a certificate if it is due, and returns when to look again.
func (a *issuer) attend(o *order) time.Duration {
	a.served(o)
	a.suggest(o)
	if wait := max(time.Until(a.due(o)), time.Until(o.next)); wait > 0 {
		return wait
	}
	_ = a.look(o) // another server may have been here
	if wait := time.Until(a.due(o)); wait > 0 {
		return wait
	}
	ctx, cancel := context.WithTimeout(a.m.ctx, orderTimeout)
	defer cancel()
	err := a.obtain(ctx, o)
	if a.m.ctx.Err() != nil {
		return recheck
	}
	event := Event{Kind: Obtained, File: o.file, Names: o.names}
	if err != nil {
		o.failures++
		o.next = time.Now().Add(jitter(min(minRenew<<min(o.failures-1, 10), maxRenew)))
		event.Kind, event.Err = ObtainFailed, &ACMEError{o.names, err}
	} else {
		o.failures, o.next = 0, time.Now().Add(a.rest(o))
		a.served(o)
	}
	a.m.report(event)
	return max(time.Until(a.due(o)), time.Until(o.next))
}

// served notes that there is a certificate.
func (a *issuer) served(o *order) {
	if a.current(o) == nil {
		return
	}
	select {
	case <-o.done:
	default:
		close(o.done)
	}
}

// current returns what is served of an order, or nil.
func (a *issuer) current(o *order) *entry {
	for _, e := range a.m.set.Load().entries {
		if e.file == o.file {
			return e
		}
	}
	return nil
}

// due says when a certificate is to be renewed: at once if there is none, if it
// has been revoked or lacks a name; else when a third of its life is left, or when
// the server wants that, if it is before, or a bit earlier: not all servers are to come at once, and of those that share a folder
// the first is to be done before the others look.
func (a *issuer) due(o *order) time.Time {
	e := a.current(o)
	if e == nil || e.status.Load().revoked || slices.ContainsFunc(o.names, func(n string) bool { return !slices.Contains(e.names, n) }) {
		return time.Time{}
	}
	leaf := e.cert.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	due := leaf.NotAfter.Add(-life/3 - time.Duration(o.part*float64(life/20)))
	// RFC 9773, Section 4.2: such as when it is going to revoke many of them.
	if at, ok := o.suggested(e); ok && at.Before(due) {
		return at
	}
	return due
}

// rest is how long a new certificate is not renewed, whatever happens: a hundredth
// of its life.
func (a *issuer) rest(o *order) time.Duration {
	e := a.current(o)
	if e == nil {
		return minRenew
	}
	return max(minRenew, e.cert.Leaf.NotAfter.Sub(e.cert.Leaf.NotBefore)/100)
}

// obtain gets a certificate, writes it to its file, and has it served.
func (a *issuer) obtain(ctx context.Context, o *order) error {
	account, err := a.account(ctx)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return err
	}
	csr, err := acmez.NewCSR(key, o.names)
	if err != nil {
		return err
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return err
	}
	if e := a.current(o); e != nil {
		if _, ok := o.suggested(e); ok { // the server knows it: RFC 9773, Section 5
			params.Replaces = e.cert.Leaf
		}
	}
	chains, err := a.client.ObtainCertificate(ctx, params)
	if err != nil {
		return err
	}
	if len(chains) == 0 {
		return errors.New("the server has issued nothing")
	}
	content, err := a.file(o, chains[0].ChainPEM, key)
	if err != nil {
		return err
	}
	if err = writeFile(o.file, content); err != nil {
		return err
	}
	return a.look(o)
}

// look has the file of a certificate taken, if it has changed.
func (a *issuer) look(o *order) error {
	a.m.loading.Lock()
	defer a.m.loading.Unlock()
	_, err := a.m.lookAt(o.watch, true)
	return err
}

// file makes the content of a certificate's file. What the server has sent must
// be what was asked for.
func (a *issuer) file(o *order, chain []byte, key *ecdsa.PrivateKey) ([]byte, error) {
	if len(chain) > maxFile/2 {
		return nil, ErrTooLarge
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	content := append(slices.Clone(chain), '\n')
	content = append(content, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	entries, err := a.m.load(File{Certificate: o.file}, [][]byte{content})
	if err != nil {
		return nil, err
	}
	for _, name := range o.names {
		if !slices.Contains(entries[0].names, name) {
			return nil, fmt.Errorf("the certificate is not for %s", name)
		}
	}
	return content, nil
}

// Wait waits until there is a certificate for everything that ACME is asked for.
// The error is that of the context, or context.Canceled after Close.
func (m *Manager) Wait(ctx context.Context) error {
	if m.acme == nil {
		return nil
	}
	for _, o := range m.acme.orders {
		select {
		case <-o.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.ctx.Done():
			return m.ctx.Err()
		}
	}
	return nil
}
