package smimea

import "errors"

var (
	// ErrNoResolver says that there is nobody to ask.
	ErrNoResolver = errors.New("no DNS resolver was given")
	// ErrAddress says that a mail address cannot be looked for in the DNS.
	ErrAddress = errors.New("not a mail address with a domain of the DNS")
	// ErrNoRecords says that the address has no SMIMEA records; DNSSEC vouches
	// for that.
	ErrNoRecords = errors.New("there are no SMIMEA records")
	// ErrUnusable says that no SMIMEA record of the address can be used.
	ErrUnusable = errors.New("none of the SMIMEA records can be used")
	// ErrNotVouched says that the SMIMEA records allow a certificate but leave
	// it to a path to a root to vouch for it (the usages PKIX-TA and PKIX-EE).
	ErrNotVouched = errors.New("the SMIMEA records allow the certificate, but do not vouch for it")
	// ErrDenied says that there are SMIMEA records that can be used, and that
	// the certificate is not one that they allow.
	ErrDenied = errors.New("the SMIMEA records are for other certificates")
)

// An InsecureError says that an answer is not protected by DNSSEC, so that it is
// not known which records there are, if any. Either the domain is not signed or the
// resolver is not one that can be believed.
type InsecureError struct {
	Name string // the name that was asked for
}

func (e *InsecureError) Error() string {
	return "the answer about " + e.Name + " is not protected by DNSSEC"
}
