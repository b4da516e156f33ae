package upstream

import (
	"errors"
	"fmt"
	"net/netip"
)

// Errors of finding a server, and of connecting to it.
var (
	// ErrNoService says that the DNS says that a domain has no such service.
	ErrNoService = errors.New("the domain has no such service, by its SRV records")
	// ErrTarget says that SRV records that DNSSEC does not vouch for name hosts
	// outside of the domain that the configuration does not name as targets.
	ErrTarget = errors.New("the SRV records name a host of another domain; if it is the right one, name it in targets")
	// ErrNotTold says that a server does not let this host tell it the address of
	// the client.
	ErrNotTold = errors.New("the mail server does not let this host tell it the address of the client")
	// ErrAnswer says that a server does not speak its protocol.
	ErrAnswer = errors.New("the mail server does not answer as it should")
	// ErrNoClient says that there is no address of a client to tell.
	ErrNoClient = errors.New("the address of the client is not known")
)

// A DomainError says that the domain of a login name is none of the configured
// ones.
type DomainError struct{ Domain string }

func (e *DomainError) Error() string {
	if e.Domain == "" {
		return "the login name has no domain"
	}
	return fmt.Sprintf("%q is none of the configured domains", e.Domain)
}

// A DestinationError says that a connection was going to where it may not go.
type DestinationError struct {
	Destination netip.AddrPort
	Reason      string
}

func (e *DestinationError) Error() string {
	if !e.Destination.IsValid() {
		return e.Reason
	}
	return e.Destination.String() + ": " + e.Reason
}
