// Package ca is a small certification authority for S/MIME: it makes roots and
// issuing CAs, issues certificates, and signs CRLs and OCSP responses.
//
// It implements the certificate and CRL profiles of RFC 5280, the S/MIME
// certificates of RFC 8550 with the internationalised addresses of RFC 9598, the
// keys of RFC 3279, RFC 5480 and RFC 8410, requests of RFC 2986, the OCSP
// responder's side of RFC 6960, RFC 5019 and RFC 9654, and encrypted private
// keys of RFC 5958 and RFC 8018. The S/MIME baseline requirements of the
// CA/Browser Forum are its check list. ML-DSA and ML-KEM are not supported.
//
// # Security
//
// Of a certificate request nothing but the key and the addresses is used.
// Serial numbers have 127 random bits. Time is given by the caller. Who may have
// a certificate, and where keys and records are kept, is for the caller to
// decide: the package reads and writes no files.
//
// # Compatibility
//
// The encodings are DER. Domains are in their ASCII form; local parts may be in
// UTF-8. An [Authority] and a [Responder] may be used by several goroutines.
package ca
