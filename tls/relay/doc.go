/*
Package relay joins two connections in full duplex: what a TLS proxy does once
it knows who talks to whom. Each side is plain or TLS, as client or as server.

	upstream := tls.Client(relay.NewTransport(tcp), config)
	...
	result, err := relay.Run(ctx, client, upstream, &relay.Options{Idle: 10 * time.Minute})

It is on top of crypto/tls, and follows of TLS 1.3 (RFC 8446) and TLS 1.2 (RFC
5246) what concerns the life of a connection: closure alerts, key updates and
renegotiation. Which versions and algorithms are used, and whether a client
renegotiates, is in the *tls.Config of a connection.

# Promises

  - Half-close: the end of one side is the end of what the other side reads, and
    no more. The opposite direction goes on, within Options.Linger.
  - Truncation: the end of a TLS connection without close_notify is reported as
    io.ErrUnexpectedEOF and never passed on as an end in order. crypto/tls alone
    does not tell one from the other.
  - Back-pressure: what one side does not take is not read from the other. A
    direction holds at most 64 KiB in clear or encrypted on its way out, as much
    that has come in and not been decrypted, and one record in crypto/tls.
  - An idle direction holds 512 octets, and 4 KiB more if it reads from a
    connection without a file descriptor. crypto/tls keeps a buffer of its own
    for each connection, which has up to 34 KiB after long records.
  - No deadlock: each direction waits for nothing but its own two connections.
    Both peers may write without reading; as soon as one of them reads, it gets
    on. A key update is answered while a write is blocked.
  - Nothing outlives Run: no goroutine, no timer, no open connection.

# Security

The limits are those of Options; their zero value has an idle limit. A peer that
has vanished, or that takes no more, is given up after Options.Idle without one
octet moving. A peer that asks for answers and reads none is given up when 64 KiB
of answers wait.

# Compatibility

A TLS 1.2 server may ask for renegotiation at any time if the *tls.Config of the
client allows it, and what the relay sends flows until then and after. But
crypto/tls takes no application data between the request and the end of the new
handshake, so a server that goes on sending after its request ends the
connection with unexpected_message. A client never renegotiates with us as server:
crypto/tls ends such a connection.

A TLS 1.2 peer that keeps to RFC 5246, Section 7.2.1, answers our close_notify
with its own at once and drops what it still had to send; TLS 1.3 has a true
half-close.

For throughput, set DynamicRecordSizingDisabled in the *tls.Config of bulk
connections; the relay joins short records to long writes in any case.
*/
package relay
