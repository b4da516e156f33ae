package oid

// Content types: RFC 5652, RFC 5083, RFC 3274, RFC 5035, RFC 3161.
const (
	Data              OID = "1.2.840.113549.1.7.1"
	SignedData        OID = "1.2.840.113549.1.7.2"
	EnvelopedData     OID = "1.2.840.113549.1.7.3"
	DigestedData      OID = "1.2.840.113549.1.7.5"
	EncryptedData     OID = "1.2.840.113549.1.7.6"
	Receipt           OID = "1.2.840.113549.1.9.16.1.1"
	AuthenticatedData OID = "1.2.840.113549.1.9.16.1.2"
	TSTInfo           OID = "1.2.840.113549.1.9.16.1.4"
	CompressedData    OID = "1.2.840.113549.1.9.16.1.9"
	AuthEnvelopedData OID = "1.2.840.113549.1.9.16.1.23"
)

// Attributes: RFC 5652, RFC 8551, RFC 6211, RFC 5035, RFC 2634.
const (
	AttrContentType         OID = "1.2.840.113549.1.9.3"
	AttrMessageDigest       OID = "1.2.840.113549.1.9.4"
	AttrSigningTime         OID = "1.2.840.113549.1.9.5"
	AttrCountersignature    OID = "1.2.840.113549.1.9.6"
	AttrSMIMECapabilities   OID = "1.2.840.113549.1.9.15"
	AttrAlgorithmProtection OID = "1.2.840.113549.1.9.52"
	AttrReceiptRequest      OID = "1.2.840.113549.1.9.16.2.1"
	AttrSecurityLabel       OID = "1.2.840.113549.1.9.16.2.2"
	AttrMLExpansionHistory  OID = "1.2.840.113549.1.9.16.2.3"
	AttrContentHint         OID = "1.2.840.113549.1.9.16.2.4"
	AttrMsgSigDigest        OID = "1.2.840.113549.1.9.16.2.5"
	AttrContentIdentifier   OID = "1.2.840.113549.1.9.16.2.7"
	AttrContentReference    OID = "1.2.840.113549.1.9.16.2.10"
	AttrEncrypKeyPref       OID = "1.2.840.113549.1.9.16.2.11"
	AttrSigningCertificate  OID = "1.2.840.113549.1.9.16.2.12"
	AttrTimeStampToken      OID = "1.2.840.113549.1.9.16.2.14"
	AttrSigningCertV2       OID = "1.2.840.113549.1.9.16.2.47"
	AttrMSEncrypKeyPref     OID = "1.3.6.1.4.1.311.16.4"
)

// Digests and MACs.
const (
	MD2        OID = "1.2.840.113549.2.2"
	MD4        OID = "1.2.840.113549.2.4"
	MD5        OID = "1.2.840.113549.2.5"
	SHA1       OID = "1.3.14.3.2.26"
	SHA224     OID = "2.16.840.1.101.3.4.2.4"
	SHA256     OID = "2.16.840.1.101.3.4.2.1"
	SHA384     OID = "2.16.840.1.101.3.4.2.2"
	SHA512     OID = "2.16.840.1.101.3.4.2.3"
	SHA512_224 OID = "2.16.840.1.101.3.4.2.5"
	SHA512_256 OID = "2.16.840.1.101.3.4.2.6"
	SHA3_224   OID = "2.16.840.1.101.3.4.2.7"
	SHA3_256   OID = "2.16.840.1.101.3.4.2.8"
	SHA3_384   OID = "2.16.840.1.101.3.4.2.9"
	SHA3_512   OID = "2.16.840.1.101.3.4.2.10"
	SHAKE128   OID = "2.16.840.1.101.3.4.2.11"
	SHAKE256   OID = "2.16.840.1.101.3.4.2.12"

	HMACSHA1   OID = "1.3.6.1.5.5.8.1.2"
	HMACSHA1R  OID = "1.2.840.113549.2.7" // the RSADSI name, used as PBKDF2's PRF
	HMACSHA224 OID = "1.2.840.113549.2.8"
	HMACSHA256 OID = "1.2.840.113549.2.9"
	HMACSHA384 OID = "1.2.840.113549.2.10"
	HMACSHA512 OID = "1.2.840.113549.2.11"
)

