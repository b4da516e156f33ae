package imapproxy

import (
	"bufio"
	"context"
	"crypto/cipher"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postseal/postseal/internal/aside"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/render"
)

// errLeft says that a side has ended the conversation as it may.
var errLeft = errors.New("the connection was closed")

// A session is one client's connection, and the one to the upstream.
//
// Two goroutines work on it. The one of serve reads commands and carries them
// out, one after the other; the pump reads what the upstream says, and passes it
// on or gives it to the command that asked for it. What is written to the client
// is written under out. While serve shows messages there are those of an ahead,
// which only ask the upstream for messages, and open them.
type session struct {
	p   *Proxy
	ctx context.Context

	raw net.Conn // that of the client, below TLS
	cr  *bufio.Reader

	out      sync.Mutex // for what follows, which the other goroutine reads
	client   net.Conn
	cw       lazyWriter
	view     view
	expunges int // how many responses have changed sequence numbers
	places   places

	upstream net.Conn
	ur       *bufio.Reader
	uw       lazyWriter

	pending sync.Mutex // for what follows
	current *command   // that the upstream is working on; nil for none
	mailbox mailbox
	caps    []string // of the upstream, in upper case, as it has said last
	pumping bool
	pumpErr error

	waiting atomic.Bool   // for the upstream to say something
	done    chan struct{} // closed when the pump has ended
	asking  sync.Mutex    // for a command of our own, until it is carried out
	serial  int           // of our own commands
	asked   time.Time     // when the upstream was last asked something

	loggedInOK bool // the upstream has accepted a login
	account    string
	uses       map[string]string // of mailboxes, by their names; nil before it is needed
	options    *render.Options   // nil shows messages as they are
	sealer     cipher.AEAD       // of facts; there when options is
	own        facts.Store       // of this connection; nil before it is needed
	ownCache   cache
	rendered   renderings
}

// A mailbox is the one that is selected.
type mailbox struct {
	name     string // as the client wrote it; "" for none
	validity uint32
	fleeting bool // its UIDs are of this connection alone (RFC 4315, Section 4)
	readOnly bool
}

// selected returns the mailbox that is selected.
func (s *session) selected() mailbox {
	s.pending.Lock()
	defer s.pending.Unlock()
	return s.mailbox
}

func (s *session) selectMailbox(m mailbox) {
	s.pending.Lock()
	s.mailbox = m
	s.pending.Unlock()
	s.out.Lock()
	s.places.clear()
	s.out.Unlock()
	s.rendered.clear()
}

// A command is one that the upstream is working on.
type command struct {
	tag string
	// own says that the command is ours: the client sees nothing of its
	// completion.
	own bool
	// idles says that the upstream may be silent after it has asked for more.
	idles bool
	// told says that who has given the command tells the client of its completion.
	told bool
	// take is given what the upstream says to FETCH, or of the kind that takes
	// names; false passes it on to the client. nil passes all on.
	take  func(*response) bool
	takes string
	// quiet is how many continuations are ours.
	quiet atomic.Int32
	// more is told of continuations, finished of the completion.
	more     chan struct{}
	finished chan string // the completion without its tag
}

func newSession(ctx context.Context, p *Proxy, conn net.Conn) *session {
	s := &session{p: p, ctx: ctx, raw: conn, client: conn, cr: newBuffered(conn), cw: lazyWriter{dst: hurried{conn}},
		done: make(chan struct{})}
	_, isTLS := conn.(*cryptotls.Conn)
	s.view = view{startTLS: p.TLS != nil && !isTLS, login: isTLS || !p.RequireTLS}
	return s
}

// hangUp ends both connections.
func (s *session) hangUp() {
	_ = s.raw.Close()
	s.pending.Lock()
	defer s.pending.Unlock()
	if s.upstream != nil {
		_ = s.upstream.Close()
	}
}

// wait waits for the pump, and frees what the session holds.
func (s *session) wait() {
	s.pending.Lock()
	pumping := s.pumping
	s.pending.Unlock()
	if pumping {
		<-s.done
	}
	s.rendered.clear()
}

