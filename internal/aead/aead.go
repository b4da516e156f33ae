// Package aead drives AES-GCM and ChaCha20-Poly1305 as streams: messages of any
// size in constant memory, where crypto/cipher.AEAD wants a message whole.
//
// It implements GCM of NIST SP 800-38D, as RFC 5084 uses it in the Cryptographic
// Message Syntax, and RFC 8439 as RFC 8103 does.
//
// # Security
//
// Opening is two passes over the ciphertext: Absorb takes all of it into the
// authenticator, the caller compares Tag in constant time with the tag that came
// with the message, and only then may Open decrypt. A Stream cannot tell whether
// the tag was compared: that is the promise the caller makes. Who opens before
// keeps what comes of it from everybody until the tag has been compared.
//
// A key and nonce seal one message. Neither the key nor the content chooses an
// address in the code of this package, nor a branch but for one: whether a value
// of 128 bits is zero, which it is by chance alone.
package aead

import "errors"

var (
	// ErrLimit says that a message is longer than its cipher can take under one
	// nonce. The octets that would have passed the limit were not processed.
	ErrLimit = errors.New("aead: the message is longer than the cipher can take")
	// ErrLateAAD says that Tag was given other additional data than the cipher
	// was set up with: ChaCha20-Poly1305 needs it before the content.
	ErrLateAAD = errors.New("aead: the additional data differs from what came before the content")
	// ErrOrder says that calls came in an order in which they have no meaning:
	// content after the tag, a second tag, or Seal and Absorb on one stream.
	ErrOrder = errors.New("aead: calls in the wrong order")
	// ErrKeySize says that a key does not have a size of its cipher.
	ErrKeySize = errors.New("aead: the key has an unsuitable size")
	// ErrNonceSize says that a nonce does not have a size of its cipher.
	ErrNonceSize = errors.New("aead: the nonce has an unsuitable size")
	// ErrShortDst says that the destination is shorter than the source.
	ErrShortDst = errors.New("aead: the destination is shorter than the source")
)

// TagSize is the size of a tag in octets. CMS may carry fewer of the first octets
// of a GCM tag; cutting is the caller's.
const TagSize = 16

// A Stream is one message under one key and nonce: either sealed, with Seal and
// then Tag, or opened, with Absorb, Tag and then Open. The calls of a method may
// split the message anywhere. A Stream is not safe for concurrent use.
type Stream interface {
	// Seal encrypts src into dst and takes the ciphertext into the authenticator.
	// dst is at least as long as src, and the two are the same octets or do not
	// overlap. The errors are ErrLimit, ErrShortDst and ErrOrder (after Absorb or
	// Tag); after ErrLimit the stream refuses more.
	Seal(dst, src []byte) error
	// Absorb takes ciphertext into the authenticator without decrypting it: the
	// first pass of opening. The errors are ErrLimit and ErrOrder (after Seal or
	// Tag).
	Absorb(ciphertext []byte) error
	// Tag returns the tag over aad and all that was sealed or absorbed. It may be
	// called once; a second call is ErrOrder. See LateAAD for when aad must be known.
	Tag(aad []byte) ([TagSize]byte, error)
	// Open decrypts the next octets of the message into dst: the second pass,
	// after the caller has compared the tag. Its position is its own: it starts
	// at the first octet, whatever was absorbed. dst and src are as for Seal; the
	// errors are ErrLimit and ErrShortDst.
	Open(dst, src []byte) error
	// OpenAt decrypts the octets of the message from off on into dst, also after
	// the caller has compared the tag. It changes nothing in the stream and may be
	// called by several goroutines, when no other method is called. dst and src
	// are as for Seal; the errors are ErrLimit and ErrShortDst.
	OpenAt(dst, src []byte, off int64) error
	// LateAAD tells whether the additional data may be given to Tag alone, after
	// the content, as GCM allows; if not, Tag wants again what was given at the
	// construction and refuses anything else with ErrLateAAD.
	LateAAD() bool
}

// use is what a stream has been used for.
type use uint8

const (
	unused use = iota
	sealing
	absorbing
	tagged
	failed // past the limit
)

// enter moves the use to one of sealing and absorbing.
func (u *use) enter(to use) error {
	switch *u {
	case unused, to:
		*u = to
		return nil
	case failed:
		return ErrLimit
	default:
		return ErrOrder
	}
}

// finish moves the use to tagged.
func (u *use) finish() error {
	switch *u {
	case tagged:
		return ErrOrder
	case failed:
		return ErrLimit
	default:
		*u = tagged
		return nil
	}
}
