// Package account gives the two protocols of mailproxy what they need of the
// people whose mail they handle: keys to sign and open with, certificates to
// encrypt to, and whom to trust.
//
// Each account has a store (package keystore/store) of its own, which is opened
// and unlocked when the program starts, so that a wrong passphrase is noticed
// then. Keys are used for the account that has logged in at the mail server
// under exactly the configured name, and for its own addresses alone.
package account
