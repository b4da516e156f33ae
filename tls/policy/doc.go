/*
Package policy connects to mail servers by a policy that says who the server has to
be, and tells why it was taken or refused.

	d, err := policy.New(&policy.Options{
		Policy:   policy.Policy{DANE: policy.IfPublished, MTASTS: true, Base: policy.Required},
		Resolver: resolver, // a dnsclient.Client, say
		MTASTS:   client,   // a mtasts.Client
	})
	c, err := d.Dial(ctx, &policy.Target{MX: "example.org"})
	fmt.Println(c.Verdict) // which rule has decided, and why
	...
	c.Conn // TLS; the session of package tls

A [Target] is a host, or the domain of a mail address with its MX records, or one
with SRV records. A [Policy] has three parts, which decide in this order:

  - DANE: where DNSSEC vouches for TLSA records of a server, one of them has to be
    for its certificate;
  - MTA-STS: where the domain of a mail address has published a policy, the server
    has to be in it and to have a valid certificate;
  - and else what the base says: a valid certificate for the name (Required), a
    known certificate or key (Pinned), or whatever there is (Opportunistic).

The package implements RFC 7672 (DANE for SMTP), RFC 7673 (DANE with SRV), RFC
7671, the sender's part of RFC 8461 (MTA-STS), RFC 9525 (names), and has the words
of RFC 8460 for failures ([Reason]).

# Security

  - The zero Policy is Required. That a connection may be with anybody, or in
    plaintext, is said by Opportunistic and by tls.InsecurePlaintext alone.
  - A policy that is there is never passed over because something fails. Where
    the DNS gives no answer, or one whose signatures are wrong, to a question that
    matters, there is no connection. TLSA records that match nothing, or a server
    without STARTTLS, are failures, even if the base would have been content. One
    thing is as RFC 8461, Section 3.3 demands: a web server that gives no MTA-STS
    policy away counts as if there were none, while none is known from before.
  - DANE goes before MTA-STS (RFC 8461, Section 2): where it decides, MTA-STS is not
    asked.
  - TLSA records that are all of unknown or unfit kinds decide nothing, but TLS is
    then required (RFC 7672, Section 2.2), and MTA-STS and the base decide about the
    certificate.
  - The names of servers count as far as something vouches for them: that of a Host is
    the caller's; those in MX and SRV records count if DNSSEC or MTA-STS says so, and
    else the certificate has to be for the domain itself.
  - Without a Resolver that is validating and trusted, no answer is secure: then
    nothing of DANE applies, and dane-only never connects.
  - Certificates of resumed sessions are judged again, by the rule of the day.
  - Everything is bounded: 16 servers, 16 addresses each, 256 TLSA records each, and
    24 connections in all.

# Compatibility

What RFC 7672 says of domains with MX records was compared with Postfix 3.7 in each
case that the tests have. Where the MX records are not secure (Section 2.2.1) and a
host has secure TLSA records, these have to match, as with Postfix; that is no proof
of who it is, so MTA-STS and the base decide as well. In mode "testing" MTA-STS decides nothing; [Verdict].Testing has what it
would have refused.
*/
package policy
