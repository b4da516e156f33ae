/*
Package tls brings connections of mail programs to TLS, on both sides and on top
of crypto/tls: from the first octet, or by the STARTTLS of the protocol.

	session, err := tls.Dial(ctx, "tcp", "mail.example.org:143", &tls.ClientConfig{
		Protocol: tls.IMAP,
		Mode:     tls.StartTLS,
	})

As a client it speaks SMTP, LMTP, IMAP, POP3, ManageSieve, LDAP and XMPP up to
the handshake ([Client], [Dial]); as a server SMTP, LMTP, IMAP and POP3 ([Server],
[Listener]). What comes back is a [Session]: a *tls.Conn of crypto/tls, and what
the protocol layer does next. The package does not speak the protocols any
further.

Package tls/certs keeps the certificates of a server up to date, and tls/relay joins
two connections. Beside that this package has session tickets that several servers
share ([Tickets]), Mozilla's profiles ([Profile]), channel bindings for SCRAM
([ChannelBinding]), and words for people ([Describe], [Advice]).

Implemented are RFC 3207 (SMTP and LMTP), RFC 9051 and RFC 3501 (IMAP), RFC 2595
(POP3), RFC 5804 (ManageSieve), RFC 4511 (LDAP), RFC 6120 (XMPP), RFC 8314
(implicit TLS), RFC 7301 (ALPN), RFC 9266 and RFC 5929 (channel bindings).

# Security

  - No octet that came before the handshake survives it. What a peer sends behind
    its last line before the handshake, or before it was its turn, is an
    [InjectionError], and the connection is closed; it is not dropped in silence,
    since it is never an accident. Plaintext that comes later still meets the TLS
    handshake, and fails it.
  - Nothing that was said before the handshake is returned: greetings,
    capabilities, referrals, alerts. Where an error quotes the peer, the text is
    cut and made printable.
  - A server that does not offer STARTTLS where it is required, refuses it, or
    greets with PREAUTH is an error and never a fall-back. Plaintext is spoken in
    the modes OpportunisticStartTLS and InsecurePlaintext alone.
  - Whatever fails, the connection is closed. A [Listener] gives nobody a
    connection whose handshake has failed.
  - What a peer may send before TLS is bounded: 8 KiB a line, 512 lines a reply, 64
    KiB in all, XML 16 elements deep; lines end in CRLF, and hold UTF-8 without
    control characters that end lines. Time is bounded by the context and a
    timeout. Nothing is allocated by a length that a peer announces.
  - The protocol is offered by ALPN, so that a server for another protocol with
    the same certificate refuses (the ALPACA attack); a client that offers another
    one is refused. Peers that know nothing of ALPN are accepted unless
    [ALPNRequire] is set. LMTP and LDAP have no identifier.
  - TLS 1.2 is the least unless the caller says otherwise, 1.3 the rule, and the
    key exchange hybrid with ML-KEM where the peer has that. Renegotiation is off
    as in crypto/tls.

The package trusts nobody by itself: which certificates are good is said by the
cryptotls.Config of the caller, whose zero value trusts the system's roots for
the given name. In TLS 1.3 a client's handshake ends before the server has judged
its certificate; a refusal comes with the first Read, and [Advice] has words for
it.

# Compatibility

Tested against OpenSSL 3.0 (s_client, s_server), GnuTLS 3.7 (gnutls-cli,
gnutls-serv), Dovecot 2.3, Postfix 3.7, OpenLDAP 2.5 and go-smtp. IMAP, POP3 and
ManageSieve servers are asked for their capabilities, and SMTP servers must know
EHLO: a server that has STARTTLS without saying so is one that does not offer it.
Sessions are resumed by tickets alone: crypto/tls knows nothing of the session IDs
of TLS 1.2, by which the LMTP of Dovecot 2.3 does it.

For the exporter of TLS 1.2, RFC 9266 has a context of no octets, as this package
and GnuTLS; "openssl s_client -keymatexport" has no context, which is another
value. In TLS 1.3 there is no difference.
*/
package tls
