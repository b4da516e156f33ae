// Package smimea finds certificates of correspondents in the DNS, where their
// domains publish SMIMEA records, and tells whether such records confirm a
// certificate that was found elsewhere. A [Finder] is a keystore.Finder.
//
// It implements RFC 8162, with the meaning of the usages of RFC 6698 and RFC 7671.
//
// # Security
//
// Only answers that DNSSEC vouches for are believed. From a domain that is not
// signed, or through a resolver that does not validate, nothing can be known; that
// is an error ([InsecureError]), and so is every failure to get an answer. No
// certificates and no error mean that there are none, which DNSSEC has proved.
//
// What the usages lead to:
//
//	DANE-EE (3)  DNSSEC vouches for the certificate, whatever addresses it has
//	DANE-TA (2)  DNSSEC vouches for certificates for the address with a path to
//	             the trust anchor
//	PKIX-EE (1)  the certificate is allowed, and has to have a path to a root
//	PKIX-TA (0)  certificates with a path to the CA are allowed, and this or
//	             another path has to lead to a root
//
// Where there are records that can be used and none matches a certificate, it is
// denied. The times of validity and the usages of certificates bind with every
// record.
//
// Whoever can watch the questions that a resolver asks learns a hash of the
// address, from which common local parts can be guessed (RFC 8162, Section 9).
package smimea
