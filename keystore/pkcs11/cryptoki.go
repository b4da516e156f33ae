package pkcs11

import (
	"crypto"
	"errors"
	"fmt"
)

// A cryptoki is a module: the functions of PKCS #11 that this package needs.
// Their errors are of type rv where the module refused. Several goroutines call
// it at the same time, one for each session.
type cryptoki interface {
	Initialize() error
	Finalize() error
	Library() (Library, error)
	Slots() ([]uint, error) // those with a token in them
	Slot(slot uint) (Slot, error)
	Token(slot uint) (TokenInfo, uint, error) // without Library and Slot, and the flags
	MechanismFlags(slot, mechanism uint) (uint, error)

	OpenSession(slot uint) (handle, error)
	CloseSession(s handle) error
	CheckSession(s handle) error // C_GetSessionInfo
	Login(s handle, user uint, pin []byte) error

	Find(s handle, template []attr, most int) ([]object, error)
	Attribute(s handle, o object, kind uint) ([]byte, error)

	SignInit(s handle, m mechanism, key object) error
	Sign(s handle, data []byte) ([]byte, error)
	DecryptInit(s handle, m mechanism, key object) error
	Decrypt(s handle, data []byte) ([]byte, error)
	// Agree is C_DeriveKey with CKM_ECDH1_DERIVE and CKD_NULL, for a secret of
	// size octets, which it returns (and destroys in the module).
	Agree(s handle, key object, public []byte, size int) ([]byte, error)
}

type (
	handle uint // of a session
	object uint // the handle of an object
)

// An attr is an attribute in a template. The value is a uint or octets.
type attr struct {
	kind  uint
	num   uint
	bytes []byte
}

// A mechanism with its parameters, if it has any.
type mechanism struct {
	id   uint
	hash crypto.Hash // CKM_RSA_PKCS_OAEP and CKM_RSA_PKCS_PSS
	mgf  crypto.Hash
	salt int    // CKM_RSA_PKCS_PSS
	data []byte // the label of CKM_RSA_PKCS_OAEP
}

// Constants of PKCS #11.
const (
	ckmRSAPKCS     = 0x1
	ckmRSAX509     = 0x3
	ckmRSAPKCSOAEP = 0x9
	ckmRSAPKCSPSS  = 0xD
	ckmECDSA       = 0x1041
	ckmEDDSA       = 0x1057

	ckfDecrypt = 0x200 // of mechanisms
	ckfSign    = 0x800

	ckfLoginRequired      = 0x4 // of tokens
	ckfProtectedPath      = 0x100
	ckfTokenInitialized   = 0x400
	ckfUserPINFinalTry    = 0x20000
	ckfUserPINLocked      = 0x40000
	ckuUser               = 1
	ckuContextSpecific    = 2
	ckoCertificate        = 1
	ckoPublicKey          = 2
	ckoPrivateKey         = 3
	ckkRSA                = 0
	ckkEC                 = 3
	ckkEdwards            = 0x40
	ckkMontgomery         = 0x41
	ckaClass              = 0x0
	ckaLabel              = 0x3
	ckaValue              = 0x11
	ckaKeyType            = 0x100
	ckaID                 = 0x102
	ckaModulus            = 0x120
	ckaPublicExponent     = 0x122
	ckaECParams           = 0x180
	ckaECPoint            = 0x181
	ckaAlwaysAuthenticate = 0x202
)

// An rv is what a function of a module returns when it fails (CK_RV).
type rv uint

const (
	rvSlotIDInvalid           rv = 0x3
	rvArgumentsBad            rv = 0x7
	rvAttributeSensitive      rv = 0x11
	rvAttributeTypeInvalid    rv = 0x12
	rvFunctionNotSupported    rv = 0x54
	rvKeyHandleInvalid        rv = 0x60
	rvKeyTypeInconsistent     rv = 0x63
	rvKeyFunctionNotPermitted rv = 0x68
	rvMechanismInvalid        rv = 0x70
	rvMechanismParamInvalid   rv = 0x71
	rvObjectHandleInvalid     rv = 0x82
	rvPINIncorrect            rv = 0xA0
	rvPINInvalid              rv = 0xA1
	rvPINLenRange             rv = 0xA2
	rvPINExpired              rv = 0xA3
	rvPINLocked               rv = 0xA4
	rvSessionClosed           rv = 0xB0
	rvSessionHandleInvalid    rv = 0xB3
	rvDeviceRemoved           rv = 0x32
	rvTokenNotPresent         rv = 0xE0
	rvTokenNotRecognized      rv = 0xE1
	rvUserAlreadyLoggedIn     rv = 0x100
	rvUserNotLoggedIn         rv = 0x101
	rvUserPINNotInitialized   rv = 0x102
	rvCryptokiNotInitialized  rv = 0x190
	rvAlreadyInitialized      rv = 0x191
)

