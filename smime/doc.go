// Package smime reads and writes S/MIME messages: it signs, encrypts and
// compresses mail on its way out, and opens and judges it on its way in.
//
// It implements the message format of RFC 8551, the comparison of signer and
// sender of RFC 8550, Section 3, and the status words of RFC 9219, on top of
// package cms; the multipart types are those of RFC 1847 and RFC 2046,
// compression that of RFC 3274. With header protection (RFC 9788) the fields of a
// message are signed, encrypted and hidden with its body.
//
// Sign, Encrypt and Compress take a message, header and body, and give the
// protected message. Read takes a message with any number of layers and gives
// its content with the verdict on each of them.
//
// # Security
//
//   - Read does not return before every verdict that can be known is known, and
//     returns an error unless all are good. Trust must be given; nothing is
//     trusted by default.
//   - Content is released exactly as it was signed or encrypted, bit by bit, and
//     after the verdict. It is not decoded, and nothing is encoded again before
//     it is verified.
//   - Content that fails to decrypt is not released, nor anything that would
//     tell why it failed. Content that was encrypted without authentication is
//     marked so.
//   - Only what stands at the root of the message or of a layer is opened.
//     Protected parts beside other parts are named in Problems and stay closed,
//     so that nothing can be put around a ciphertext to carry its content away.
//   - A signature outside of encryption does not count for the content: anybody
//     can sign what somebody else encrypted.
//   - A signer is trusted for a message only when its From field is one of the
//     addresses of the signer's certificate, if it has any; where there is
//     nothing to compare, a warning says so. The header of the message is not
//     signed: everybody on the way can change its Subject, Date and To, unless
//     Message.HeaderProtection says that its author protected it.
//   - Layers, headers and the depth and number of parts are limited, as is all
//     that package cms holds. Content in temporary files is encrypted under a
//     key that only memory holds.
//   - A [Stage] is not a temporary file, but what the caller makes the opened
//     message of: it has plaintext before the verdict, which the caller keeps from
//     everybody until then. Of what fails to decrypt nothing is left in it.
//
// # Compatibility
//
// Reading takes mail as stores and gateways leave it: line ends of LF, an mbox
// line in front, media types and smime-types that are wrong, old or missing,
// files by their names, base64 without its name, DER with that of base64, PEM,
// micalg of any spelling. A multipart/signed is verified over canonical line
// ends and, failing that, over its octets as they are.
//
// Writing keeps to RFC 8551 alone, with authenticated encryption unless the
// recipients are known to lack it. The tests have OpenSSL read what is written,
// and write what is read.
package smime
