package pkcs11

import (
	"errors"

	"github.com/postseal/postseal/keystore"
)

// Options say how a token is opened. Nil is the zero value. They are copied.
type Options struct {
	// Module is the path of the module. "": what the URI says (module-path,
	// module-name). A URI that names another one is then refused.
	Module string

	// ModuleDirs are the folders in which a module-name is looked for, as
	// "softhsm2" for libsofthsm2.so. Nil: the usual folders of the system.
	ModuleDirs []string

	// PIN is asked for the PIN if the URI has no pin-source; never by two
	// goroutines at the same time for one Token. What it is told names the
	// token, or the key if that wants the PIN for itself, and says when it is
	// the last try. It is not asked where the token has a PIN pad. Nil: there is
	// nobody to ask.
	PIN keystore.Passphrase

	// AllowPINInURI lets the PIN stand in the URI (pin-value), which RFC 7512,
	// Section 2.4, advises against: command lines and configurations are seen
	// by others.
	AllowPINInURI bool

	// Sessions bounds the number of operations at the same time. 0: 4. Further
	// ones wait.
	Sessions int
}

// Open opens the token that a URI names, of which there must be exactly one.
// Attributes of objects (object, id, type) choose among the identities on it.
// Nobody is asked for the PIN yet. The caller closes the token.
//
// The error is a [*SyntaxError] or a [*keystore.FileError] with the URI, less
// its query, as its name.
func Open(uri string, opts *Options) (*Token, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	t, err := open(u, o)
	return t, fileError(u, err)
}

func open(u *URI, o Options) (*Token, error) {
	pin, err := u.pinFrom(o.PIN, o.AllowPINInURI)
	if err != nil {
		return nil, err
	}
	if !built {
		return nil, ErrNotBuilt // whether the module is there or not
	}
	path, err := u.modulePath(o.Module, o.ModuleDirs)
	if err != nil {
		return nil, err
	}
	m, err := acquire(path, loadModule)
	if err != nil {
		return nil, err
	}
	t, err := newToken(m, u, pin, o.Sessions)
	if err != nil {
		return nil, errors.Join(err, m.release())
	}
	return t, nil
}

// List returns the tokens that are there and that a URI names, without logging
// in to any. None and nil mean that there is none. The PIN and Sessions of the
// options are not looked at. The error is as that of Open.
func List(uri string, opts *Options) ([]TokenInfo, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if !built {
		return nil, fileError(u, ErrNotBuilt)
	}
	path, err := u.modulePath(o.Module, o.ModuleDirs)
	if err != nil {
		return nil, fileError(u, err)
	}
	m, err := acquire(path, loadModule)
	if err != nil {
		return nil, fileError(u, err)
	}
	found, err := m.tokens(u)
	if err = errors.Join(err, m.release()); err != nil {
		return nil, fileError(u, err)
	}
	infos := make([]TokenInfo, 0, len(found))
	for _, f := range found {
		infos = append(infos, f.info)
	}
	return infos, nil
}

// fileError names what an error is about.
func fileError(u *URI, err error) error {
	if err == nil {
		return nil
	}
	return &keystore.FileError{Name: u.Name(), Err: exported(err)}
}

// exported makes an error of a module one of the exported ones.
func exported(err error) error {
	var call *callError
	if !errors.As(err, &call) {
		return err
	}
	switch call.err {
	case rvPINIncorrect, rvPINInvalid, rvPINLenRange:
		// Those of a wrong length too: they were the user's PIN.
		return keystore.ErrPassphrase
	case rvPINLocked:
		return ErrLocked
	case rvPINExpired, rvUserPINNotInitialized:
		return ErrPINChange
	case rvTokenNotPresent, rvTokenNotRecognized, rvDeviceRemoved, rvSlotIDInvalid:
		return ErrNoToken
	}
	return &ModuleError{Function: call.function, Code: uint(call.err), Text: call.err.Error()}
}
