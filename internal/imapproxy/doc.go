// Package imapproxy stands between a mail client and an IMAP server and shows
// messages opened: what is encrypted is decrypted, what is signed is verified, and
// the verdict stands in the header (package render). The client needs to know
// nothing of it.
//
// It relays what it does not own octet for octet, token by token (RFC 3501, RFC
// 9051), and steps in at few places:
//
//   - capabilities, which are an allow-list of what can be kept true for the
//     account; STARTTLS; and the login, to know whose keys to use. A login name
//     with a suffix of choice gets mail as it is stored;
//   - FETCH of S/MIME messages;
//   - APPEND, which signs messages or encrypts them to the account itself where
//     that is wanted for the mailbox (RFC 6154 tells which is that of sent mail);
//   - ENABLE and NOTIFY, as far as they can be kept true.
//
// Commands of a client are carried out one after the other; they may be pipelined.
//
// # What is promised
//
//   - A message has one rendering. RFC822.SIZE, ENVELOPE, BODYSTRUCTURE, PREVIEW and
//     all sections come from the same octets, on every fetch, as RFC 3501, Section
//     2.3.1.1 wants it: what was decided the first time is remembered (package
//     facts). A key that comes later does not change what a client has. Where a
//     server does not say what a UID means on the next connection, it is remembered
//     for this one.
//   - Mailboxes without S/MIME are the same through the proxy as without it.
//   - A FETCH of what is remembered is answered without the server, if that was asked
//     something within the last minute: what is new is told by the next command.
//   - What cannot be opened is shown as it is, with the reason. A message that was
//     opened once and whose key is not there now is refused, and not shown as
//     something else.
//   - An account whose keys cannot be used does not log in.
//
// # What is not
//
// SEARCH, SORT and THREAD are the server's: they look at messages as they are
// stored, so that the text of encrypted messages is not found, nor a subject that
// is protected, and SMALLER, LARGER and SORT (SIZE) are about the sizes that are
// stored. Only the root of a message is opened: what is encrypted or signed in a
// part beside others, as in what mailing lists send, is left to the client.
//
// # Security
//
//   - What was decrypted is never on a disk, except encrypted under a key that
//     only this process has, and facts under one that follows from the account's.
//   - Nothing that came together with STARTTLS counts after the handshake, and a
//     handshake that fails ends the connection.
//   - Lines, nesting, and what is read as a whole are limited; literals are
//     streamed, or spooled. A server that says what nobody asked for, or is no IMAP
//     server, ends the connection.
//   - Nothing of a message that a policy wants protected has gone to the server
//     before it is.
//
// # Compatibility
//
// Literals of every kind pass (RFC 7888, RFC 3516), and so do IDLE, UIDPLUS, MOVE,
// CONDSTORE, QRESYNC, SPECIAL-USE, ID, NAMESPACE, QUOTA and what else is in the
// list of capabilities. COMPRESS, referrals and UNAUTHENTICATE never do. CATENATE,
// URLAUTH, REPLACE, CONVERT, STATUS=SIZE, UTF8=ACCEPT and IMAP4rev2 are for
// accounts whose mail is shown as it is stored.
package imapproxy
