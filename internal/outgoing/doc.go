// Package outgoing makes of a message on its way out what the policy asks for:
// it receives the message, finds the certificates of its recipients, decides who
// gets which form of it, and signs and encrypts. The proxy for SMTP and the
// filter for mail servers are two front ends of it.
//
// Messages are those of RFC 5322, and of RFC 8551 when they leave.
//
// # Security
//
//   - What the policy requires is done or the message is refused. Whether there
//     is a certificate or a key has three answers: yes, no, and not now; the
//     last one ([UnavailableError]) is never taken for no.
//   - A message counts as protected already by what is in it, not by what its
//     header says.
//   - Certificates that are not valid by the clock are not used, and a clock that
//     cannot be right stops everything ([ErrClock]).
//   - Messages are held in memory and in unlinked files that are encrypted under
//     a key of this process alone.
//   - Errors name addresses and reasons, and nothing of the content.
package outgoing
