// Package ldap finds certificates of correspondents in an LDAP directory, as
// organisations have them for their address books. A [Finder] is a
// keystore.Finder.
//
// It implements what a client that searches needs of LDAP (RFC 4511) with simple
// bind and StartTLS (RFC 4513), filters (RFC 4515), URLs (RFC 4516), and the
// attributes userCertificate (RFC 4523) and userSMIMECertificate (RFC 2798).
//
// # Security
//
// A directory vouches for nothing: whose a certificate is has to be found out by a
// path to a root, and the certificate itself has to be for the address that was
// asked for, whatever the entry says in which it stands. The ciphers that a
// correspondent can read are taken from a userSMIMECertificate whose signature is
// valid; who answers in the place of the directory can name others, which costs
// no more than the best of the ciphers.
//
// The connection is TLS: from the start (LDAPS), or by StartTLS, without which
// nothing is asked. A password is never sent without TLS. The address stands in
// the filter escaped, so that none of its characters means anything there.
// Referrals are not followed; an answer that has nothing but them is an error.
//
// None of the servers' answers can ask for more memory than [Options] allow: the
// octets and elements of an answer, the entries, and the certificates in them are
// bounded, before the library that decodes them sees them. So is the time.
//
// A directory that cannot be asked, refuses the password or breaks off is an
// error, always a keystore.SourceError, and never "no certificate".
//
// # Compatibility
//
// The attributes are asked for with ";binary" and without it, since Active
// Directory does not know the former and others insist on it. The filter of
// [DefaultFilter] fits Active Directory and Exchange (proxyAddresses), OpenLDAP,
// 389 Directory Server and Sun's attributes; attributes that a directory does not
// know do not disturb it. userSMIMECertificate may be a certs-only object or a
// signed one with empty or absent content, as Outlook and Netscape publish it.
package ldap
