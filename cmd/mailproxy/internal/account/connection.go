package account

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/smtpproxy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/smime"
)

// A Connection is what one client may use of the accounts, once it has logged in.
// Close must be called. It is safe for concurrent use.
type Connection struct {
	set *Set
	log *slog.Logger

	mu      sync.Mutex
	account *account // that keys are of
	keys    *keys
	release func()
}

// Connection returns what a new connection may use: nothing that is unlocked by
// logins, yet.
func (s *Set) Connection(log *slog.Logger) *Connection { return &Connection{set: s, log: log} }

// LoggedIn unlocks the keys of an account, where a login does that. The password
// is nil where it could not be seen. It is that of smtpproxy.Proxy and
// imapproxy.Proxy.
func (c *Connection) LoggedIn(login string, password []byte) {
	a := c.set.byName[login]
	if a == nil || a.keys != nil {
		return
	}
	if password == nil {
		c.log.Warn("the keys of an account stay locked: the login shows no password", "account", login)
		return
	}
	ctx, cancel := context.WithTimeout(c.set.ctx, timeout)
	defer cancel()
	keys, release, err := a.vault.acquire(ctx, password, func() (*keys, error) {
		once := newOnce(password)
		defer once.forget()
		return unlock(ctx, &a.conf, "", once.say)
	})
	if err != nil {
		c.log.Warn("the keys of an account stay locked", "account", login, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.release != nil {
		c.release()
	}
	c.account, c.keys, c.release = a, keys, release
}

// A once is a password for as long as keys are being unlocked: what they are
// unlocked with may keep the function, and is not to keep the password.
type once struct {
	mu   sync.Mutex
	text []byte
}

func newOnce(password []byte) *once { return &once{text: slices.Clone(password)} }

// say returns a copy of the password, or keystore.ErrPassphraseNeeded later.
func (o *once) say() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text == nil {
		return nil, keystore.ErrPassphraseNeeded
	}
	return slices.Clone(o.text), nil
}

func (o *once) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.text)
	o.text = nil
}

// Close locks what this connection has unlocked, unless another one needs it.
func (c *Connection) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.release != nil {
		c.release()
	}
	c.account, c.keys, c.release = nil, nil, nil
}

// access returns that to the account of a login name, or nil.
func (c *Connection) access(login string) *access {
	a := c.set.byName[login]
	if a == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account == a {
		return &access{a, c.keys}
	}
	return &access{a, a.keys}
}

// Keys is that of smtpproxy.Proxy: nil for a login name that is not configured.
func (c *Connection) Keys(login string) smtpproxy.Keys {
	if a := c.access(login); a != nil {
		return a
	}
	return nil
}

// Options is Open of imapproxy.Proxy: nil for a login name that is not configured.
// The error is ErrLocked, or that of the account's store.
func (c *Connection) Options(login string) (*render.Options, error) {
	if a := c.access(login); a != nil {
		return a.options(c.set.ctx)
	}
	return nil, nil
}

// Secret is that of imapproxy.Proxy: it follows from the account's private keys,
// and is nil where these are on a token or not there.
func (c *Connection) Secret(login string) ([]byte, error) {
	a := c.access(login)
	if a == nil || a.keys == nil {
		return nil, nil
	}
	return a.keys.secret(c.set.ctx)
}

// learnTime bounds what learning from a message may take.
const learnTime = 5 * time.Second

// Learn is that of imapproxy.Proxy: it remembers the certificates of the sender
// of a message that is good, in the store of the account.
func (c *Connection) Learn(login string, m *smime.Message, received time.Time) {
	a := c.set.byName[login]
	if a == nil || a.store == nil || !a.shared.conf.Certificates.Harvest || !m.Trusted {
		return
	}
	address, err := keystore.NormalizeAddress(m.Sender())
	if err != nil || slices.Contains(a.conf.Addresses, address) {
		return
	}
	ctx, cancel := context.WithTimeout(c.set.ctx, learnTime)
	defer cancel()
	trust, err := a.trust(ctx)
	if err != nil {
		c.log.Warn("nothing can be learned from mail", "account", login, "error", err)
		return
	}
	for _, l := range m.Layers {
		for _, result := range l.Signers {
			if l.Err != nil || !result.Trusted || !result.Certificate.HasEmail(address) {
				continue
			}
			changes, herr := store.Harvest(ctx, a.store, &store.Signed{Address: address, Result: result, Certificates: l.Certificates, Received: received, Trust: trust})
			if herr != nil {
				c.log.Warn("the certificates of a message were not remembered", "account", login, "error", herr)
			}
			for _, change := range changes {
				c.log.Info("learned from a message", "account", login, "address", change.Address, "change", change.Kind.String())
			}
		}
	}
}

// locked reports whether the keys of an account wait for a login.
func locked(conf *config.Account) bool { return conf.Unlock == config.UnlockLogin }
