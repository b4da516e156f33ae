package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
)

// A vault has the keys of an account while somebody is logged in who has their
// password. The zero value is ready; it is safe for concurrent use.
type vault struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*unlocked // by a keyed hash of the password
}

// unlocked are keys, and how many connections use them.
type unlocked struct {
	keys  *keys
	users int
}

// hashKey makes the hashes of passwords ones of this process alone.
var hashKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	return key
})

// unlocking bounds how many passphrases are tried at the same time: each takes
// much memory.
var unlocking = make(chan struct{}, 2)

// acquire returns the keys for a password, which try unlocks unless somebody has.
// release gives them back.
func (v *vault) acquire(ctx context.Context, password []byte, try func() (*keys, error)) (k *keys, release func(), err error) {
	mac := hmac.New(sha256.New, hashKey())
	mac.Write(password)
	id := [sha256.Size]byte(mac.Sum(nil))
	v.mu.Lock()
	defer v.mu.Unlock()
	u := v.open[id]
	if u == nil {
		select {
		case unlocking <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		k, err = try()
		<-unlocking
		if err != nil {
			return nil, nil, err
		}
		u = &unlocked{keys: k}
		if v.open == nil {
			v.open = make(map[[sha256.Size]byte]*unlocked)
		}
		v.open[id] = u
	}
	u.users++
	return u.keys, sync.OnceFunc(func() { v.release(id, u) }), nil
}

// release locks keys that nobody uses any more.
func (v *vault) release(id [sha256.Size]byte, u *unlocked) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u.users--; u.users == 0 && v.open[id] == u {
		delete(v.open, id)
		_ = u.keys.close() // nothing was written
	}
}

// close locks all keys.
func (v *vault) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, u := range v.open {
		errs = append(errs, u.keys.close())
	}
	v.open = nil
	return errors.Join(errs...)
}
