/*
Package peers drives other implementations of S/MIME, so that tests can check
that messages of this project open there and the other way round: OpenSSL's
"openssl cms", Bouncy Castle, NSS's cmsutil and GnuPG's gpgsm. It serves tests
alone.

	env := &peers.Env{Dir: t.TempDir(), Roots: roots, People: people}
	op := &peers.Op{Kind: peers.Signed, Signers: []string{"alice"}, Detached: true}
	for _, p := range peers.Start(t, env) {
		if p.CanOpen(op) == nil {
			_, err := p.Open(t.Context(), op, message, content)
			...
		}
	}

An [Op] says what is to be made or opened, and CanMake and CanOpen whether a
peer has what that takes; their errors are fit for a table of who can do what.
Open gives exact verdicts: it fails unless the peer is content with every
signature and with its path to a root. The tests of this package have every
peer open what every peer makes, and refuse it after it has been tampered with.

Certificates of people should have an e-mail address and a subject key
identifier. That of an RSA key that is to decrypt needs the key usage
keyEncipherment, that of an EC key keyAgreement.

# What the peers can do

All of the following was found by trying, with the versions of Debian 12. What
is said of making and opening holds for CMS in DER and BER and, for OpenSSL and
Bouncy Castle, for S/MIME; NSS and gpgsm know nothing of MIME.

# OpenSSL 3.0.19

Makes and opens:
  - SignedData, opaque and detached, with several signers, with and without
    signed attributes, by issuer or key identifier: RSA v1.5 with SHA-1, SHA-2
    and SHA-3, RSASSA-PSS and ECDSA (P-256, P-384, P-521) with SHA-1 and SHA-2.
  - EnvelopedData with AES-CBC and Triple-DES, AuthEnvelopedData with AES-GCM,
    to RSA (v1.5, OAEP with every digest), ECDH (the NIST curves; X9.63 KDF with
    SHA-1, the default, to SHA-512) and KEK; EnvelopedData to a password.
  - EncryptedData and DigestedData.

Opens, but does not make: RSASSA-PSS and ECDSA with SHA-3; AuthEnvelopedData to
a password ("cipher parameter initialisation error" on making).

Neither: Ed25519 signatures ("no default digest"), X25519 recipients, AES-CCM
and ChaCha20-Poly1305 ("unsupported content encryption algorithm"),
AuthenticatedData, CompressedData (built without zlib).

Beware:
  - Countersignatures are not looked at.
  - With -stream and DER a signature that should be detached contains the
    content; RSASSA-PSS fails ("illegal zero content"), as do opaque signatures
    and AEAD of empty content.
  - S/MIME has LF line ends. With -crlfeol the header and the content have CRLF,
    but the base64 lines still end in LF alone.

# Bouncy Castle 1.72

Makes and opens:
  - SignedData as OpenSSL, and Ed25519, SHA-3 with everything, countersignatures.
  - EnvelopedData with AES-CBC and Triple-DES, AuthEnvelopedData with AES-GCM and
    AES-CCM, to RSA (v1.5, OAEP), ECDH (KDF with SHA-1 to SHA-512), KEK, password.
  - AuthenticatedData (HMAC with SHA-1 to SHA-512), CompressedData, EncryptedData.

Opens, but does not make: DigestedData.

Neither: X25519 and HKDF in key agreement, ChaCha20-Poly1305.

Beware:
  - For AuthEnvelopedData the library has recipients for RSA alone; those for
    ECDH, KEK and password are ours, in terms of its public parts. It has no
    stream and no S/MIME generator for the type either.
  - S/MIME content gets a Content-Transfer-Encoding if it had none, and its
    header is written anew, so that only such content comes back as it was.
  - The key of an HMAC is by default as long as the digest, which AES key wrap
    does not take with SHA-1 and SHA-224; ours has 256 bits.
  - AES-GCM given to the generator of EnvelopedData is put there.

# NSS 3.87.1 (cmsutil)

Makes and opens:
  - SignedData with one signer: RSA v1.5 and ECDSA (P-256, P-384, P-521) with
    SHA-1, SHA-256, SHA-384 and SHA-512, always in indefinite lengths.
  - EnvelopedData to RSA v1.5; it chooses AES-128-CBC where it knows of no
    capabilities.

Opens, but does not make: several signers, key identifiers, no signed
attributes, SHA-224, RSASSA-PSS with SHA-1 and SHA-2, AES-192-CBC, AES-256-CBC,
Triple-DES, empty detached content.

Neither: RSAES-OAEP, AES-GCM ("unrecognized object identifier"), Ed25519 and
X25519 (not even the certificate can be imported), SHA-3, MD5 (disabled), opaque
signatures of empty content.

Beware:
  - A RecipientInfo for ECDH, a KEK or a password makes the whole message
    unreadable ("improperly formatted DER-encoded message"), even for an RSA
    recipient beside it.
  - Given detached content for a message that has its own content, it verifies
    the latter and says nothing of the former.
  - DigestedData is not verified, EncryptedData not decrypted; both are
    "decoded" without an error.
  - Countersignatures are not looked at.

# gpgsm 2.2.40 (libksba 1.6.3)

Makes and opens:
  - SignedData with one or several signers, always in indefinite lengths: RSA
    v1.5 with SHA-1, SHA-256, SHA-384 and SHA-512; ECDSA on P-256 and P-384 with
    a digest that is not shorter than the curve.
  - EnvelopedData with AES-CBC and Triple-DES to RSA v1.5.

Makes, but does not open: ECDSA on P-521 (it calls good signatures bad).

Opens, but does not make: RSASSA-PSS with SHA-2 from SHA-256 on and with SHA-3,
no signed attributes, empty content, MD5 (without complaint).

Neither: key identifiers, of signers ("BER error") or of recipients; RSAES-OAEP,
ECDH, KEK, password; AuthEnvelopedData ("buffer too short"); Ed25519; RSA v1.5
with SHA-3.

Beware:
  - RSASSA-PSS with a salt that is not as long as the digest, or with SHA-224,
    makes it crash ("double free").
  - SHA-224 verifies if the signature algorithm is rsaEncryption, but not if it
    is sha224WithRSAEncryption.
  - Its PKCS #12 reader takes no PBES2 and crashes on EC keys. Here keys are
    given to gpg-agent directly.
  - When it has not the key of the first recipient but that of a later one, it
    decrypts and exits with status 2 all the same.
  - A message that ends early is good to it if what is missing comes after the
    signatures' values. Countersignatures are not looked at.
  - A detached signature that contains content is refused.
*/
package peers
