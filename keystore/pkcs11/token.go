package pkcs11

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/postseal/postseal/keystore"
)

// usualSessions is how many operations run at the same time if nobody says.
const usualSessions = 4

// A Token is a token that was opened. Its methods may be called by several
// goroutines.
type Token struct {
	uri  *URI
	pin  keystore.Passphrase
	mod  *module
	seen atomic.Pointer[foundToken] // as it was when it was found last: it may come back in another slot

	places chan struct{} // one for each operation under way
	pinMu  sync.Mutex    // held while the PIN is asked for and shown

	mu            sync.Mutex
	closed        bool
	connected     bool
	authenticated bool
	anchor        handle     // is open as long as the token is there, so that the login stays
	idle          []*session // open and not in use
	generation    uint64     // counts the losses of token or login
}

// A session is used by one goroutine at a time.
type session struct {
	h          handle
	generation uint64
}

// newToken takes over m.
func newToken(m *module, u *URI, pin keystore.Passphrase, sessions int) (*Token, error) {
	if sessions <= 0 {
		sessions = usualSessions
	}
	t := &Token{uri: u, pin: pin, mod: m, places: make(chan struct{}, sessions)}
	return t, t.connect(u)
}

// Info tells what token it is, as it was when it was found last.
func (t *Token) Info() TokenInfo { return t.seen.Load().info }

// Close closes the sessions with the token, after the operations under way, and
// logs out if nobody else in this process uses the token. The keys cannot be
// used any more. Closing again does nothing. It must not be called while the
// PIN is asked for by the same goroutine.
func (t *Token) Close() error {
	t.mu.Lock()
	was := t.closed
	t.closed = true
	t.mu.Unlock()
	if was {
		return nil
	}
	for range cap(t.places) {
		t.places <- struct{}{}
	}
	t.mu.Lock()
	if t.connected {
		// What is not there any more needs not be closed.
		t.closeIdle()
		_ = t.mod.api.CloseSession(t.anchor)
	}
	t.mu.Unlock()
	for range cap(t.places) {
		<-t.places
	}
	return fileError(t.uri, t.mod.release())
}

func (t *Token) closeIdle() {
	for _, s := range t.idle {
		_ = t.mod.api.CloseSession(s.h)
	}
	t.idle = nil
}

// connect finds the token and opens a session. t.mu is held, or t is new.
func (t *Token) connect(u *URI) error {
	found, err := t.mod.tokens(u)
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return ErrNoToken
	case len(found) > 1:
		return ErrSeveralTokens
	}
	if t.anchor, err = t.mod.api.OpenSession(found[0].slot); err != nil {
		return called("C_OpenSession", err)
	}
	t.seen.Store(&found[0])
	t.connected, t.authenticated = true, false
	return nil
}

// do runs an operation in a session that is logged in.
func (t *Token) do(op func(s *session) error) error { return t.with(true, op) }

// with runs an operation in a session. If the session, the token or the login
// is lost it tries once to get them back.
func (t *Token) with(login bool, op func(s *session) error) error {
	t.places <- struct{}{}
	defer func() { <-t.places }()
	for attempt := 0; ; attempt++ {
		s, generation, err := t.session(login)
		if err == nil {
			err = op(s)
			t.giveBack(s, err)
		}
		if err == nil || attempt > 0 || !t.lost(generation, err) {
			return err
		}
	}
}

// session returns an open session and the generation that it is of, the latter
// with an error too.
func (t *Token) session(login bool) (*session, uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, t.generation, ErrClosed
	}
	if !t.connected {
		// The same token, maybe in another slot.
		if err := t.connect(t.seen.Load().info.URI()); err != nil {
			return nil, t.generation, err
		}
	}
	if login && t.seen.Load().info.LoginRequired && !t.authenticated {
		if err := t.login(t.anchor, ckuUser, "token "+quote(t.seen.Load().info.Label)); err != nil {
			return nil, t.generation, err
		}
		t.authenticated = true
	}
	if n := len(t.idle); n > 0 {
		s := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return s, t.generation, nil
	}
	h, err := t.mod.api.OpenSession(t.seen.Load().slot)
	if err != nil {
		return nil, t.generation, called("C_OpenSession", err)
	}
	return &session{h, t.generation}, t.generation, nil
}

// giveBack takes a session back after an operation, which an error has left in
// an unknown state.
func (t *Token) giveBack(s *session, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case sessionGone(err):
	case err != nil || s.generation != t.generation:
		_ = t.mod.api.CloseSession(s.h)
	default:
		t.idle = append(t.idle, s)
	}
}

// lost reports whether err, of an operation in a generation, is one that goes
// away when the token is looked for again, and prepares for that.
func (t *Token) lost(generation uint64, err error) bool {
	noLogin := isOneOf(err, rvUserNotLoggedIn)
	if !noLogin && !sessionGone(err) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if generation != t.generation || !t.connected {
		return true // somebody else has seen it
	}
	if noLogin {
		t.authenticated = false
		t.closeIdle()
		t.generation++
		return true
	}
	if t.mod.api.CheckSession(t.anchor) == nil {
		return true // that one session alone
	}
	// The removal of a token closes its sessions. Their handles may be in use
	// for new ones.
	t.idle, t.connected, t.authenticated = nil, false, false
	t.generation++
	return true
}

// login shows the PIN to the token, once.
func (t *Token) login(s handle, user uint, what string) error {
	t.pinMu.Lock()
	defer t.pinMu.Unlock()
	seen := t.seen.Load()
	if seen.info.PINPad {
		err := t.mod.api.Login(s, user, nil)
		if isOneOf(err, rvUserAlreadyLoggedIn) && user == ckuUser {
			return nil
		}
		return called("C_Login", err)
	}
	if t.pin == nil {
		return keystore.ErrPassphraseNeeded
	}
	if _, flags, err := t.mod.api.Token(seen.slot); err == nil && flags&ckfUserPINFinalTry != 0 {
		what += ", the last try before it locks"
	}
	pin, err := t.pin(what)
	if err != nil {
		return fmt.Errorf("asking for the PIN: %w", err)
	}
	name := seen.info.URI().String()
	if t.mod.pins.wasRefused(name, pin) {
		return keystore.ErrPassphrase
	}
	err = t.mod.api.Login(s, user, pin)
	switch {
	case err == nil:
		t.mod.pins.take(name, pin)
	case isOneOf(err, rvPINIncorrect):
		t.mod.pins.refuse(name, pin)
	case user == ckuUser && isOneOf(err, rvUserAlreadyLoggedIn):
		// A login is that of the whole process, and the token does not look at
		// the PIN. Who does not know it does not get in by that of another part.
		if t.mod.pins.differs(name, pin) {
			return keystore.ErrPassphrase
		}
		return nil
	}
	return called("C_Login", err)
}

// keyError is the error of an operation with a key.
func (t *Token) keyError(err error) error {
	if err == nil || errors.As(err, new(*KeyError)) {
		return err
	}
	return &KeyError{Name: t.seen.Load().info.URI().Name(), Err: exported(err)}
}

// quote makes a label fit for people, who get to see it when they are asked for
// a PIN.
func quote(label string) string { return strconv.QuoteToGraphic(label) }
