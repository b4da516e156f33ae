// Package pki reads X.509 certificates as they are found in mail: their names,
// keys and extensions, including those of certificates that crypto/x509
// refuses.
//
// It implements the certificate format, names and path validation of RFC 5280
// (with the policies of RFC 9618 and the constraints of trust anchors of RFC
// 5937), the public keys of RFC 3279, RFC 4055, RFC 5480, RFC 5639, RFC 8410, RFC
// 9881, RFC 9909 and RFC 9935, the S/MIME certificate rules of RFC 8550 and the
// internationalised addresses of RFC 9598.
//
// # Security
//
// A parsed [Certificate] says what the octets say and nothing about trust.
// Trust comes from [Roots.Verify] alone, which never falls back to the roots of
// the operating system: no roots means that nothing is trusted.
//
// The work of [Roots.Verify] is bounded in signatures, paths, names and policies,
// whatever certificates a stranger sends. Algorithms that are too weak are
// refused, unless [ChainOptions.Allow] has them.
//
// Parameters of an elliptic curve that are written out are accepted only as
// another way to name a curve that is known: all of them have to be its own.
//
// Text from a certificate that is meant for people ([Certificate.Subject],
// [Certificate.Issuer], [Certificate.CommonName] and the sentences of errors)
// has its control and formatting characters escaped.
//
// # Compatibility
//
// The parser asks for the shape of a certificate and DER lengths, and for
// little else. Negative or padded serial numbers, odd times, unknown keys and
// broken extensions do not make it fail; they are told in
// [Certificate.Problems] and [Certificate.KeyErr].
//
// A [Certificate] and [Roots] are not changed after they were made, and may be
// used by several goroutines.
package pki
