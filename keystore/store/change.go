package store

import (
	"bytes"

	"github.com/postseal/postseal/pki"
)

// A ChangeKind says what is new about a correspondent.
type ChangeKind int

// The kinds of changes.
const (
	NewCorrespondent   ChangeKind = iota + 1 // nothing was known of the address
	RenewedCertificate                       // another certificate of the same issuer for the same key
	ChangedKey                               // another key
	ChangedIssuer                            // another issuer
	// NotTheTrusted: the message has another certificate than the one that the
	// user trusts by hand, which goes on being used.
	NotTheTrusted
)

// String returns the kind in words.
func (k ChangeKind) String() string {
	switch k {
	case NewCorrespondent:
		return "new correspondent"
	case RenewedCertificate:
		return "new certificate for the same key"
	case ChangedKey:
		return "another key"
	case ChangedIssuer:
		return "another issuer"
	case NotTheTrusted:
		return "not the certificate that is trusted by hand"
	}
	return "unknown change"
}

// A Role is what a certificate is used for. Roles can be added.
type Role int

// The roles.
const (
	Signing Role = 1 << iota
	Encryption
)

// String returns the role in words.
func (r Role) String() string {
	switch r {
	case Signing:
		return "signing"
	case Encryption:
		return "encryption"
	case Signing | Encryption:
		return "signing and encryption"
	}
	return "nothing"
}

// A Change is something new about a correspondent that a user may want to know.
type Change struct {
	Kind    ChangeKind
	Address string
	Role    Role
	Old     *pki.Certificate // nil for NewCorrespondent
	New     *pki.Certificate
	// Known says that the new certificate is one that had been seen with the
	// address before, as when a correspondent has two of them in turn.
	Known bool
}

// String returns a sentence.
func (c Change) String() string {
	text := c.Address + ": " + c.Kind.String() + " for " + c.Role.String()
	if c.Kind == ChangedIssuer {
		text += ": " + c.Old.Issuer() + " before, now " + c.New.Issuer()
	}
	if c.Known {
		text += " (seen before)"
	}
	return text
}

// compare returns the changes from one certificate to another.
func compare(address string, role Role, from, to *pki.Certificate, known bool) []Change {
	if from == nil || to == nil || bytes.Equal(from.Raw, to.Raw) {
		return nil
	}
	change := Change{Address: address, Role: role, Old: from, New: to, Known: known}
	var out []Change
	add := func(kind ChangeKind) {
		change.Kind = kind
		out = append(out, change)
	}
	if !pki.NamesEqual(from.RawIssuer, to.RawIssuer) {
		add(ChangedIssuer)
	}
	if !bytes.Equal(from.RawSPKI, to.RawSPKI) {
		add(ChangedKey)
	}
	if out == nil {
		add(RenewedCertificate)
	}
	return out
}
