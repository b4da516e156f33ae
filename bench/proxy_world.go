package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// A host starts programs of others outside of a test: it is what package peers
// takes for one. What ends it is the error of attempt.
type host struct {
	testing.TB // nil; only what is below is called
	cleanups   []func()
}

// A hostError is why a host gave up.
type hostError struct{ err error }

func (h *host) Helper()          {}
func (h *host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatal(args ...any) {
	panic(hostError{errors.New(strings.TrimSpace(fmt.Sprintln(args...)))})
}
func (h *host) Fatalf(format string, args ...any) { panic(hostError{fmt.Errorf(format, args...)}) }
func (h *host) Skipf(format string, args ...any) {
	panic(hostError{fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errAbsent)})
}

// attempt calls f, and returns why it gave up.
func (h *host) attempt(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			given, ok := p.(hostError)
			if !ok {
				panic(p)
			}
			err = given.err
		}
	}()
	return f()
}

// close stops everything that was started, the last first.
func (h *host) close() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}

// The people of the mail world, by their login names.
const (
	mailDomain  = "@bench.example"
	loginPlain  = "plain" // has no account: what this one sends passes through
	loginP256   = "p256"
	loginRSA    = "rsa2048"
	mailSecret  = "secret"
	mailHost    = "localhost"
	loopback    = "127.0.0.1"
	starttls    = "starttls"
	unprotected = "insecure-plaintext"
)

// A mailWorld is mailproxy and nginx, each in front of a sink.
// Clients come to both by STARTTLS; behind them is no TLS, since nginx's mail proxy
// has none there.
type mailWorld struct {
	*host
	o       *options
	dir     string
	program string // mailproxy
	people  map[string]*testpki.Person
	ca      *testpki.CA
	client  *tls.Config

	sink    string // address
	postfix string // that of smtp-sink, to which nobody logs in
	seen    inbox  // of sink
	nginx   struct{ smtp, open string }
	proxy   struct {
		*peers.Process
		smtp, open, secure string // open takes mail without a login, secure has TLS behind it
	}
}

// newMailWorld makes the data, and starts everything. close ends it, also after
// an error.
func newMailWorld(ctx context.Context, o *options) (w *mailWorld, err error) {
	w = &mailWorld{host: &host{}, o: o, people: make(map[string]*testpki.Person)}
	if w.dir, err = os.MkdirTemp("", "bench-proxy-*"); err != nil {
		return w, err
	}
	w.Cleanup(func() { _ = os.RemoveAll(w.dir) }) // it is temporary
	return w, w.attempt(func() error { return w.prepare(ctx) })
}

func (w *mailWorld) file(name string) string { return filepath.Join(w.dir, name) }

func (w *mailWorld) prepare(ctx context.Context) error {
	if err := w.build(ctx); err != nil {
		return err
	}
	server, err := w.identities(ctx)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return err
	}
	w.sink = l.Addr().String()
	certificate, err := tls.LoadX509KeyPair(server.Cert, server.Key)
	if err != nil {
		return err
	}
	go (&sink{l, &tls.Config{Certificates: []tls.Certificate{certificate}}, &w.seen}).serve()
	w.Cleanup(func() { _ = l.Close() }) // nobody sends any more
	w.postfix = net.JoinHostPort(loopback, peers.FreePort(w))
	args := []string{w.postfix, "1000"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...) // it insists
	}
	peers.StartProcess(w, "postfix", "smtp-sink", args...)
	w.nginx.smtp, w.nginx.open = net.JoinHostPort(loopback, peers.FreePort(w)), net.JoinHostPort(loopback, peers.FreePort(w))
	if err = w.nginxFor(server, []nginxServer{{"smtp", w.nginx.smtp, w.sink, "smtp_auth plain;"},
		{"smtp", w.nginx.open, w.postfix, "smtp_auth none; proxy_smtp_auth off;"}}); err != nil {
		return err
	}
	if err = w.configure(server); err != nil {
		return err
	}
	w.startProxy()
	return waitFor(ctx, w.nginx.smtp, w.nginx.open, w.postfix)
}

