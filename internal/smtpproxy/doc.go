// Package smtpproxy takes mail from a mail client over SMTP, signs and encrypts it
// by policy, and gives it to a mail server over SMTP, with the client's own
// credentials.
//
// It is a submission server (RFC 6409) towards the client and a client (RFC 5321)
// towards the server, which is called the upstream here. One connection of a
// client is one connection to the upstream.
//
// # What is promised
//
//   - No message is acknowledged before the upstream has taken it for all of its
//     recipients, or for some of them while the others are reported to the sender
//     by a delivery status notification (RFC 3464). There is no queue: what is not
//     acknowledged is with the client.
//   - Nothing goes out with less protection than the policy asks for. A recipient
//     who cannot be encrypted to, where that is required, is refused at RCPT.
//   - Mail that is already protected, and mail that the policy leaves alone, passes
//     octet for octet.
//   - Recipients whom the message does not name get their own copy where it is
//     encrypted, since an encrypted message names all who can read it.
//   - Messages are held in memory and in unlinked files that are encrypted under a
//     key of this process alone.
//
// Whatever the mechanism, authentication is between client and upstream; the proxy
// passes it on and keeps nothing of it but the name of the account where it can be
// seen.
//
// When the connection to the upstream is lost between the end of a message and the
// reply to it, nobody knows whether it was taken (RFC 1047): the client is told so,
// with a temporary code. When it is lost after some have their copy, the reply is
// permanent and names the others.
//
// # Security
//
//   - A message ends at CRLF.CRLF, or where its chunks end, and nowhere else; bare
//     CR and LF go out as CRLF. Nothing that is in a message or an address becomes
//     a command or a parameter.
//   - With STARTTLS nothing else is to be had before it, what was said before it is
//     forgotten, and a handshake that fails ends the connection (package tls).
//   - Lines of commands are 12,288 octets at most; sizes, recipients, time and what
//     an upstream may say are bounded.
//   - The account is whose password or token it is, never as whom one wants to act.
//   - Logins are passed on over TLS, and without it on this host alone.
//
// # Compatibility
//
// Tested with curl, swaks and msmtp as clients, and Postfix and go-smtp as servers.
// 8BITMIME, SMTPUTF8, DSN, CHUNKING and REQUIRETLS are offered as the upstream has
// them, SIZE less what a message can grow; PIPELINING and ENHANCEDSTATUSCODES
// always. BINARYMIME is not offered. The postmaster without a domain is no
// recipient.
package smtpproxy
