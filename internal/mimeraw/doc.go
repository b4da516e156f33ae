// Package mimeraw splits mail messages into their parts without changing an
// octet. It implements the lexical layer of RFC 5322 (header fields), RFC 2045
// (media types, base64, quoted-printable), RFC 2046 (multipart delimiters) and
// RFC 2231 (parameter values), and what RFC 8551, Section 3.1 asks of content
// that will be signed: canonical line ends and safety on 7-bit paths.
//
// # Promises
//
//   - What is not asked to be decoded is handed on exactly as it was received:
//     folding, line ends, trailing blanks and malformed lines included.
//   - Memory is bounded by fixed buffers and by the limits that the caller
//     gives, never by a length, a line or a part of the input.
//   - No input makes the package panic.
//   - Readers keep the contract of [io.Reader] to the letter, accept sources
//     that return any number of octets at a time, and pass the errors of their
//     source on unwrapped.
//
// # Concurrency
//
// A value of this package belongs to one goroutine at a time.
package mimeraw