// Public keys and signatures: RFC 3279, RFC 4055, RFC 5758, RFC 8410, RFC 8692, NIST.
const (
	RSA     OID = "1.2.840.113549.1.1.1"
	RSAES   OID = "1.2.840.113549.1.1.7" // RSAES-OAEP
	MGF1    OID = "1.2.840.113549.1.1.8"
	PSource OID = "1.2.840.113549.1.1.9" // id-pSpecified
	RSAPSS  OID = "1.2.840.113549.1.1.10"
	DSA     OID = "1.2.840.10040.4.1"
	EC      OID = "1.2.840.10045.2.1" // id-ecPublicKey
	ECDH    OID = "1.3.132.1.12"      // id-ecDH
	DH      OID = "1.2.840.10046.2.1" // X9.42 dhpublicnumber
	Ed25519 OID = "1.3.101.112"
	Ed448   OID = "1.3.101.113"
	X25519  OID = "1.3.101.110"
	X448    OID = "1.3.101.111"

	P224 OID = "1.3.132.0.33"
	P256 OID = "1.2.840.10045.3.1.7"
	P384 OID = "1.3.132.0.34"
	P521 OID = "1.3.132.0.35"

	MD5WithRSA      OID = "1.2.840.113549.1.1.4"
	SHA1WithRSA     OID = "1.2.840.113549.1.1.5"
	SHA1WithRSAISO  OID = "1.3.14.3.2.29"
	SHA224WithRSA   OID = "1.2.840.113549.1.1.14"
	SHA256WithRSA   OID = "1.2.840.113549.1.1.11"
	SHA384WithRSA   OID = "1.2.840.113549.1.1.12"
	SHA512WithRSA   OID = "1.2.840.113549.1.1.13"
	SHA3224WithRSA  OID = "2.16.840.1.101.3.4.3.13"
	SHA3256WithRSA  OID = "2.16.840.1.101.3.4.3.14"
	SHA3384WithRSA  OID = "2.16.840.1.101.3.4.3.15"
	SHA3512WithRSA  OID = "2.16.840.1.101.3.4.3.16"
	DSAWithSHA1     OID = "1.2.840.10040.4.3"
	DSAWithSHA224   OID = "2.16.840.1.101.3.4.3.1"
	DSAWithSHA256   OID = "2.16.840.1.101.3.4.3.2"
	DSAWithSHA384   OID = "2.16.840.1.101.3.4.3.3"
	DSAWithSHA512   OID = "2.16.840.1.101.3.4.3.4"
	ECDSAWithSHA1   OID = "1.2.840.10045.4.1"
	ECDSAWithSHA224 OID = "1.2.840.10045.4.3.1"
	ECDSAWithSHA256 OID = "1.2.840.10045.4.3.2"
	ECDSAWithSHA384 OID = "1.2.840.10045.4.3.3"
	ECDSAWithSHA512 OID = "1.2.840.10045.4.3.4"
	ECDSASHA3224    OID = "2.16.840.1.101.3.4.3.9"
	ECDSASHA3256    OID = "2.16.840.1.101.3.4.3.10"
	ECDSASHA3384    OID = "2.16.840.1.101.3.4.3.11"
	ECDSASHA3512    OID = "2.16.840.1.101.3.4.3.12"
)

// Content ciphers: RFC 3565, RFC 5084, RFC 8103, RFC 3370.
const (
	AES128CBC        OID = "2.16.840.1.101.3.4.1.2"
	AES192CBC        OID = "2.16.840.1.101.3.4.1.22"
	AES256CBC        OID = "2.16.840.1.101.3.4.1.42"
	AES128GCM        OID = "2.16.840.1.101.3.4.1.6"
	AES192GCM        OID = "2.16.840.1.101.3.4.1.26"
	AES256GCM        OID = "2.16.840.1.101.3.4.1.46"
	AES128CCM        OID = "2.16.840.1.101.3.4.1.7"
	AES192CCM        OID = "2.16.840.1.101.3.4.1.27"
	AES256CCM        OID = "2.16.840.1.101.3.4.1.47"
	ChaCha20Poly1305 OID = "1.2.840.113549.1.9.16.3.18"
	DESEDE3CBC       OID = "1.2.840.113549.3.7"
	RC2CBC           OID = "1.2.840.113549.3.2"
	DESCBC           OID = "1.3.14.3.2.7"
)

// Key wrap, key agreement, key derivation, compression, KEM.
const (
	AES128Wrap OID = "2.16.840.1.101.3.4.1.5"
	AES192Wrap OID = "2.16.840.1.101.3.4.1.25"
	AES256Wrap OID = "2.16.840.1.101.3.4.1.45"
	TDESWrap   OID = "1.2.840.113549.1.9.16.3.6"
	RC2Wrap    OID = "1.2.840.113549.1.9.16.3.7"
	ESDH       OID = "1.2.840.113549.1.9.16.3.5"
	PWRIKEK    OID = "1.2.840.113549.1.9.16.3.9"
	ZLIB       OID = "1.2.840.113549.1.9.16.3.8"

	ECDHSHA1KDF   OID = "1.3.133.16.840.63.0.2"
	ECDHSHA224KDF OID = "1.3.132.1.11.0"
	ECDHSHA256KDF OID = "1.3.132.1.11.1"
	ECDHSHA384KDF OID = "1.3.132.1.11.2"
	ECDHSHA512KDF OID = "1.3.132.1.11.3"
	ECCHSHA1KDF   OID = "1.3.133.16.840.63.0.3" // cofactor Diffie-Hellman
	ECCHSHA224KDF OID = "1.3.132.1.14.0"
	ECCHSHA256KDF OID = "1.3.132.1.14.1"
	ECCHSHA384KDF OID = "1.3.132.1.14.2"
	ECCHSHA512KDF OID = "1.3.132.1.14.3"
	DHHKDFSHA256  OID = "1.2.840.113549.1.9.16.3.19"
	DHHKDFSHA384  OID = "1.2.840.113549.1.9.16.3.20"
	DHHKDFSHA512  OID = "1.2.840.113549.1.9.16.3.21"

	PBKDF2 OID = "1.2.840.113549.1.5.12"
	PBES2  OID = "1.2.840.113549.1.5.13"
	Scrypt OID = "1.3.6.1.4.1.11591.4.11"

	ORIKEM OID = "1.2.840.113549.1.9.16.13.3" // id-ori-kem, RFC 9629

	PreferSignedData OID = "1.2.840.113549.1.9.15.1" // RFC 8551, Section 2.5.2
)

// Certificates: RFC 5280, RFC 9598.
const (
	ExtSubjectKeyID     OID = "2.5.29.14"
	ExtKeyUsage         OID = "2.5.29.15"
	ExtSubjectAltName   OID = "2.5.29.17"
	ExtBasicConstraints OID = "2.5.29.19"
	ExtAuthorityKeyID   OID = "2.5.29.35"
	ExtExtKeyUsage      OID = "2.5.29.37"
	EKUAny              OID = "2.5.29.37.0"
	EKUEmailProtection  OID = "1.3.6.1.5.5.7.3.4"
	SmtpUTF8Mailbox     OID = "1.3.6.1.5.5.7.8.9"
	DNEmailAddress      OID = "1.2.840.113549.1.9.1"
)