// serve carries out the client's commands.
func (s *session) serve() error {
	if s.view.login && s.p.Route == nil {
		if err := s.connect(true, ""); err != nil {
			return err
		}
	} else if err := s.say("* OK [CAPABILITY %s] %s is ready", s.capabilities(), s.p.Name); err != nil {
		return err
	}
	for {
		if err := s.awaitClient(); err != nil {
			if err == io.EOF {
				return errLeft
			}
			return err
		}
		line, err := readLine(s.cr, maxCommandLine)
		if errors.Is(err, ErrTooLong) {
			_ = s.say("* BAD The line is too long")
			return err
		}
		if err == io.EOF {
			return errLeft
		}
		if err != nil {
			return err
		}
		if err = s.command(strings.Clone(string(line))); err != nil {
			return err
		}
	}
}

// say writes a line to the client.
func (s *session) say(format string, args ...any) error {
	s.out.Lock()
	defer s.out.Unlock()
	_, _ = fmt.Fprintf(&s.cw, format+"\r\n", args...) // cw keeps its error
	return s.cw.Flush()
}

// command carries out a command. line is its first line.
func (s *session) command(line string) error {
	tag, rest := cutWord([]byte(line))
	if tag == "" || strings.ContainsAny(tag, "+*(){%\"\\") || len(tag) > 200 {
		return s.say("* BAD A command begins with a tag")
	}
	word, args := cutWord(rest)
	name := upper(word)
	if name == "UID" {
		second, more := cutWord(args)
		if name = "UID " + upper(second); name == "UID FETCH" {
			args = more
		}
	}
	if name == "ID" && s.p.HideID && !s.loggedInOK && s.view.login {
		return s.hideID(tag, line)
	}
	if s.upstream == nil || !s.view.login {
		choosing := s.p.Route != nil && s.view.login
		if !choosing || name != "LOGIN" && name != "AUTHENTICATE" {
			return s.beforeLogin(tag, name)
		}
	}
	switch name {
	case "STARTTLS":
		return s.startTLS(tag)
	case "CAPABILITY", "NOOP", "LOGOUT":
		return s.pass(tag, name, line)
	case "LOGIN":
		return s.login(tag, line)
	case "AUTHENTICATE":
		return s.authenticate(tag, line, string(args))
	case "FETCH", "UID FETCH":
		if s.options == nil || s.selected().name == "" {
			return s.pass(tag, name, line)
		}
		return s.fetchCommand(tag, name == "UID FETCH", line)
	case "SELECT", "EXAMINE":
		return s.selectCommand(tag, name, line, string(args))
	case "CLOSE", "UNSELECT":
		s.selectMailbox(mailbox{})
		return s.pass(tag, name, line)
	case "IDLE":
		return s.idle(tag, line)
	}
	if slices.Contains(never, name) || s.options != nil && slices.Contains(unwatched, name) {
		return s.unsupported(tag, name, line)
	}
	if s.options != nil {
		switch name {
		case "ENABLE":
			return s.enable(tag, line, string(args))
		case "NOTIFY":
			return s.notify(tag, line)
		case "APPEND":
			return s.appendCommand(tag, line, string(args))
		}
	}
	return s.pass(tag, name, line)
}

// unsupported refuses a command, whatever comes with it.
func (s *session) unsupported(tag, name, line string) error {
	if _, ok, err := s.hold(tag, line); !ok || err != nil {
		return err
	}
	return s.say("%s BAD %s is not possible here", tag, name)
}

