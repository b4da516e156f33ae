// Package upstream finds the mail server for a client of mailproxy, and connects
// to it: a fixed one, one by the domain of the login name, one that SRV records
// name (RFC 6186, RFC 8314), or the one that the client was connecting to when it
// was led here.
//
// # Security
//
// Connections are protected as the configuration asks, and certificates have to be
// for the name that the person or the configuration named: SRV records that DNSSEC
// does not vouch for choose a server, and not whose certificate is good (RFC 6186,
// Section 6; RFC 7817, Section 3). The domains of login names and the destinations
// of connections that were led here are allow-lists, so that nobody reaches other
// places through this host.
//
// A connection of this process that comes back to it is refused: [Loops].
package upstream
