package smtpproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

// mailServer is an upstream that keeps what it is given.
type mailServer struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	mails    []received
	logins   []string
	sessions int
	// refuse answers for a recipient, in the transaction of that number (the first
	// is 1), or nil.
	refuse func(transaction int, to string) error
	// refuseData answers for a message.
	refuseData   func(transaction int) error
	hide         string // an extension that mailServer.front hides
	transactions int
}

// received is one message as the upstream got it.
type received struct {
	from string
	to   []string
	opts smtp.MailOptions
	data string
}

type serverSession struct {
	m    *mailServer
	mail received
	n    int
}

func (s *serverSession) Reset()        { s.mail = received{} }
func (s *serverSession) Logout() error { return nil }
func (s *serverSession) Mail(from string, opts *smtp.MailOptions) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.transactions++
	s.n = s.m.transactions
	s.mail = received{from: from, opts: *opts}
	return nil
}
func (s *serverSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.m.refuse != nil {
		if err := s.m.refuse(s.n, to); err != nil {
			return err
		}
	}
	s.mail.to = append(s.mail.to, to)
	return nil
}
func (s *serverSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.m.refuseData != nil {
		if err = s.m.refuseData(s.n); err != nil {
			return err
		}
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.mail.data = string(data)
	s.m.mails = append(s.m.mails, s.mail)
	return nil
}
func (s *serverSession) AuthMechanisms() []string { return []string{"PLAIN", "LOGIN", "GSSAPI"} }
func (s *serverSession) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		if password != "secret" {
			return smtp.ErrAuthFailed
		}
		s.m.mu.Lock()
		defer s.m.mu.Unlock()
		s.m.logins = append(s.m.logins, user)
		return nil
	}
	if mech == "LOGIN" {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the mechanism LOGIN, which go-sasl has for clients alone.
type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

func newMailServer(t testing.TB, edit func(*smtp.Server)) *mailServer {
	t.Helper()
	l := listen(t)
	m := &mailServer{t: t, addr: l.Addr().String()}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sessions++
		return &serverSession{m: m}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth, srv.EnableSMTPUTF8, srv.EnableDSN = "upstream.test", true, true, true
	srv.MaxMessageBytes, srv.MaxLineLength = 10<<20, 1<<20
	srv.ErrorLog = quietTest{}
	if edit != nil {
		edit(srv)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return m
}

type quietTest struct{}

func (quietTest) Printf(string, ...any) {}
func (quietTest) Println(...any)        {}

func (m *mailServer) got() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]received(nil), m.mails...)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// world is everybody's keys.
type world struct {
	ca     *testpki.CA
	people map[string]*testpki.Person
	down   bool // the source of certificates
}

func newWorld(t testing.TB, names ...string) *world {
	t.Helper()
	ca, err := testpki.NewCA("Test")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ca: ca, people: make(map[string]*testpki.Person)}
	for _, name := range names {
		p, issueErr := ca.Issue(testpki.Profile{Name: name, Email: name + "@example.org", Key: testpki.P256})
		if issueErr != nil {
			t.Fatal(issueErr)
		}
		w.people[name+"@example.org"] = p
	}
	return w
}

// Signer implements Keys: alice has an identity, and a key of carol's is locked.
func (w *world) Signer(_ context.Context, address string) (*cms.Signer, error) {
	switch address {
	case "carol@example.org":
		return nil, keystore.ErrPassphraseNeeded
	case "alice@example.org":
		p := w.people[address]
		s := cms.NewSigner(p.Cert, p.Key.(crypto.Signer))
		return &s, nil
	}
	return nil, ErrNoIdentity
}

// Recipient implements Keys.
func (w *world) Recipient(_ context.Context, address string) (*recipients.Candidate, error) {
	if w.down {
		return nil, &keystore.SourceError{Source: "test", Err: errors.New("down")}
	}
	p, ok := w.people[address]
	if !ok {
		return nil, &recipients.NoneError{Address: address}
	}
	return &recipients.Candidate{Found: keystore.Found{Certificate: pki.FromX509(p.Cert), Source: "test"}}, nil
}

