// Package pkcs11 makes identities of the certificates and private keys on
// PKCS #11 tokens: smart cards, USB keys, hardware and software security
// modules. Tokens and objects are named by "pkcs11:" URIs (RFC 7512).
//
//	token, err := pkcs11.Open("pkcs11:token=Alice?module-name=opensc-pkcs11", &pkcs11.Options{PIN: ask})
//	...
//	defer token.Close()
//	ids, err := token.Identities()
//
// The keys never leave the token. They implement [crypto.Signer]; those for
// RSA [crypto.Decrypter] and those for elliptic curves [ecdh.KeyExchanger]
// besides (or [BrainpoolKey.AgreeWith]), so that package cms signs and decrypts with them as with keys in
// files. They can be used by several goroutines at the same time, until the
// token is closed.
//
// # Building
//
// [URI] and its functions are always there. Tokens need cgo: a program that is
// to open them is built with
//
//	CGO_ENABLED=1 go build -tags pkcs11
//
// In a program that is built otherwise [Open] and [List] return [ErrNotBuilt].
//
// # Security
//
// A module is a shared library, and loading it runs its code in this process.
// So a URI that names a module is as good as a program: where URIs come from
// others, set Options.Module, which makes those that name another module an
// error.
//
// The PIN is asked for when the token has to be logged in to, and not kept:
// after the token was away, and for keys that want the PIN for each use, it is
// asked for again. A PIN that a token has refused is not shown to that token
// again by this process, since tokens lock themselves after a few wrong ones.
// PINs are in no error and in no text of a URI. Modules know applications and
// not their parts: when one Token is logged in, so are all of this process for
// the same token, until the last of them is closed. As the token looks at no PIN
// meanwhile, one that differs from the PIN that it took is refused here; so is one
// that somebody else has set since.
//
// The padding of RSA decryption is checked here in constant time, on the raw
// result, if the token computes that (CKM_RSA_X_509), so that not even the
// token says whether it was good; else it is left to the token. See
// [RSAKey.Decrypt]. Signatures are verified before they are returned.
//
// # Compatibility
//
// Tokens in use differ in what they tell of a key. What belongs together is
// found by public key, and by CKA_ID where the token does not show it.
// RSASSA-PSS, and RSAES-OAEP with other hashes than SHA-1, are computed here
// from the raw operation where the token has only that.
//
// softhsm2 up to 2.6 by itself decrypts RSAES-OAEP with SHA-1 for both hashes
// and without a label alone; it has the raw operation, so that here all hashes
// and labels work with it. Where a token has neither, messages with RSAES-OAEP
// and SHA-256 end in a [*KeyError] with CKR_ARGUMENTS_BAD or
// CKR_MECHANISM_PARAM_INVALID. Keys for elliptic curves need CKA_DERIVE to
// decrypt, which softhsm2-util leaves off when it imports them: the token then
// answers CKR_KEY_FUNCTION_NOT_PERMITTED.
package pkcs11
