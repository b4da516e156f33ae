package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"
)

// A Reason says, for a program, why a chain was not accepted.
type Reason int

// The reasons.
const (
	UnknownIssuer Reason = iota + 1 // no chain leads to a root
	Expired                         // a certificate of the chain is past its time
	NotYetValid                     // a certificate of the chain is before its time
	WrongUsage                      // not for the protection of mail (extended key usage)
	BadSignature                    // the issuer is there, but did not sign this
	Constraint                      // an issuer may not issue this
	Unsupported                     // something that this package cannot check, or too weak an algorithm
)

// String returns the reason's name, such as "unknown issuer".
func (r Reason) String() string {
	names := []string{
		"unknown issuer", "expired", "not yet valid", "wrong usage", "bad signature", "constraint", "unsupported",
	}
	if r < 1 || int(r) > len(names) {
		return "reason " + strconv.Itoa(int(r))
	}
	return names[r-1]
}

// A ChainError says why no chain was accepted. Where several things are wrong,
// it tells the one that would remain: an unknown issuer rather than a time that
// has passed.
type ChainError struct {
	Reason Reason
	// Certificate is the one at fault: the leaf, or one of its issuers.
	Certificate *Certificate
	// Err is the underlying error, or nil.
	Err error
}

// Unwrap returns e.Err.
func (e *ChainError) Unwrap() error { return e.Err }

// Error returns a sentence for people, without control characters.
func (e *ChainError) Error() string {
	c := e.Certificate
	if c == nil {
		return "no certificate was given"
	}
	who := "the certificate of " + c.owner()
	switch e.Reason {
	case UnknownIssuer:
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return who + " is signed by itself and is not among the trusted ones"
		}
		return who + " was issued by " + quoted(c.Issuer()) + ", which is not known or not trusted"
	case Expired:
		return who + " expired on " + c.NotAfter.Format(time.DateOnly)
	case NotYetValid:
		return who + " is not valid before " + c.NotBefore.Format(time.DateOnly)
	case WrongUsage:
		return who + " is not meant for the protection of mail"
	case BadSignature:
		return who + " was not signed by its issuer, " + quoted(c.Issuer())
	case Constraint:
		return who + " breaks a rule for issuing certificates" + e.detail()
	}
	return who + " cannot be checked" + e.detail()
}

func (e *ChainError) detail() string {
	if e.Err == nil {
		return ""
	}
	return ": " + printable(e.Err.Error())
}

func quoted(s string) string { return `"` + s + `"` }

// owner names the subject in a sentence.
func (c *Certificate) owner() string {
	if name := c.CommonName(); name != "" {
		return quoted(name)
	}
	if len(c.Emails) > 0 {
		return c.Emails[0]
	}
	if name := c.Subject(); name != "" {
		return quoted(name)
	}
	return "no name (serial number " + hex.EncodeToString(c.Serial[:min(len(c.Serial), 20)]) + ")"
}

// maxTimes bounds the times at which a chain is tried for a diagnosis.
const maxTimes = 12

// diagnose finds the most useful reason for a failure. The first thing that
// crypto/x509 meets is seldom that: it stops at a leaf that has expired before
// it looks for the issuer, and says "unknown authority" when an issuer has
// expired.
func (v *verifier) diagnose(now time.Time, err error) error {
	var chainErr *ChainError
	if errors.As(err, &chainErr) {
		return chainErr
	}
	times := v.times(now)
	for _, t := range times {
		chain, late := v.at(t)
		if late == nil {
			return outOfTime(chain, now, err)
		}
		if errors.As(late, &chainErr) {
			return chainErr
		}
	}
	for _, t := range times {
		chain, late := v.atFor(t, x509.ExtKeyUsageAny)
		if late == nil {
			i := max(0, slices.IndexFunc(chain, func(c *Certificate) bool { return !c.MayProtectEmail() }))
			return &ChainError{Reason: WrongUsage, Certificate: chain[i], Err: err}
		}
	}
	// With the leaf in its time, the error is about something else.
	_, err = v.at(times[0])
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason != x509.Expired:
		return &ChainError{Reason: Constraint, Certificate: v.leaf, Err: err}
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		return &ChainError{Reason: Unsupported, Certificate: v.leaf, Err: err}
	}
	return v.walk(now, err)
}

