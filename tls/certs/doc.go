/*
Package certs keeps the certificates of a TLS server up to date while it runs.

	m, err := certs.Open(&certs.Options{
		Files:  []certs.File{{Certificate: "/etc/mail/tls.pem", Key: "/etc/mail/tls.key"}},
		OCSP:   fetch.New(nil),
		Report: func(e certs.Event) { log.Print(e) },
	})
	...
	server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP, TLS: m.Config(nil)})

A [Manager] has certificates from files, PEM or PKCS#12, which it reads again when
they change; from an ACME server ([ACME]), which it renews; and chooses among them
by the name that the client asks for. It staples OCSP responses. It asks clients
for certificates and tells whose accounts they are ([Clients]), and shares the keys
of session tickets with other servers ([Options.TicketSecrets]).

Implemented are RFC 6066, Sections 3 and 8 (server names, stapling), RFC 6960
(OCSP), RFC 7633 (must staple), RFC 8555 with RFC 8737 (ACME by http-01 and
tls-alpn-01), RFC 9773 (when to renew), RFC 9598 and RFC 5280 (the names of clients).

# Security

  - What is served changes in one step, and only to what is whole: a certificate
    with its key, in its time, from files that have stopped changing. Otherwise
    what there was goes on being served, and the failure is reported.
  - A stapled response has been verified as a client would: signature, responder,
    certificate, times. One that says "revoked", is out of date or too long is not
    stapled. A certificate that demands stapling does not take the place of another
    one before there is a response for it.
  - Keys are read from files and never written, except those of ACME: a folder of
    mode 0700, files of mode 0600, written whole or not at all. No error or event
    has a secret in it.
  - What is read and fetched is bounded: 1 MiB a file, 16 KiB a stapled response,
    time, redirects and answers by the Fetcher; attempts back off, with jitter, so
    that many servers do not ask at the same time.
  - A client's certificate counts if a path leads to a root of Clients, with the
    purpose of client authentication, or if its fingerprint is listed. This is
    checked when a session is resumed, too. Names in a certificate are as good as
    the authorities: list none that would certify the addresses of others.
  - URLs of OCSP responders and issuers come from the server's own certificates.

# Compatibility

Files are compared by content, at every interval: symbolic links that change, as
certbot and Kubernetes have them, renamed files and network file systems work. ACME
is tested against Pebble. There is no dns-01, so no wildcards by ACME. Certificates
are renewed when a third of their life is left; a server can have that earlier, not
later.
*/
package certs
