package mailtest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A Server is a mail server that keeps what it is given.
// Its exported fields are set before it is used.
type Server struct {
	// Addr is where it listens.
	Addr string
	// Refuse answers for a recipient, in the transaction of that number (the first
	// is 1), or nil.
	Refuse func(transaction int, to string) error
	// RefuseData answers for a message.
	RefuseData func(transaction int) error
	// Hide is an extension that is not offered at the address of Front.
	Hide string

	mu           sync.Mutex
	mails        []Received
	logins       []string
	transactions int
}

// Received is one message as the server got it.
type Received struct {
	From string
	To   []string
	Opts smtp.MailOptions
	Data string
}

type serverSession struct {
	m    *Server
	mail Received
	n    int
}

func (s *serverSession) Reset()        { s.mail = Received{} }
func (s *serverSession) Logout() error { return nil }
func (s *serverSession) Mail(from string, opts *smtp.MailOptions) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.transactions++
	s.n = s.m.transactions
	s.mail = Received{From: from, Opts: *opts}
	return nil
}
func (s *serverSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.m.Refuse != nil {
		if err := s.m.Refuse(s.n, to); err != nil {
			return err
		}
	}
	s.mail.To = append(s.mail.To, to)
	return nil
}
func (s *serverSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.m.RefuseData != nil {
		if err = s.m.RefuseData(s.n); err != nil {
			return err
		}
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.mail.Data = string(data)
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

// NewServer starts a server for a test, which edit may change before.
func NewServer(t testing.TB, edit func(*smtp.Server)) *Server {
	t.Helper()
	l := Listen(t)
	m := &Server{Addr: l.Addr().String()}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &serverSession{m: m}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth, srv.EnableSMTPUTF8, srv.EnableDSN = "upstream.test", true, true, true
	srv.MaxMessageBytes, srv.MaxLineLength = 10<<20, 1<<20
	srv.ErrorLog = quiet{}
	if edit != nil {
		edit(srv)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return m
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Got returns the messages so far.
func (m *Server) Got() []Received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Received(nil), m.mails...)
}

// Front returns an address at which the server is without the extension that
// m.Hide names.
func (m *Server) Front(t testing.TB) string {
	if m.Hide == "" {
		return m.Addr
	}
	return Between(t, m.Addr, func(line string) string {
		if keyword, _, _ := strings.Cut(strings.TrimSpace(line[4:]), " "); keyword == m.Hide {
			return "" // never the last line, which is LIMITS or SIZE
		}
		return line
	})
}

// Logins returns the names that have logged in, in order.
func (m *Server) Logins() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.logins...)
}

// Transactions returns how often MAIL was said.
func (m *Server) Transactions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.transactions
}

// Listen listens on a port of the loopback address until the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Between returns an address from which connections go on to another, and where
// the replies pass through a function, line by line.
func Between(t testing.TB, addr string, edit func(string) string) string {
	t.Helper()
	l := Listen(t)
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
