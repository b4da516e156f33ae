package main

import (
	"bytes"
	"crypto/subtle"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A mailServer is a small mail server in memory: what it takes by SMTP is in the
// INBOX of the recipients, which is read by IMAP. It is what the demonstration
// has behind the proxy.
type mailServer struct {
	smtpAddress, imapAddress *net.TCPAddr

	users map[string]*mailUser // by mail address, which is the login name
	smtp  *smtp.Server
	imap  *imapserver.Server
	wg    sync.WaitGroup
}

type mailUser struct {
	password string
	box      *imapmemserver.User
}

// startMailServer serves on the loopback address, with STARTTLS.
func startMailServer(config *cryptotls.Config, passwords map[string]string) (*mailServer, error) {
	m := &mailServer{users: make(map[string]*mailUser)}
	boxes := imapmemserver.New()
	for address, password := range passwords {
		u := &mailUser{password: password, box: imapmemserver.NewUser(address, password)}
		for _, name := range []string{"INBOX", "Sent"} {
			if err := u.box.Create(name, nil); err != nil {
				return nil, err
			}
		}
		boxes.AddUser(u.box)
		m.users[address] = u
	}
	quiet := log.New(io.Discard, "", 0)
	m.smtp = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{server: m}, nil }))
	m.smtp.Domain, m.smtp.TLSConfig, m.smtp.ErrorLog = demoServerName, config, quiet
	m.smtp.MaxMessageBytes, m.smtp.MaxRecipients = 64<<20, 100
	m.smtp.ReadTimeout, m.smtp.WriteTimeout = 10*time.Minute, time.Minute
	m.imap = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return boxes.NewSession(), nil, nil
		},
		Caps:   imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapMove: {}},
		Logger: quiet, TLSConfig: config,
	})
	forSMTP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	forIMAP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, forSMTP.Close())
	}
	m.smtpAddress, m.imapAddress = forSMTP.Addr().(*net.TCPAddr), forIMAP.Addr().(*net.TCPAddr)
	m.wg.Go(func() { _ = m.smtp.Serve(forSMTP) }) // its error is that it was closed
	m.wg.Go(func() { _ = m.imap.Serve(forIMAP) }) // and this one's
	return m, nil
}

func (m *mailServer) close() {
	_ = m.smtp.Close() // it holds nothing that anybody wants
	_ = m.imap.Close() // nor does this one
	m.wg.Wait()
}

// A mailSession is an SMTP client's, who has to log in and can send to the users
// alone.
type mailSession struct {
	server *mailServer
	login  string
	to     []*mailUser
}

var (
	errLogin   = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Log in first"}
	errNoUser  = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Nobody here has this address"}
	errMailbox = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "The message could not be stored"}
)

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		u := s.server.users[user]
		if u == nil || subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) != 1 {
			return smtp.ErrAuthFailed
		}
		s.login = user
		return nil
	}), nil
}

func (s *mailSession) Mail(string, *smtp.MailOptions) error {
	if s.login == "" {
		return errLogin
	}
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	u := s.server.users[to]
	if u == nil {
		return errNoUser
	}
	s.to = append(s.to, u)
	return nil
}

// A literal is a message as the mailboxes take it.
type literal struct{ *bytes.Reader }

// Size implements imap.LiteralReader.
func (l literal) Size() int64 { return l.Reader.Size() }

func (s *mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r) // up to MaxMessageBytes
	if err != nil {
		return err
	}
	for _, u := range s.to {
		if _, err = u.box.Append("INBOX", literal{bytes.NewReader(data)}, &imap.AppendOptions{Time: time.Now()}); err != nil {
			return errMailbox
		}
	}
	return nil
}

func (s *mailSession) Reset()        { s.to = nil }
func (s *mailSession) Logout() error { return nil }
