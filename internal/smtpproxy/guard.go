package smtpproxy

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

// errInjected says that a client sent something together with STARTTLS, which
// was to be taken for a part of the protected conversation.
var errInjected = errors.New("data came together with STARTTLS, before the handshake")

// errHandshake says that a handshake has failed.
var errHandshake = errors.New("the TLS handshake failed")

// A guard is a client's connection that ends where go-smtp would go on without
// protection: after a handshake that failed, and when data came together with
// STARTTLS (RFC 3207, Section 4.2; CVE-2011-0411).
type guard struct {
	net.Conn

	mu    sync.Mutex
	line  []byte // the beginning of the line that is being read
	ready int    // replies of 220: one is the greeting, two are the one to STARTTLS
	err   error
}

// startTLS is the command, and what a server says to it.
var (
	startTLS    = []byte("STARTTLS")
	startTLS220 = []byte("220 ")
)

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	if err := g.state(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready < 2 {
		g.watch(p[:n])
	}
	if g.err != nil {
		_ = g.Conn.Close()
		return 0, g.err
	}
	return n, err
}

// watch looks for STARTTLS with something behind it.
func (g *guard) watch(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			g.line = append(g.line, p[:min(len(p), 2*len(startTLS))]...)
			g.line = g.line[:min(len(g.line), 4*len(startTLS))]
			return
		}
		line := bytes.TrimSpace(append(g.line, p[:min(end, 4*len(startTLS))]...))
		p, g.line = p[end+1:], nil
		if len(p) > 0 && bytes.EqualFold(line, startTLS) {
			g.err = errInjected
			return
		}
	}
}

// Write implements net.Conn.
func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	switch {
	case g.err != nil:
	case g.ready < 2 && bytes.HasPrefix(p, startTLS220):
		g.ready++
	case g.ready == 2 && len(p) > 0 && (p[0] < 0x14 || p[0] > 0x17):
		// No TLS record begins so: the server is back in the clear.
		g.err = errHandshake
		_ = g.Conn.Close()
	}
	err := g.err
	g.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}

func (g *guard) state() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
