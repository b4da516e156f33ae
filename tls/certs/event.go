package certs

import (
	"fmt"
	"strings"
	"time"
)

// A Kind is what an [Event] is about.
type Kind int

// The kinds of events.
const (
	// Loaded: a file was read, at the start or because it changed.
	Loaded Kind = iota + 1
	// LoadFailed: a file has changed to something that cannot be used. What there
	// was before is still in use. It is reported once for each change.
	LoadFailed
	// Stapled: there is a new OCSP response.
	Stapled
	// StapleFailed: there was no new OCSP response. The one that there is is stapled
	// until it ends.
	StapleFailed
	// Revoked: the certificate has been revoked. It is served without a response,
	// and behind others for the same name.
	Revoked
	// Obtained: an ACME server has issued a certificate.
	Obtained
	// ObtainFailed: it has not. It is asked again later.
	ObtainFailed
	// Exposed: the file with the key can be read by everybody on this host. It is
	// used all the same.
	Exposed
)

var kinds = [...]string{
	Loaded: "loaded", LoadFailed: "not loaded", Stapled: "OCSP response stapled", StapleFailed: "no OCSP response",
	Revoked: "revoked", Obtained: "certificate obtained", ObtainFailed: "certificate not obtained",
	Exposed: "key exposed",
}

// String returns the kind in words.
func (k Kind) String() string {
	if k <= 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kinds[k]
}

// An Event is something that happened to the certificates of a [Manager].
type Event struct {
	Kind Kind
	// File is where the certificate comes from, or is kept.
	File string
	// Names are those of the certificate.
	Names []string
	// Until is the end of the certificate's validity, or for Stapled of that of
	// the response.
	Until time.Time
	// Err is nil, a *LoadError, a *StapleError, an *ACMEError, or ErrExposed.
	Err error
}

// String describes the event in one line.
func (e Event) String() string {
	s := e.Kind.String()
	if e.File != "" {
		s += " " + e.File
	}
	if len(e.Names) > 0 {
		s += " (" + strings.Join(e.Names, ", ") + ")"
	}
	if !e.Until.IsZero() {
		s += " until " + e.Until.UTC().Format(time.RFC3339)
	}
	if e.Err != nil {
		s += ": " + strings.TrimPrefix(e.Err.Error(), "certs: ")
	}
	return printable(s)
}
