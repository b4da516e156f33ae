// Package store keeps identities and correspondents' certificates in a file of
// the user's: an SQLite database, with private keys encrypted.
//
// [Open] opens or makes a store. It holds identities (a certificate, its chain
// and its private key), and for every mail address of a correspondent the
// certificates that are known, where they came from, when they were seen, what
// the user decided about them by hand, and the ciphers that the correspondent
// can read. [Store.Find] makes it a source of certificates
// ([keystore.Finder]); [Harvest] fills it from verified signed messages by the
// rules of RFC 8551, Sections 2.5.2 and 2.5.3.
//
// # Security
//
// A private key is stored as PKCS #8 (RFC 5958), encrypted with AES-256-GCM
// under the data key of the store, which is random. The data key is stored
// under a [Wrapper], which is usually a [Passphrase] by Argon2id (RFC 9106). A
// wrong passphrase is [keystore.ErrPassphrase] and nothing more. Private keys
// cannot be exchanged within the store unnoticed. Nothing else is encrypted or
// authenticated: whoever may write the file can add certificates to it. So the
// file is made for its owner alone, in a folder for its owner alone, and a file
// that others may read or write is refused with [ErrExposed], and one in a folder
// that everybody may write to with [ErrFolder], where the operating system has
// file modes. Keys that were removed, and those under an old passphrase, are
// overwritten in the files, which says nothing about copies of them and about
// what a disk keeps.
//
// The store does not judge whether a certificate leads to a root. Certificates
// that are found are candidates, and those that are added are trusted only
// where the user said so by hand.
//
// Private keys are decrypted when they are used. With Options.Remember they stay in
// memory for so long, as the data key does, unless the store is changed or closed
// before: then nobody gets them any more.
//
// Errors have no secrets in them, and the statements of the database no text of
// the caller's.
//
// # Compatibility
//
// The file is an SQLite 3 database in WAL mode. Several processes may use it at
// once: readers do not wait, writers wait for each other. A write that was
// reported as done stays, whatever ends the process or the machine; one that
// was not is there wholly or not at all. The file must be on a disk of this
// machine: SQLite's WAL mode does not work over a network. A store that a newer
// version has written is refused with a [*NewerError].
//
// A Store is safe for concurrent use.
package store
