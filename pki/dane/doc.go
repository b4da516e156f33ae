// Package dane reads what the DNS says about certificates (DANE): the records of
// the types TLSA and SMIMEA, how they match certificates, and under which names
// they are. It asks nobody; the interface [Resolver] is what packages that ask
// work with.
//
// It implements RFC 6698 and RFC 7671 (TLSA), with the names of RFC 7218, and RFC
// 8162 (SMIMEA). RFC 7672 (SMTP) and RFC 7673 (SRV) add rules for their protocols,
// which are those of the packages that use this one.
//
// # Security
//
// A record is worth as much as the answer it was in. [Answer.Secure] says whether
// DNSSEC vouches for that; a record from another answer must not be believed. A
// failure is never an empty answer: it is a [*LookupError].
//
// Records that are malformed or of unknown kinds are unusable, which is not an
// error: RFC 6698, Section 4.1 has such records passed over. [Record.Check] tells
// why.
package dane