// open opens a message as somebody, who trusts the CA.
func (w *world) open(t testing.TB, data, who string) (*smime.Message, error) {
	t.Helper()
	opts := &smime.ReadOptions{Trust: cms.TrustRoots(w.ca.Cert)}
	if p := w.people[who]; p != nil {
		opts.Identities = []cms.Identity{cms.NewIdentity(p.Cert, p.Key)}
	}
	m, err := smime.Read(strings.NewReader(data), opts)
	if m != nil {
		t.Cleanup(func() { _ = m.Close() })
	}
	return m, err
}

func rules(t testing.TB, list ...policy.Rule) *policy.Rules {
	t.Helper()
	r, err := policy.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func level[T any](v T) *T { return &v }

// everything signs and encrypts where that is possible.
func everything(t testing.TB, more ...policy.Rule) *policy.Rules {
	return rules(t, append(more, policy.Rule{Sign: level(policy.SignIfPossible), Encrypt: level(policy.EncryptIfPossible)})...)
}

// serve starts a proxy and returns its address. It waits for its connections at
// the end.
func serve(t testing.TB, p *Proxy, upstream string) string {
	t.Helper()
	if p.Name == "" {
		p.Name = "proxy.test"
	}
	if p.Connect == nil {
		p.Connect = func(context.Context) (net.Conn, bool, error) {
			conn, err := net.Dial("tcp", upstream)
			return conn, false, err
		}
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.ServeConn(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// A client speaks SMTP line by line.
type client struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{t, conn, bufio.NewReader(conn)}
	c.expect(220)
	return c
}

// reply reads a reply.
func (c *client) reply() (int, string) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	text := ""
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return 0, text + err.Error()
		}
		text += line
		if len(line) > 3 && line[3] == ' ' {
			var code int
			if _, err = fmt.Sscanf(line, "%d", &code); err != nil {
				c.t.Fatalf("%q", line)
			}
			return code, text
		}
	}
}

func (c *client) expect(code int) string {
	c.t.Helper()
	got, text := c.reply()
	if got != code {
		c.t.Fatalf("reply %s, want %d", text, code)
	}
	return text
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// say sends a line and expects a reply.
func (c *client) say(line string, code int) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.expect(code)
}

// mail sends a message, and expects a reply to it.
func (c *client) mail(from, message string, code int, to ...string) string {
	c.t.Helper()
	c.say("MAIL FROM:<"+from+">", 250)
	for _, address := range to {
		c.say("RCPT TO:<"+address+">", 250)
	}
	c.say("DATA", 354)
	var b bytes.Buffer
	for line := range strings.Lines(message) {
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	c.send(b.String() + ".\r\n")
	return c.expect(code)
}

// tlsConfigs returns those of a server and of its client.
func tlsConfigs(t testing.TB) (server, client *cryptotls.Config) {
	t.Helper()
	ca, err := testpki.NewCA("TLS")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "localhost", Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}},
		&cryptotls.Config{RootCAs: pool, ServerName: "localhost"}
}

// front returns an address at which the server is without the extension that
// m.hide names.
func (m *mailServer) front(t testing.TB) string {
	if m.hide == "" {
		return m.addr
	}
	return between(t, m.addr, func(line string) string {
		if keyword, _, _ := strings.Cut(strings.TrimSpace(line[4:]), " "); keyword == m.hide {
			return "" // never the last line, which is LIMITS or SIZE
		}
		return line
	})
}

// between returns an address from which connections go on to another, and where
// the replies pass through a function, line by line.
func between(t testing.TB, addr string, edit func(string) string) string {
	t.Helper()
	l := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			})
			wg.Go(func() {
				defer func() { _ = client.Close() }()
				in := bufio.NewReader(server)
				for {
					line, readErr := in.ReadString('\n')
					if len(line) > 4 {
						line = edit(line)
					}
					if _, err = io.WriteString(client, line); err != nil || readErr != nil {
						_ = server.Close()
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
