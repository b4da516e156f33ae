// Package account gives the two protocols of mailproxy what they need of the
// people whose mail they handle: keys to sign and open with, certificates to
// encrypt to, and whom to trust.
//
// Keys are in a store (package keystore/store), in files (PKCS #12, PEM), or on a
// token (PKCS #11). They are used for the account that has logged in at the mail
// server under exactly the configured name, and for its own addresses alone.
//
// # Security
//
// The keys of an account are unlocked when the program starts, so that a wrong
// passphrase is noticed then; or by the password of each login, which the mail
// server has accepted, and then for as long as there are connections of that
// account: what is on the disk opens nothing then. The password is not kept; a
// keyed hash of it is, so that further connections need no work. Where a login
// shows no password, as with OAuth, such keys stay locked: mail is neither shown
// nor sent for now, rather than in another form than before.
//
// What was read of a store, and good verdicts on the certificates of recipients, are
// used again for a minute. A key or certificate that is removed or rejected, by this
// process or another, is not used for the next message; a verdict ends with the
// certificates and the revocation information that it rests on.
package account
