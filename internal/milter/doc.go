// Package milter signs and encrypts, by the policy of the proxy, mail that no
// client sends through the proxy: as a filter of Postfix or Sendmail, which ask it
// about each message by the milter protocol. It is github.com/emersion/go-milter
// with the policy behind it.
//
// A mail server asks a filter about mail that comes from anywhere. The filter
// touches that of people who have logged in at the server, and of hosts that it
// is told to trust, where the account is that of the sender's address. All other
// mail passes untouched: anybody can write a sender's address into a message.
//
// # What a filter cannot do
//
// All recipients of a message get the same from a filter. What the policy requires
// for one recipient is done for all, and what it asks for where it is possible is
// done when it is possible for all. A form that is required for one and ruled out
// or impossible for another is refused, with a sentence that says who has to get
// a message of his own; so is an encrypted message that would reveal a hidden
// recipient. The proxy, which gives each recipient what is his, has no such
// limits.
//
// # Security
//
//   - A recipient who cannot be encrypted to, where that is required, is refused
//     at RCPT, and a message that cannot go out as the policy asks at its end;
//     what cannot be found out now is put off (451).
//   - When the filter fails or is not there, the mail server decides. Postfix puts
//     mail off unless milter_default_action says otherwise; "accept" would send
//     in the clear what the policy wants encrypted.
//   - The connection between mail server and filter is not encrypted, and whoever
//     can connect can have mail signed: it belongs on a socket that only the mail
//     server can reach.
//   - Messages are held as package outgoing holds them. What a server sends is
//     bounded in size and in time.
//
// # Compatibility
//
// Tested with Postfix 3.7. Version 2 of the protocol is spoken, which Sendmail 8.11
// and later and all versions of Postfix with milters know. Postfix says who has
// logged in by default; Sendmail does where {auth_authen} is in
// Milter.macros.envfrom, as it is by default.
package milter
