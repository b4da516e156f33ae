// Package cms reads and writes the Cryptographic Message Syntax of RFC 5652 as
// a stream: messages of any size, in constant memory, in DER or in any BER.
//
// A message is read with [NewReader] and the method that fits its type:
// [Reader.Verify], [Reader.Decrypt], [Reader.VerifyMAC], [Reader.VerifyDigest],
// [Reader.DecryptWithKey], [Reader.Decompress], [Reader.Data] or
// [Reader.Certificates]. It is written with [Sign], [NewDetachedSigner],
// [Encrypt], [Authenticate], [Digest], [EncryptWithKey], [Compress] or
// [WriteCertificates]. Mail is wrapped and unwrapped by package smime.
//
// # Content types
//
//   - Data, SignedData, EnvelopedData, DigestedData, EncryptedData and
//     AuthenticatedData: RFC 5652
//   - AuthEnvelopedData: RFC 5083, with AES-GCM (RFC 5084) and
//     ChaCha20-Poly1305 (RFC 8103)
//   - CompressedData with zlib: RFC 3274
//
// # Algorithms
//
//   - Signatures: RSA with PKCS #1 v1.5 and PSS padding (RFC 3370, RFC 4056),
//     ECDSA with P-224 to P-521 (RFC 5753), Ed25519 (RFC 8419); digests SHA-2
//     (RFC 5754) and SHA-3 (RFC 9688). By allowance alone, and in reading
//     alone: SHA-1, MD5, MD4, DSA, RSA keys under 2047 bits.
//   - Key transport: RSA with PKCS #1 v1.5 and OAEP padding (RFC 3370, RFC 3560).
//   - Key agreement: ephemeral-static ECDH with P-256, P-384 and P-521 and the
//     X9.63 KDF (RFC 5753), X25519 with HKDF (RFC 8418).
//   - Shared keys by AES key wrap (RFC 3565), passwords by PBKDF2 and PWRI-KEK
//     (RFC 3211). In reading, 3DES and RC2 key wrap too (RFC 3217).
//   - Content: AES-128, AES-192 and AES-256 in CBC and GCM mode,
//     ChaCha20-Poly1305. By allowance alone, and in reading alone: 3DES, DES, RC2.
//
// # Security
//
// A verdict cannot be missed: whatever releases content returns io.EOF only
// when the verdict is good, keeps its first error, and returns the verdict from
// Close, which reads the rest of the message. Nobody is trusted by default:
// [VerifyOptions] without a [Trust] is refused.
//
// AuthEnvelopedData releases nothing before its tag has been checked. It is
// read in constant memory all the same: ciphertext that exceeds
// DecryptOptions.SpoolMemory waits in a temporary file, which has no name, or is
// read twice (DecryptOptions.Again). The one exception has to be asked for, by a
// name that says so: DecryptOptions.HoldUnverified.
// Plaintext is never written to a file by this package.
//
// Every failure of decryption is [ErrDecrypt], the same value for a wrong key,
// bad padding and a bad tag, and where the sender could learn from the
// difference the same work is done (RFC 3218).
//
// Nothing is allocated by a length that a message declares, and everything but
// content is bounded by [Limits]. There are no global settings.
//
// Randomness comes from crypto/rand alone; tests that need fixed output use
// testing/cryptotest.
//
// # Compatibility
//
// Reading takes every encoding that X.690 permits in BER, wrong version
// numbers, set elements in any order, names that are equal by RFC 5280, Section
// 7.1, and the quirks that are marked QUIRK in the source. Writing gives DER
// for content of up to 64 KiB or of known size, and else BER with indefinite
// lengths around the content.
package cms
