// Package dnsclient asks a validating DNS resolver. A [Client] is a
// dane.Resolver.
//
// It implements what a stub resolver has to do of RFC 1035, RFC 4035, Section 4.9,
// and RFC 6840, Section 5.7 (the AD bit), RFC 6891 (EDNS), RFC 7766 (TCP), RFC 2308
// (answers that there is nothing) and RFC 8914 (extended errors). It does not
// validate signatures itself.
//
// # Security
//
// The AD bit of an answer says that the resolver has validated it, and anybody
// between the resolver and here can set it. It is believed from loopback
// addresses, and from others only if [Options.DangerouslyTrust] names them. A
// program on the loopback address that passes on answers of others has to be one
// that clears the bit unless it can answer for it.
//
// When one of the servers is trusted, no other is asked: else, whoever silences
// the trusted one could make answers lose their security.
//
// Against forged answers, every question has a port and an identifier of its own
// and letters in random case; answers that do not repeat all of this are passed
// over. An answer has at most 65,535 octets, and an alias at most 10 steps.
//
// That signatures do not hold is told by a resolver as a failure. It is told from
// other failures by an extended error code or, where there is none, by asking
// again for what was not validated, which is then thrown away.
//
// # Compatibility
//
// A resolver that does not keep the case of letters is asked again over TCP.
// Nothing is kept for later questions: that is the resolver's work.
package dnsclient