// beforeLogin is for what can be said before TLS, where that is required.
func (s *session) beforeLogin(tag, name string) error {
	switch name {
	case "CAPABILITY":
		if err := s.say("* CAPABILITY %s", s.capabilities()); err != nil {
			return err
		}
		return s.say("%s OK done", tag)
	case "NOOP":
		return s.say("%s OK done", tag)
	case "LOGOUT":
		_ = s.say("* BYE goodbye")
		_ = s.say("%s OK done", tag)
		return errLeft
	case "STARTTLS":
		return s.startTLS(tag)
	}
	if s.view.login {
		return s.say("%s BAD Log in first", tag)
	}
	return s.say("%s NO [PRIVACYREQUIRED] Say STARTTLS first", tag)
}

// errInjected says that a client sent something together with STARTTLS.
var errInjected = errors.New("data came together with STARTTLS, before the handshake")

// startTLS protects the connection. RFC 3501, Section 6.2.1: what came before is
// forgotten; nothing that came with the command is taken for a part of what is
// protected.
func (s *session) startTLS(tag string) error {
	if !s.view.startTLS {
		return s.say("%s BAD STARTTLS is not possible now", tag)
	}
	if s.cr.Buffered() > 0 {
		_ = s.say("* BYE Nothing may follow STARTTLS before the handshake")
		return errInjected
	}
	if err := s.say("%s OK Begin the handshake", tag); err != nil {
		return err
	}
	conn := cryptotls.Server(s.client, s.p.TLS)
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTime)
	defer cancel()
	var err error
	aside.Do(func() { err = conn.HandshakeContext(ctx) })
	if err != nil {
		return fmt.Errorf("the TLS handshake failed: %w", err)
	}
	release(s.cr)
	s.out.Lock()
	s.client, s.cr = conn, newBuffered(conn)
	s.cw, s.view = lazyWriter{dst: hurried{conn}}, view{login: true}
	s.out.Unlock()
	if s.upstream == nil && s.p.Route == nil {
		return s.connect(false, "")
	}
	return nil
}

// A patient reader waits for the upstream as long as it may be silent: while
// nothing is asked of it for ever, and else for upstreamTimeout.
type patient struct {
	s    *session
	conn net.Conn
}

// Read implements io.Reader.
func (p patient) Read(b []byte) (int, error) {
	if err := p.s.hurry(p.conn); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}

// hurry sets how long the upstream may be silent.
func (s *session) hurry(conn net.Conn) error {
	if s.waiting.Load() {
		return conn.SetReadDeadline(time.Now().Add(upstreamTimeout))
	}
	return conn.SetReadDeadline(time.Time{})
}

// connect goes to the upstream. With greet its greeting is passed on, or ours in
// its place. The account is for Route.
func (s *session) connect(greet bool, account string) error {
	to := s.p.Connect
	if s.p.Route != nil {
		to = func(ctx context.Context) (net.Conn, bool, error) { return s.p.Route(ctx, account) }
	}
	conn, greeted, err := to(s.ctx)
	if err != nil {
		s.p.log().Warn("the mail server cannot be reached", "error", err)
		_ = s.say("* BYE [UNAVAILABLE] The mail server cannot be reached")
		return errLeft
	}
	s.pending.Lock()
	s.upstream = conn
	s.pending.Unlock()
	s.ur, s.uw = newBuffered(patient{s, conn}), lazyWriter{dst: conn}
	greeting := "* OK " + s.p.Name + " is ready"
	if !greeted {
		s.waiting.Store(true)
		line, readErr := readLine(s.ur, maxCommandLine)
		if readErr != nil {
			_ = s.say("* BYE [UNAVAILABLE] The mail server does not answer")
			return readErr
		}
		s.waiting.Store(false)
		greeting = strings.TrimRight(string(s.view.filterLine(line)), "\r\n")
		if !strings.HasPrefix(upper(greeting), "* OK") {
			// PREAUTH would be a login that nobody here knows of.
			_ = s.say("* BYE [UNAVAILABLE] The mail server does not take logins")
			return fmt.Errorf("%w: the greeting of the mail server", ErrSyntax)
		}
	}
	s.pending.Lock()
	s.pumping = true
	s.pending.Unlock()
	go s.pump()
	if !greet {
		return nil
	}
	return s.say("%s", greeting)
}
