package smtpproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// restTime is how long a client may say nothing before go-smtp goes.
const restTime = 5 * time.Second

// errRest is the end of the connection, for go-smtp, which says nothing then.
var errRest = fmt.Errorf("the client says nothing for now: %w", net.ErrClosed)

// A visit is the connection to a client for as long as go-smtp serves it. Most
// connections are idle most of the time, and go-smtp has buffers and a goroutine
// with a deep stack for each of them, which are half of what such a connection
// costs. So it is told that the connection has ended, when it has a session and
// nothing is under way; the next word of the client begins another visit, with the
// same session. Only the mistakes of the client are counted anew.
type visit struct {
	*front
	over sync.Once
	left chan struct{} // closed when go-smtp has closed the connection
}

// Close implements net.Conn.
func (v *visit) Close() error {
	v.over.Do(func() { close(v.left) })
	if v.resting {
		return nil
	}
	return v.front.Close()
}

// serve has go-smtp serve the client until it leaves.
func (b *backend) serve() {
	for {
		b.visit()
		select {
		case <-b.front.closed:
			return
		default:
		}
		b.front.await()
	}
}

// visit has go-smtp serve the client until it leaves, or says nothing.
func (b *backend) visit() {
	p := b.p
	srv := smtp.NewServer(b)
	srv.Domain = p.Name
	// The front bounds lines and time, and TLS is no business of go-smtp's, which
	// would go on in plaintext after a handshake that failed.
	srv.MaxLineLength, srv.AllowInsecureAuth = 0, true
	srv.MaxRecipients = p.maxRecipients()
	srv.MaxMessageBytes = p.maxMessage()
	srv.ErrorLog = quiet{p.log()}
	v := &visit{front: b.front, left: make(chan struct{})}
	_ = srv.Serve(&oneConn{v}) // its error is that there is no other connection
	select {
	case <-v.left:
	case <-b.front.closed:
	}
	_ = srv.Shutdown(context.Background()) // waits for what is under way
}

// mayRest reports whether go-smtp knows nothing that the next visit does not: there
// is a session, and nothing under way.
func (b *backend) mayRest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.session
	return s != nil && !b.busy && !s.authenticating && s.refusal == nil
}

// await waits for the client to say something, for as long as it may be silent. An
// error is told to go-smtp, which has a word for it.
func (f *front) await() {
	n, err := f.fill(f.first[:], f.due)
	f.resting, f.swallow = false, true
	if n == 0 {
		f.err = noEnd(err)
		return
	}
	f.again = true
	f.pending = append([]byte("EHLO localhost\r\n"), f.first[0])
}
