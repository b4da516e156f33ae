package main

import (
	"context"
	"crypto/rand"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// The people of the demonstration.
const (
	demoServerName = "mail.demo.example"
	demoProxyName  = "proxy.demo.example"
	demoAlice      = "alice@demo.example"
	demoBob        = "bob@demo.example"
	demoConfig     = "mailproxy.toml"
)

// A world is all that the demonstration needs, in a folder that is removed with
// it.
type world struct {
	dir       string
	passwords map[string]string // of the mail server, by address
	server    *mailServer
	proxy     *server
	upstream  *cryptotls.Config // of clients of the mail server
	client    *cryptotls.Config // of clients of the proxy
}

// newWorld makes all but the proxy, and its configuration.
func newWorld(ctx context.Context) (_ *world, err error) {
	w := &world{passwords: map[string]string{demoAlice: rand.Text()[:10], demoBob: rand.Text()[:10]}}
	if w.dir, err = os.MkdirTemp("", "mailproxy-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err = w.startServer(); err != nil {
		return nil, err
	}
	if err = w.people(ctx); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.file(demoConfig), []byte(w.config()), 0o600)
}

// start starts the proxy.
func (w *world) start(ctx context.Context, log *slog.Logger) error {
	conf, err := config.Read(w.file(demoConfig))
	if err != nil {
		return err
	}
	if w.proxy, err = newServer(ctx, conf, log); err != nil {
		return err
	}
	w.client, err = w.clientTLS()
	return err
}

// clientTLS returns what clients of the proxy trust, once it has started.
func (w *world) clientTLS() (*cryptotls.Config, error) {
	pool, err := config.Roots(w.file("proxy.pem"))
	return &cryptotls.Config{RootCAs: pool, ServerName: demoProxyName}, err
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) close() error {
	if w.proxy != nil {
		w.proxy.drain()
	}
	if w.server != nil {
		w.server.close()
	}
	return os.RemoveAll(w.dir)
}

func (w *world) startServer() error {
	file := w.file("server.pem")
	if err := makeCertificate(file, demoServerName); err != nil {
		return err
	}
	pair, err := cryptotls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	w.upstream = &cryptotls.Config{RootCAs: pool, ServerName: demoServerName}
	w.server, err = startMailServer(&cryptotls.Config{Certificates: []cryptotls.Certificate{pair}}, w.passwords)
	return err
}

// people makes an authority and, for each of the people, a store with an identity
// and the certificates of all.
func (w *world) people(ctx context.Context) error {
	now := time.Now()
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		return err
	}
	authority, err := ca.NewRoot(ca.Subject{Name: "Demo Authority"}, key, now)
	if err != nil {
		return err
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate.Raw})
	if err = os.WriteFile(w.file("authority.pem"), root, 0o600); err != nil {
		return err
	}
	secret := rand.Text()
	if err = os.WriteFile(w.file("passphrase"), []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	ids := make(map[string]keystore.Identity)
	certs := make(map[string]*pki.Certificate)
	for address, name := range map[string]string{demoAlice: "Alice", demoBob: "Bob"} {
		if key, err = ca.GenerateKey(ca.P256); err != nil {
			return err
		}
		public, publicErr := ca.Public(key)
		if publicErr != nil {
			return publicErr
		}
		if certs[address], err = authority.Issue(&ca.Request{Emails: []string{address}, Name: name, Key: public}, now); err != nil {
			return err
		}
		ids[address] = keystore.Identity{Certificate: certs[address], Key: key}
	}
	for address, id := range ids {
		if err = w.store(ctx, address, secret, id, certs); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) store(ctx context.Context, address, secret string, id keystore.Identity, certs map[string]*pki.Certificate) (err error) {
	s, err := store.Open(ctx, w.file(address+".store"), store.Options{Key: &store.Passphrase{
		Ask:  func(string) ([]byte, error) { return []byte(secret), nil },
		Time: 1, Memory: 64, Threads: 1, // it is random, and lives for minutes
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err = s.AddIdentity(ctx, id, address); err != nil {
		return err
	}
	for other, c := range certs {
		if other != address {
			if _, err = s.AddCertificate(ctx, other, c, store.AddOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// config returns the configuration, as a person would write it.
func (w *world) config() string {
	out := fmt.Sprintf("[server]\nname = %q\ndrain = \"2s\"\n\n[trust]\nauthorities = [\"authority.pem\"]\n\n[[rule]]\nsign = \"always\"\nencrypt = \"require\"\n\n[sending]\nheaders = \"baseline\"\n", demoProxyName)
	ports := map[string]int{config.SMTP: w.server.smtpAddress.Port, config.IMAP4: w.server.imapAddress.Port}
	for _, protocol := range []string{config.SMTP, config.IMAP4} {
		out += fmt.Sprintf("\n[[listener]]\nprotocol = %q\naddress = \"127.0.0.1:0\"\nmode = \"starttls\"\nself_made = \"proxy.pem\"\n\n"+
			"[listener.upstream]\nhost = \"127.0.0.1\"\nport = %d\nmode = \"starttls\"\nname = %q\nca = \"server.pem\"\n", protocol, ports[protocol], demoServerName)
	}
	for _, address := range []string{demoAlice, demoBob} {
		out += fmt.Sprintf("\n[[account]]\nlogin = %q\naddresses = [%[1]q]\nstore = %q\npassphrase_file = \"passphrase\"\n", address, address+".store")
	}
	return out
}

// address returns where the proxy serves a protocol.
func (w *world) address(protocol string) string {
	addresses := w.proxy.addresses()
	if protocol == config.IMAP4 { // in the order of config
		return addresses[1].String()
	}
	return addresses[0].String()
}
