package certs

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// challengeTimeout bounds one connection of a server that looks at a challenge.
const challengeTimeout = 10 * time.Second

// A solver answers challenges. It listens while there are any.
type solver struct {
	httpAddress, tlsAddress string

	mu     sync.Mutex
	tokens map[string]string                 // http-01: the answers by path
	names  map[string]*cryptotls.Certificate // tls-alpn-01: by name
	web    *http.Server                      // nil while there is nothing to answer
	alpn   net.Listener
	group  sync.WaitGroup
}

func (s *solver) init(httpAddress, tlsAddress string) {
	s.httpAddress, s.tlsAddress = httpAddress, tlsAddress
	s.tokens, s.names = make(map[string]string), make(map[string]*cryptotls.Certificate)
}

// close stops listening and waits for who answers.
func (s *solver) close() {
	s.mu.Lock()
	clear(s.tokens)
	clear(s.names)
	s.stopIdle()
	s.mu.Unlock()
	s.group.Wait()
}

// stopIdle stops listening where there is nothing to answer. The caller has the
// lock.
func (s *solver) stopIdle() {
	if s.web != nil && len(s.tokens) == 0 {
		_ = s.web.Close() // what is asked now has no answer
		s.web = nil
	}
	if s.alpn != nil && len(s.names) == 0 {
		_ = s.alpn.Close()
		s.alpn = nil
	}
}

// An httpSolver answers http-01.
type httpSolver struct{ *solver }

// Present is called before the server looks.
func (s httpSolver) Present(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.web == nil {
		ln, err := net.Listen("tcp", s.httpAddress)
		if err != nil {
			return err
		}
		web := &http.Server{
			Handler: http.HandlerFunc(s.answer), ReadTimeout: challengeTimeout, WriteTimeout: challengeTimeout,
			MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
		}
		web.SetKeepAlivesEnabled(false)
		s.web = web
		s.group.Go(func() { _ = web.Serve(ln) }) // until it is closed
	}
	s.tokens[c.HTTP01ResourcePath()] = c.KeyAuthorization
	return nil
}

// CleanUp is called when the server has looked, or will not.
func (s httpSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, c.HTTP01ResourcePath())
	s.stopIdle()
	return nil
}

// answer serves the answers and nothing else: RFC 8555, Section 8.3.
func (s *solver) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text, ok := s.tokens[r.URL.Path]
	s.mu.Unlock()
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, text)
}

// A tlsSolver answers tls-alpn-01.
type tlsSolver struct{ *solver }

// Present is called before the server looks.
func (s tlsSolver) Present(_ context.Context, c acme.Challenge) error {
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alpn == nil {
		ln, listenErr := net.Listen("tcp", s.tlsAddress)
		if listenErr != nil {
			return listenErr
		}
		s.alpn = ln
		s.group.Go(func() { s.accept(ln) })
	}
	s.names[strings.ToLower(c.Identifier.Value)] = cert
	return nil
}

// CleanUp is called when the server has looked, or will not.
func (s tlsSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, strings.ToLower(c.Identifier.Value))
	s.stopIdle()
	return nil
}

// maxChallenges bounds the connections at a time.
const maxChallenges = 64

// accept makes handshakes until the listener is closed. RFC 8737, Section 3: the
// server closes the connection after the handshake.
func (s *solver) accept(ln net.Listener) {
	config := &cryptotls.Config{
		GetCertificate: s.challengeCertificate, NextProtos: []string{acmez.ACMETLS1Protocol},
		MinVersion: cryptotls.VersionTLS12, SessionTicketsDisabled: true,
	}
	slots := make(chan struct{}, maxChallenges)
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // such as too many open files
			continue
		}
		slots <- struct{}{}
		s.group.Go(func() {
			defer func() { <-slots }()
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(challengeTimeout))
			_ = cryptotls.Server(conn, config).Handshake() // the ACME server tells how it went
		})
	}
}

// challengeCertificate is for clients that offer acme-tls/1 and nothing else (RFC
// 8737, Section 3).
func (s *solver) challengeCertificate(hello *cryptotls.ClientHelloInfo) (*cryptotls.Certificate, error) {
	if !slices.Equal(hello.SupportedProtos, []string{acmez.ACMETLS1Protocol}) {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[normalName(hello.ServerName)], nil
}