// build builds mailproxy, unless there is one that was asked for.
func (w *mailWorld) build(ctx context.Context) error {
	if w.o.tool != "" {
		w.program = w.o.tool
		return nil
	}
	w.program = w.file("mailproxy")
	build := exec.CommandContext(ctx, "go", "build", "-o", w.program, "github.com/postseal/postseal/cmd/mailproxy")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// waitFor waits until somebody listens at each address.
func waitFor(ctx context.Context, addresses ...string) error {
	for _, address := range addresses {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close() // it was only tried
				break
			}
			if time.Now().After(end) || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
		}
	}
	return nil
}

// identities makes the people's stores, and a certificate for all servers.
func (w *mailWorld) identities(ctx context.Context) (server testpki.Files, err error) {
	if w.ca, err = testpki.NewCA("Bench CA"); err != nil {
		return server, err
	}
	p, err := w.ca.Issue(testpki.Profile{Name: mailHost, Key: testpki.P256, NoEmail: true, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{mailHost}, []net.IP{net.IPv4(127, 0, 0, 1)}
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		return server, err
	}
	if server, err = p.WriteFiles(w.dir, "server"); err != nil {
		return server, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.Root())
	w.client = &tls.Config{RootCAs: pool, ServerName: mailHost}
	secret := rand.Text()
	if err = os.WriteFile(w.file("passphrase"), []byte(secret+"\n"), 0o600); err != nil {
		return server, err
	}
	for login, kind := range map[string]testpki.KeyType{loginP256: testpki.P256, loginRSA: testpki.RSA2048} {
		if p, err = w.ca.Issue(testpki.Profile{Name: login, Email: login + mailDomain, Key: kind}); err != nil {
			return server, err
		}
		w.people[login] = p
		to, issueErr := w.ca.Issue(testpki.Profile{Name: "to " + login, Email: recipientOf(login), Key: kind})
		if issueErr != nil {
			return server, issueErr
		}
		w.people[recipientOf(login)] = to
		if err = w.store(ctx, login, secret, p, to); err != nil {
			return server, err
		}
	}
	return server, nil
}

// recipientOf returns the address of whom somebody writes to.
func recipientOf(login string) string { return "to-" + login + mailDomain }

// store writes a person's store: an identity, and the certificate of the recipient,
// for which a path to an authority has to be found.
func (w *mailWorld) store(ctx context.Context, login, secret string, p, to *testpki.Person) (err error) {
	certificate, err := pki.ParseCertificate(p.Cert.Raw)
	if err != nil {
		return err
	}
	other, err := pki.ParseCertificate(to.Cert.Raw)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, w.file(login+".store"), store.Options{Key: &store.Passphrase{
		Ask:  func(string) ([]byte, error) { return []byte(secret), nil },
		Time: 1, Memory: 64, Threads: 1, // it is random, and lives for minutes
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, err = s.AddIdentity(ctx, keystore.Identity{Certificate: certificate, Key: p.Key}, login+mailDomain)
	if err == nil {
		_, err = s.AddCertificate(ctx, recipientOf(login), other, store.AddOptions{})
	}
	return err
}

// A proxyListener is one of mailproxy.
type proxyListener struct {
	protocol, address, upstream, mode string
	more                              string // settings
}

// proxyConfig is mailproxy's configuration, with everybody's account.
func (w *mailWorld) proxyConfig(server testpki.Files, connections int, listeners []proxyListener) string {
	text := fmt.Sprintf("[server]\nname = %q\ndrain = \"1s\"\n\n[log]\nlevel = \"WARN\"\n\n[limits]\nconnections = %d\n\n[trust]\nauthorities = [%q]\n",
		mailHost, connections, server.CA)
	for _, l := range listeners {
		name, port, _ := net.SplitHostPort(l.upstream) // it is one
		text += fmt.Sprintf("\n[[listener]]\nprotocol = %q\naddress = %q\nmode = %q\ncertificate = %q\nkey = %q\n%s\n\n[listener.upstream]\nhost = %q\nport = %s\nmode = %q\n",
			l.protocol, l.address, starttls, server.Cert, server.Key, l.more, name, port, l.mode)
		if l.mode != unprotected {
			text += fmt.Sprintf("ca = %q\n", server.CA)
		}
	}
	for _, login := range []string{loginP256, loginRSA} {
		text += fmt.Sprintf("\n[[account]]\nlogin = %q\naddresses = [%q]\nstore = %q\npassphrase_file = \"passphrase\"\n", login, login+mailDomain, login+".store")
	}
	return text
}

// configure writes the proxy's configuration.
func (w *mailWorld) configure(server testpki.Files) error {
	for _, address := range []*string{&w.proxy.smtp, &w.proxy.open, &w.proxy.secure} {
		*address = net.JoinHostPort(loopback, peers.FreePort(w))
	}
	text := w.proxyConfig(server, 1000, []proxyListener{{"smtp", w.proxy.smtp, w.sink, unprotected, ""},
		{"smtp", w.proxy.open, w.postfix, unprotected, "login = \"optional\""}, {"smtp", w.proxy.secure, w.sink, starttls, ""}})
	for _, login := range []string{loginP256, loginRSA} {
		text += fmt.Sprintf("\n[[rule]]\nsender = %q\nsign = \"always\"\nencrypt = \"require\"\n", login+mailDomain)
	}
	return os.WriteFile(w.file("mailproxy.toml"), []byte(text), 0o600)
}

// startProxy starts mailproxy, or starts it again: it then knows nothing of what
// it has seen.
func (w *mailWorld) startProxy() {
	if w.proxy.Process != nil {
		w.proxy.Stop()
	}
	w.proxy.Process = peers.StartProcess(w, "mailproxy", w.program, "run", "--config", w.file("mailproxy.toml"))
	if err := waitFor(context.Background(), w.proxy.smtp); err != nil {
		w.Fatalf("mailproxy: %v\n%s", err, w.proxy.Log())
	}
}

const nginxPID = "nginx.pid" // in the world's folder

const nginxConfig = `
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
pid %[1]s;
error_log stderr crit;
worker_processes %[2]d;
worker_rlimit_nofile 20000;
events { worker_connections 20000; }
mail {
  server_name localhost;
  auth_http %[3]s/auth;
  proxy_pass_error_message on;
  proxy_smtp_auth on;
  proxy_buffer 32k;
  xclient off;
  resolver off;
  ssl_certificate %[4]s;
  ssl_certificate_key %[5]s;
  starttls only;
  smtp_capabilities PIPELINING 8BITMIME;
%[6]s}
`

// A nginxServer is one of nginx's mail proxy, and where it leads to.
type nginxServer struct {
	protocol, address, upstream string
	more                        string // settings
}

// nginxFor starts nginx's mail proxy, and the server that it asks about logins.
func (w *mailWorld) nginxFor(server testpki.Files, servers []nginxServer) error {
	program := peers.NeedProgram(w, "nginx", "nginx")
	if _, err := os.Stat("/usr/lib/nginx/modules/ngx_mail_module.so"); err != nil {
		return fmt.Errorf("nginx's mail proxy (Debian package libnginx-mod-mail) %w", errAbsent)
	}
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return err
	}
	upstreams, listen := make(map[string]string), ""
	for _, s := range servers {
		upstreams[s.address] = s.upstream
		listen += fmt.Sprintf("  server { listen %s; protocol %s; auth_http_header X-Server %[1]s; %[3]s }\n", s.address, s.protocol, s.more)
	}
	logins := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		name, port, _ := net.SplitHostPort(upstreams[in.Header.Get("X-Server")]) // it is one
		for key, value := range map[string]string{"Auth-Status": "OK", "Auth-Server": name, "Auth-Port": port} {
			out.Header().Set(key, value)
		}
	})}
	go func() { _ = logins.Serve(l) }()      // its error is that it was closed
	w.Cleanup(func() { _ = logins.Close() }) // nobody asks any more
	conf := fmt.Sprintf(nginxConfig, w.file(nginxPID), runtime.NumCPU(), l.Addr(), server.Cert, server.Key, listen)
	if err = os.WriteFile(w.file("nginx.conf"), []byte(conf), 0o600); err != nil {
		return err
	}
	peers.StartProcess(w, "nginx", program, "-e", "stderr", "-p", w.dir, "-c", w.file("nginx.conf"), "-g", "daemon off;")
	return nil
}
