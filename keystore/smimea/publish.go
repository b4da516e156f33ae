package smimea

import (
	"fmt"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// A Publication is an SMIMEA record that is to be put into a zone.
type Publication struct {
	Address string
	Name    string // without a dot at the end
	Record  dane.Record
}

// Publish makes the record for a certificate of a mail address, or for the CA of
// such certificates (the usages PKIX-TA and DANE-TA). A domain that publishes its
// users' certificates uses DANE-EE, FullCert and Full: only so can others find them
// in the DNS.
//
// The errors are [ErrAddress]; a [*dane.UnusableError] for numbers that are not
// known; and a [*keystore.UnusableError] for a certificate that is not for the
// address or, by its usages or key, not for mail. Neither its time nor whether the
// usage is for signatures or encryption matters here.
func Publish(address string, c *pki.Certificate, usage dane.Usage, selector dane.Selector, matching dane.MatchingType) (*Publication, error) {
	name, err := Name(address)
	if err != nil {
		return nil, err
	}
	record, err := dane.New(c, usage, selector, matching)
	if err != nil {
		return nil, err
	}
	ca := usage == dane.PKIXTA || usage == dane.DANETA
	switch {
	case !ca && !hasAddress(c, address):
		return nil, &keystore.UnusableError{Reason: keystore.UnusableAddress}
	case !ca && !c.CanEncrypt() && !c.CanSign(), ca && !c.IsCA:
		return nil, &keystore.UnusableError{Reason: keystore.UnusableKeyUsage}
	case !c.MayProtectEmail():
		return nil, &keystore.UnusableError{Reason: keystore.UnusablePurpose}
	}
	if _, err = record.RData(); err != nil {
		return nil, err
	}
	return &Publication{Address: address, Name: name, Record: record}, nil
}

// Zone returns the record as it is written in a zone file, after a comment that
// says what it is. A ttl of less than a second leaves it to the zone.
func (p *Publication) Zone(ttl time.Duration) string {
	return p.comment() + dane.SMIMEA.Text(p.Name, ttl, p.Record)
}

// Generic is Zone for servers that do not know the type SMIMEA (RFC 3597).
func (p *Publication) Generic(ttl time.Duration) string {
	return p.comment() + dane.SMIMEA.Generic(p.Name, ttl, p.Record)
}

// comment is one line, whatever is in the address.
func (p *Publication) comment() string {
	return fmt.Sprintf("; %+q: %v %v %v\n", p.Address, p.Record.Usage, p.Record.Selector, p.Record.MatchingType)
}