var rvNames = map[rv]string{
	0x1: "CKR_CANCEL", 0x2: "CKR_HOST_MEMORY", rvSlotIDInvalid: "CKR_SLOT_ID_INVALID", 0x5: "CKR_GENERAL_ERROR",
	0x6: "CKR_FUNCTION_FAILED", rvArgumentsBad: "CKR_ARGUMENTS_BAD", 0xA: "CKR_CANT_LOCK",
	rvAttributeSensitive: "CKR_ATTRIBUTE_SENSITIVE", rvAttributeTypeInvalid: "CKR_ATTRIBUTE_TYPE_INVALID",
	0x20: "CKR_DATA_INVALID", 0x21: "CKR_DATA_LEN_RANGE", 0x30: "CKR_DEVICE_ERROR", 0x31: "CKR_DEVICE_MEMORY",
	rvDeviceRemoved: "CKR_DEVICE_REMOVED", 0x40: "CKR_ENCRYPTED_DATA_INVALID", 0x41: "CKR_ENCRYPTED_DATA_LEN_RANGE",
	0x50: "CKR_FUNCTION_CANCELED", rvFunctionNotSupported: "CKR_FUNCTION_NOT_SUPPORTED",
	rvKeyHandleInvalid: "CKR_KEY_HANDLE_INVALID", 0x62: "CKR_KEY_SIZE_RANGE", rvKeyTypeInconsistent: "CKR_KEY_TYPE_INCONSISTENT",
	rvKeyFunctionNotPermitted: "CKR_KEY_FUNCTION_NOT_PERMITTED", rvMechanismInvalid: "CKR_MECHANISM_INVALID",
	rvMechanismParamInvalid: "CKR_MECHANISM_PARAM_INVALID", rvObjectHandleInvalid: "CKR_OBJECT_HANDLE_INVALID",
	0x90: "CKR_OPERATION_ACTIVE", 0x91: "CKR_OPERATION_NOT_INITIALIZED", rvPINIncorrect: "CKR_PIN_INCORRECT",
	rvPINInvalid: "CKR_PIN_INVALID", rvPINLenRange: "CKR_PIN_LEN_RANGE", rvPINExpired: "CKR_PIN_EXPIRED",
	rvPINLocked: "CKR_PIN_LOCKED", rvSessionClosed: "CKR_SESSION_CLOSED", 0xB1: "CKR_SESSION_COUNT",
	rvSessionHandleInvalid: "CKR_SESSION_HANDLE_INVALID", rvTokenNotPresent: "CKR_TOKEN_NOT_PRESENT",
	rvTokenNotRecognized: "CKR_TOKEN_NOT_RECOGNIZED", rvUserAlreadyLoggedIn: "CKR_USER_ALREADY_LOGGED_IN",
	rvUserNotLoggedIn: "CKR_USER_NOT_LOGGED_IN", rvUserPINNotInitialized: "CKR_USER_PIN_NOT_INITIALIZED",
	0x103: "CKR_USER_TYPE_INVALID", rvCryptokiNotInitialized: "CKR_CRYPTOKI_NOT_INITIALIZED",
	rvAlreadyInitialized: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
}

// Error returns the name of the value.
func (r rv) Error() string {
	if name, ok := rvNames[r]; ok {
		return name
	}
	return fmt.Sprintf("CKR 0x%X", uint(r))
}

// isOneOf reports whether err is one of the values.
func isOneOf(err error, values ...rv) bool {
	var r rv
	if !errors.As(err, &r) {
		return false
	}
	for _, v := range values {
		if r == v {
			return true
		}
	}
	return false
}

// callError says in which function a module failed. It wraps the rv.
type callError struct {
	function string
	err      rv
}

func (e *callError) Error() string { return e.function + ": " + e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

// called adds the name of the function to an error of a module.
func called(function string, err error) error {
	if r, ok := err.(rv); ok {
		return &callError{function, r}
	}
	return err
}

// sessionGone reports whether err says that a session is not there any more,
// or its token.
func sessionGone(err error) bool {
	return isOneOf(err, rvSessionHandleInvalid, rvSessionClosed, rvDeviceRemoved, rvTokenNotPresent, rvTokenNotRecognized,
		rvSlotIDInvalid, rvCryptokiNotInitialized)
}

func objectGone(err error) bool { return isOneOf(err, rvKeyHandleInvalid, rvObjectHandleInvalid) }

// mechanismRefused reports whether err, of the start of an operation, says that
// another mechanism may do.
func mechanismRefused(err error) bool {
	return isOneOf(err, rvMechanismInvalid, rvMechanismParamInvalid, rvArgumentsBad, rvFunctionNotSupported,
		rvKeyFunctionNotPermitted, rvKeyTypeInconsistent)
}
