// Package imapproxy stands between a mail client and an IMAP server and shows
// messages opened: what is encrypted is decrypted, what is signed is verified, and
// the verdict stands in the header (package render). The client needs to know
// nothing of it.
//
// It relays what it does not own octet for octet, token by token (RFC 3501, RFC
// 9051), and steps in at few places: capabilities, which are an allow-list of what
// can be kept true; STARTTLS; the login, to know whose keys to use; and FETCH of
// S/MIME messages. Commands of a client are carried out one after the other.
//
// # What is promised
//
//   - A message has one rendering. RFC822.SIZE, ENVELOPE, BODYSTRUCTURE and all
//     sections come from the same octets, on every fetch, as RFC 3501, Section
//     2.3.1.1 wants it: what was decided the first time is remembered.
//   - Mailboxes without S/MIME are the same through the proxy as without it.
//   - What was decrypted is never on a disk, except encrypted under a key that
//     only this process has.
//   - What cannot be opened is shown as it is, with the reason.
//
// SEARCH and SORT are the server's: they look at messages as they are stored, so
// that the text of encrypted messages is not found.
package imapproxy
