package tls

import (
	"crypto/hkdf"
	"crypto/sha256"
	cryptotls "crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"
)

// What is used of [TicketOptions] that are zero.
const (
	// DefaultTicketPeriod is how long a key makes new tickets.
	DefaultTicketPeriod = 6 * time.Hour
	// DefaultTicketLifetime is how long a ticket opens, at least.
	DefaultTicketLifetime = 24 * time.Hour
)

// minSecret is the least length of a secret, in octets.
const minSecret = 32

// maxTicketKeys bounds the keys that one secret has at a time.
const maxTicketKeys = 256

// maxTicketLifetime is when crypto/tls refuses a ticket itself: RFC 8446, Section
// 4.6.1.
const maxTicketLifetime = 7 * 24 * time.Hour

// TicketOptions say how [Tickets] rotate. All servers that share a secret need
// the same. Zero values are the defaults.
type TicketOptions struct {
	// Period is how long one key makes new tickets; DefaultTicketPeriod when
	// zero, and not less than a minute.
	Period time.Duration
	// Lifetime is how long a ticket opens, at least, and at most a Period longer;
	// DefaultTicketLifetime when zero, at most 7 days and 250 periods.
	Lifetime time.Duration
	// Label tells servers apart that share a secret and are not to take each
	// other's tickets, such as those of different tenants.
	Label string
}

// Tickets make and open the session tickets of servers (RFC 8446, Section 4.6.1;
// RFC 5077), with keys that come from a shared secret and the time. Replicas with
// the same secret agree on the keys without talking to each other, as long as
// their clocks differ by less than a period; a session that began with one is
// resumed by another, also after a restart.
//
// A key makes tickets for one period and is gone from memory when its last ticket
// has ended. But whoever learns the secret can make all keys again: the traffic of
// sessions of TLS 1.2, and 0-RTT data, which this package does not have, would be
// open to him. In TLS 1.3 resumption has a key exchange of its own, and past
// traffic stays secret. Change the secret now and then: [Tickets.SetSecrets] takes
// the new one and still opens what the old one made.
//
// Without Tickets crypto/tls has random keys that rotate daily, of one process.
// Tickets may be used by several goroutines and configurations.
type Tickets struct {
	period int64 // in seconds
	keep   int64 // how many periods before the current one open
	label  string

	mu      sync.Mutex
	secrets [][]byte // the first makes new tickets
	epoch   int64
	keys    *cryptotls.Config // those of epoch
}

// NewTickets makes Tickets from secrets: the first makes new tickets, the tickets
// of all of them open. A secret has at least 32 octets, all of them random; it is
// copied. The error is a *ConfigError.
func NewTickets(secrets [][]byte, opts *TicketOptions) (*Tickets, error) {
	var o TicketOptions
	if opts != nil {
		o = *opts
	}
	if o.Period == 0 {
		o.Period = DefaultTicketPeriod
	}
	if o.Lifetime == 0 {
		o.Lifetime = DefaultTicketLifetime
	}
	if o.Period < time.Minute {
		return nil, &ConfigError{Field: "Period", Problem: "is shorter than a minute"}
	}
	if o.Lifetime < 0 || o.Lifetime > maxTicketLifetime {
		return nil, &ConfigError{Field: "Lifetime", Problem: "is not between nothing and 7 days"}
	}
	t := &Tickets{period: int64(o.Period / time.Second), label: o.Label}
	t.keep = (int64(o.Lifetime/time.Second) + t.period - 1) / t.period
	if t.keep+2 > maxTicketKeys {
		return nil, &ConfigError{Field: "Lifetime", Problem: fmt.Sprintf("has more than %d periods", maxTicketKeys-2)}
	}
	return t, t.SetSecrets(secrets)
}

// SetSecrets takes other secrets, as NewTickets does. With an error nothing has
// changed.
func (t *Tickets) SetSecrets(secrets [][]byte) error {
	if len(secrets) == 0 {
		return &ConfigError{Field: "secrets", Problem: "there is none"}
	}
	if len(secrets) > 8 {
		return &ConfigError{Field: "secrets", Problem: "there are more than 8"}
	}
	own := make([][]byte, len(secrets))
	for i, s := range secrets {
		if len(s) < minSecret {
			return &ConfigError{Field: "secrets", Problem: fmt.Sprintf("one has less than %d octets", minSecret)}
		}
		own[i] = slices.Clone(s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets, t.keys = own, nil
	return nil
}

// Apply has a configuration that nobody uses yet make and open tickets with t. It
// sets WrapSession and UnwrapSession, which a Server and Clone keep.
func (t *Tickets) Apply(c *cryptotls.Config) {
	c.WrapSession = func(state cryptotls.ConnectionState, session *cryptotls.SessionState) ([]byte, error) {
		keys, err := t.current()
		if err != nil {
			return nil, err
		}
		return keys.EncryptTicket(state, session)
	}
	c.UnwrapSession = func(ticket []byte, state cryptotls.ConnectionState) (*cryptotls.SessionState, error) {
		keys, err := t.current()
		if err != nil {
			return nil, err
		}
		return keys.DecryptTicket(ticket, state)
	}
}

// current returns a configuration with the keys of the time. crypto/tls does the
// encryption itself.
func (t *Tickets) current() (*cryptotls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	epoch := time.Now().Unix() / t.period
	if t.keys != nil && t.epoch == epoch {
		return t.keys, nil
	}
	var keys [][32]byte
	// The period after this one may have begun on another clock.
	order := []int64{epoch, epoch + 1}
	for i := int64(1); i <= t.keep; i++ {
		order = append(order, epoch-i)
	}
	for _, secret := range t.secrets {
		for _, e := range order {
			key, err := t.derive(secret, e)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
	}
	t.epoch, t.keys = epoch, new(cryptotls.Config)
	t.keys.SetSessionTicketKeys(keys)
	return t.keys, nil
}

// derive makes the key of a period (RFC 5869).
func (t *Tickets) derive(secret []byte, epoch int64) (key [32]byte, err error) {
	info := binary.BigEndian.AppendUint64([]byte("postseal session ticket key\x00"), uint64(epoch))
	info = binary.BigEndian.AppendUint64(info, uint64(t.period))
	raw, err := hkdf.Key(sha256.New, secret, nil, string(info)+t.label, len(key))
	copy(key[:], raw)
	return key, err
}
