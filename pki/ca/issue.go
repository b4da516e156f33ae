package ca

import (
	"crypto"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// A Profile is one of the generations of the S/MIME baseline requirements.
type Profile int

// The profiles.
const (
	Strict       Profile = iota // for mail alone, 825 days at most
	Multipurpose                // for mail and for the authentication of clients, 825 days at most
	Legacy                      // for mail alone, 1185 days at most
)

// MaxDays returns how long a certificate of the profile may be valid.
func (p Profile) MaxDays() int {
	if p == Legacy {
		return 1185
	}
	return 825
}

// policy returns the identifier of the profile: mailbox-validated without a
// name of a person, individual-validated with one.
func (p Profile) policy(named bool) oid.OID {
	arc := "2.23.140.1.5.1."
	if named {
		arc = "2.23.140.1.5.4."
	}
	return oid.OID(arc + map[Profile]string{Legacy: "1", Multipurpose: "2", Strict: "3"}[p])
}

// A Usage says what a key may be used for.
type Usage int

// The usages.
const (
	SignAndEncrypt Usage = iota // digitalSignature, and keyEncipherment or keyAgreement
	SignOnly                    // digitalSignature
	EncryptOnly                 // keyEncipherment, or keyAgreement
)

// A Request says what a certificate is to say.
type Request struct {
	// Emails are the mail addresses, 1 to 100, with ASCII domains.
	Emails []string
	// Name is that of the person, or empty. Its last word becomes the surname and
	// what is before it the given name, unless GivenName or Surname say otherwise.
	Name string
	// GivenName and Surname are parts of Name. Empty is for Name to tell.
	GivenName, Surname string
	// Key is an *rsa.PublicKey of 2,048 bits or more or *ecdsa.PublicKey (P-256,
	// P-384, P-521); to sign only an ed25519.PublicKey, *mldsa.PublicKey or a key
	// of Ed448 or SLH-DSA; to encrypt only an *ecdh.PublicKey (X25519), a
	// crypto.Encapsulator for ML-KEM or a key of X448. [Public] returns it.
	Key crypto.PublicKey
	// Usage is what the key is for.
	Usage Usage
	// NonRepudiation adds that bit to a key that signs.
	NonRepudiation bool
	// Profile is what the certificate keeps to.
	Profile Profile
	// Days is how long it is valid, at most Profile.MaxDays; zero means 365.
	Days int
	// URLs tell where its status can be had.
	URLs URLs
}

// maxAddresses bounds the addresses in a certificate.
const maxAddresses = 100

// defaultDays is how long certificates are valid.
const defaultDays = 365

// Issue makes a certificate for a person's mail. The error is a
// [*RequestError] when the request breaks a rule.
func (a *Authority) Issue(r *Request, now time.Time) (*pki.Certificate, error) {
	t, err := r.template(now)
	if err != nil {
		return nil, err
	}
	t.extensions = append(t.extensions, policy(r.Profile.policy(r.Name != "")))
	if err = a.covers(t); err != nil {
		return nil, err
	}
	return t.make(a.Certificate, a.key)
}

// template returns what a certificate will say, whoever issues it.
func (r *Request) template(now time.Time) (*template, error) {
	days := r.Days
	if days == 0 {
		days = defaultDays
	}
	if days < 0 || days > r.Profile.MaxDays() {
		return nil, refuse("validity", "is 1 to "+strconv.Itoa(r.Profile.MaxDays())+" days in this profile")
	}
	if r.Profile < Strict || r.Profile > Legacy {
		return nil, refuse("profile", "is not known")
	}
	usage, err := r.usage()
	if err != nil {
		return nil, err
	}
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	purposes := []oid.OID{oid.EKUEmailProtection}
	if r.Profile == Multipurpose {
		purposes = append(purposes, ekuClientAuth)
	}
	now = now.UTC().Truncate(time.Second)
	return &template{
		subject: subject, key: r.Key, notBefore: now.Add(-skew),
		// The last second is part of the validity (RFC 5280, Section 4.1.2.5).
		notAfter: now.Add(-skew).AddDate(0, 0, days).Add(-time.Second),
		extensions: append([]extension{
			// RFC 5280, Section 4.2.1.6: critical when the subject is empty.
			{oid.ExtSubjectAltName, isEmpty(subject), func(b *der.Builder) { addAddresses(b, r.Emails) }},
			keyUsage(usage), extKeyUsage(purposes...),
		}, r.URLs.where()...),
	}, nil
}

// subject returns the Name of the subject: the person's name, or else the
// address when it is short enough to be one.
func (r *Request) subject() ([]byte, error) {
	if len(r.Emails) == 0 {
		return nil, refuse("address", "is missing")
	}
	if len(r.Emails) > maxAddresses {
		return nil, refuse("address", "is one of more than 100")
	}
	for _, address := range r.Emails {
		if err := checkAddress(address); err != nil {
			return nil, err
		}
	}
	for _, text := range []string{r.Name, r.GivenName, r.Surname} {
		if err := checkName(text); err != nil {
			return nil, err
		}
	}
	if r.Name == "" && r.GivenName+r.Surname != "" {
		return nil, refuse("name", "is missing beside its parts")
	}
	common := r.Name
	if common == "" && utf8.RuneCountInString(r.Emails[0]) <= maxName {
		common = r.Emails[0]
	}
	given, surname := r.parts()
	return personName(given, surname, common)
}

// parts returns the given name and the surname.
//
// Baseline requirements, Section 7.1.4.2.5: where a person is named, one of them
// has to be there.
func (r *Request) parts() (given, surname string) {
	if r.GivenName != "" || r.Surname != "" {
		return r.GivenName, r.Surname
	}
	words := strings.Fields(r.Name)
	if len(words) < 2 {
		return r.Name, ""
	}
	return strings.Join(words[:len(words)-1], " "), words[len(words)-1]
}

// usage returns the bits of the keyUsage (RFC 8550, Section 4.4.2).
func (r *Request) usage() (byte, error) {
	if err := checkKey(r.Key); err != nil {
		return 0, err
	}
	canSign, encrypt := usages(r.Key)
	wantSign, wantEncrypt := r.Usage != EncryptOnly, r.Usage != SignOnly
	switch {
	case wantSign && canSign == 0:
		return 0, refuse("key", "of this type cannot sign: X25519, X448 and ML-KEM are for encryption")
	case wantEncrypt && encrypt == 0:
		return 0, refuse("key", "of this type cannot be encrypted to: Ed25519, Ed448, ML-DSA and SLH-DSA are for signatures")
	}
	var bits byte
	if wantSign {
		bits |= canSign
		if r.NonRepudiation {
			bits |= usageNonRepudiation
		}
	}
	if wantEncrypt {
		bits |= encrypt
	}
	return bits, nil
}

// maxAddress is the length of the longest address, in octets.
const maxAddress = 320

// checkAddress refuses what is not a plain address.
//
// RFC 9598, Section 3: the domain is in ASCII, whatever the local part is in.
func checkAddress(address string) error {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 || len(address) > maxAddress || !utf8.ValidString(address) {
		return refuse("address", "is not of the form local@domain")
	}
	for _, r := range address {
		if r <= ' ' || r == 0x7F || strings.ContainsRune(`<>()[]\,;:"`, r) || checkName(string(r)) != nil {
			return refuse("address", "has characters that an address has not")
		}
	}
	if strings.ContainsRune(address[:at], '@') {
		return refuse("address", "is not of the form local@domain")
	}
	return checkDomain(address[at+1:])
}

func checkDomain(domain string) error {
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return refuse("address", "has a domain that is none")
		}
		for _, r := range label {
			switch {
			case r >= 0x80:
				return refuse("address", "has a domain that is not in ASCII: give it in its form xn--…")
			case !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", r):
				return refuse("address", "has a domain that is none")
			}
		}
	}
	return nil
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

// addAddresses appends GeneralNames.
//
// RFC 9598, Section 3: rfc822Name where the local part is in ASCII, and only
// otherwise SmtpUTF8Mailbox.
func addAddresses(b *der.Builder, addresses []string) {
	sequence(b, func(b *der.Builder) {
		for _, address := range addresses {
			if isASCII(address) {
				b.AddASN1(der.Context(1, false), func(b *der.Builder) { b.AddBytes([]byte(address)) })
				continue
			}
			b.AddASN1(der.Context(0, true), func(b *der.Builder) {
				der.AddOID(b, oid.SmtpUTF8Mailbox)
				b.AddASN1(der.Context(0, true), func(b *der.Builder) {
					b.AddASN1(asn1.UTF8String, func(b *der.Builder) { b.AddBytes([]byte(address)) })
				})
			})
		}
	})
}
