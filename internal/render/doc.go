// Package render makes of a received S/MIME message the one that a mail client
// sees: opened, with the verdict in its header. The same message, keys and trust
// give the same octets, so that every view of it can come from one rendering.
//
// The verdict stands in an Authentication-Results field (RFC 8601) with the method
// smime (RFC 7281), and in fields that are easier to filter for:
//
//	X-Postseal-Status: encrypted+signed/verified
//	X-Postseal-Signer: alice@example.org
//	X-Postseal-Encryption: aes-256-gcm, authenticated
//	X-Postseal-Problem: the signer is not trusted: ...
//
// The status is a word of RFC 9219. The signer is named only when the signature is
// good and the signer trusted. A message without S/MIME gets none of these fields.
//
// # Security
//
// Fields of these names that a message brings along are removed from every
// message, and so are its Authentication-Results fields with the name of this
// service (RFC 8601, Section 5): what a client sees there is ours. What cannot be
// opened is shown as it is, with the reason; what was decrypted and is not
// authentic is not shown. Renderings are held in memory and in unlinked files,
// encrypted under a key that only this process holds.
package render