// times returns times at which the chain may have been valid, now first, or
// the nearest to it at which leaf is. If certificates have a time in common, it
// has as its beginning the beginning of one of theirs.
func (v *verifier) times(now time.Time) []time.Time {
	t := now
	if t.After(v.leaf.NotAfter) {
		t = v.leaf.NotAfter
	}
	if t.Before(v.leaf.NotBefore) {
		t = v.leaf.NotBefore
	}
	times := []time.Time{t, v.leaf.NotBefore}
	for _, c := range slices.Concat(v.roots.certs, v.others) {
		within := !c.NotBefore.Before(v.leaf.NotBefore) && !c.NotBefore.After(v.leaf.NotAfter)
		if c.IsCA && within && len(times) < maxTimes {
			times = append(times, c.NotBefore)
		}
	}
	return times
}

// outOfTime names the certificate of chain that is not valid now.
func outOfTime(chain []*Certificate, now time.Time, err error) error {
	for _, c := range chain {
		if now.After(c.NotAfter) {
			return &ChainError{Reason: Expired, Certificate: c, Err: err}
		}
		if now.Before(c.NotBefore) {
			return &ChainError{Reason: NotYetValid, Certificate: c, Err: err}
		}
	}
	return &ChainError{Reason: Unsupported, Certificate: chain[0], Err: err}
}

// walk follows the issuers by name and signature, and tells where that ends.
func (v *verifier) walk(now time.Time, err error) error {
	chain := []*Certificate{v.leaf}
	for range maxChain {
		issuer, fault := v.issuerOf(chain[len(chain)-1])
		if fault != nil {
			return fault
		}
		if slices.Contains(chain, issuer) {
			break
		}
		chain = append(chain, issuer)
		if v.roots.byRaw[string(issuer.Raw)] != nil {
			// All signatures are there, and yet there is no chain.
			fault, _ := outOfTime(chain, now, err).(*ChainError)
			if fault.Reason == Unsupported {
				fault.Reason = Constraint
			}
			return fault
		}
	}
	return &ChainError{Reason: UnknownIssuer, Certificate: chain[len(chain)-1], Err: err}
}

// issuerOf returns the issuer of c, a root if there is one, or what is wrong
// with the candidates.
func (v *verifier) issuerOf(c *Certificate) (*Certificate, *ChainError) {
	fault := &ChainError{Reason: UnknownIssuer, Certificate: c}
	if signedByItself(c) {
		return nil, fault
	}
	checked := 0
	for _, ca := range slices.Concat(v.roots.certs, v.others) {
		if bytes.Equal(ca.Raw, c.Raw) || !NamesEqual(ca.RawSubject, c.RawIssuer) {
			continue
		}
		// An issuer with another key of the same name is not the one.
		if c.AuthorityKeyID != nil && ca.SubjectKeyID != nil && !bytes.Equal(c.AuthorityKeyID, ca.SubjectKeyID) {
			continue
		}
		if checked++; checked > maxTimes {
			break
		}
		if ca.X509 == nil || ca.KeyErr != nil || c.X509 == nil {
			fault = &ChainError{Reason: Unsupported, Certificate: ca, Err: errors.Join(ca.X509Err, ca.KeyErr, c.X509Err)}
			continue
		}
		err := prepared(c).CheckSignatureFrom(prepared(ca))
		var insecure x509.InsecureAlgorithmError
		switch {
		case err == nil:
			return ca, nil
		case errors.Is(err, x509.ErrUnsupportedAlgorithm), errors.As(err, &insecure):
			fault = &ChainError{Reason: Unsupported, Certificate: c, Err: err}
		case errors.As(err, new(x509.ConstraintViolationError)):
			fault = &ChainError{Reason: Constraint, Certificate: ca, Err: err}
		default:
			fault = &ChainError{Reason: BadSignature, Certificate: c, Err: err}
		}
	}
	return nil, fault
}

func signedByItself(c *Certificate) bool {
	if c.X509 == nil || c.KeyErr != nil || !NamesEqual(c.RawIssuer, c.RawSubject) {
		return false
	}
	x := prepared(c)
	return x.CheckSignature(x.SignatureAlgorithm, x.RawTBSCertificate, x.Signature) == nil
}
