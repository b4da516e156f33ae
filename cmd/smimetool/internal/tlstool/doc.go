/*
Package tlstool looks at TLS servers, and is a simple client and server of TLS
by hand: what "smimetool tls" does, without its flags and its terminal.

[Probe] connects to a server many times, each time with another offer, and tells
what it found and what should be done about it. [Connect] and [Serve] join a
connection with two streams. STARTTLS is that of package tls, for all of its
protocols.

# Security

Probe and Connect look at servers as they are, so they offer what is obsolete and
go through handshakes with servers that nobody vouches for; Connect sends nothing
to such a server unless it is told to. What a peer says stands in reports with
control characters replaced.
*/
package tlstool
