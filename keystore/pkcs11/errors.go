package pkcs11

import (
	"errors"
	"fmt"
)

// Errors that a [*keystore.FileError] with the URI as its name wraps, beside
// those of package keystore: ErrPassphrase for a wrong PIN,
// ErrPassphraseNeeded, ErrNoKey, ErrNoCertificate and ErrNoMatch.
var (
	// ErrNotBuilt says that the program was built without PKCS #11.
	ErrNotBuilt = errors.New("this program was built without PKCS #11; build it with CGO_ENABLED=1 and -tags pkcs11")
	// ErrNoModule says that neither the URI nor the options name a module, or
	// that there is none of that name.
	ErrNoModule = errors.New("there is no such PKCS #11 module")
	// ErrOtherModule says that the URI names another module than the options.
	ErrOtherModule = errors.New("the URI names another PKCS #11 module than the one that is allowed")
	// ErrNoToken says that no token is there that the URI names.
	ErrNoToken = errors.New("there is no such token")
	// ErrSeveralTokens says that the URI names more than one token that is there.
	ErrSeveralTokens = errors.New("there are several such tokens")
	// ErrLocked says that the PIN is locked, after too many wrong ones.
	ErrLocked = errors.New("the PIN of the token is locked")
	// ErrPINChange says that the token wants another PIN to be set before it
	// does anything: it has expired, or was never set.
	ErrPINChange = errors.New("the PIN of the token has to be changed or set first")
	// ErrPINInURI says that a URI has the PIN in it, which
	// Options.AllowPINInURI does not allow.
	ErrPINInURI = errors.New("the URI has the PIN in it, which is not allowed")
	// ErrPINSource says that a PIN cannot be had from where the URI says.
	ErrPINSource = errors.New("the PIN cannot be read from the pin-source of the URI")
	// ErrTooMany says that a token has more objects than this package reads.
	ErrTooMany = errors.New("there are too many objects on the token")
	// ErrClosed says that the Token was closed.
	ErrClosed = errors.New("the token was closed")
)

// A SyntaxError says what is wrong with a URI. It has nothing of its values in
// it, which may be secret.
type SyntaxError struct {
	Offset int    // in octets
	What   string // such as "attribute"
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed PKCS #11 URI: %s at octet %d", e.What, e.Offset)
}

// A ModuleError is what a module answered that is not one of the errors above.
type ModuleError struct {
	Function string // of PKCS #11, such as "C_Sign"
	Code     uint   // CK_RV
	Text     string // the name of Code
}

func (e *ModuleError) Error() string { return fmt.Sprintf("%s: %s (0x%X)", e.Function, e.Text, e.Code) }

// A KeyError says that a key could not be used, for a reason that has nothing
// to do with what was to be signed or decrypted: the token is gone, the key is
// not on it any more, the PIN is wrong or locked, or the module failed.
type KeyError struct {
	Name string // of the token, as a URI
	Err  error
}

func (e *KeyError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *KeyError) Unwrap() error { return e.Err }

// KeyUnavailable returns true. It tells this error from those about the data
// without a need for this package.
func (e *KeyError) KeyUnavailable() bool { return true }
