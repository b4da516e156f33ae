// Package keystore reads identities, that is private keys with their
// certificates, and certificates of others from the files in which people have
// them: PEM, DER, PKCS#8, PKCS#12 and certs-only PKCS#7.
//
// It implements PKCS#8 (RFC 5208, RFC 5958), PKCS#1 (RFC 8017), SEC 1 private
// keys (RFC 5915), the keys of RFC 8410, password-based encryption (RFC 8018,
// with scrypt of RFC 7914), the encryption of old PEM files (RFC 1421 and
// OpenSSL), PKCS#12 (RFC 7292) with PBMAC1 (RFC 9579), and the certificates in
// a PKCS#7 file (RFC 5652, Section 5; RFC 8551, Section 3.8).
//
// # Security
//
// Errors have no secrets in them. A wrong passphrase is [ErrPassphrase] and
// nothing more. The work that a file can ask for is bounded: 10,000,000
// iterations for a passphrase and twice that for a file, 256 MiB of memory for
// scrypt, 16,384 bits for an RSA key. The integrity of a PKCS#12 file is
// checked before its contents are read, where it has a MAC. The size of a file
// is for the caller to bound.
//
// # Compatibility
//
// Files may be in BER where the standard says DER. Old and weak ciphers (DES,
// RC2, RC4) are read, so that old files can be, and never written.
package keystore
