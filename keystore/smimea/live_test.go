package smimea_test

import (
	"encoding/asn1"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crypto/x509"
	"crypto/x509/pkix"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// zoneText publishes the certificate of a person for another address, or one of
// its own.
func zoneText(t *testing.T, address string, f *family, generic bool) string {
	t.Helper()
	p, err := smimea.Publish(address, f.leaf, dane.DANEEE, dane.FullCert, dane.Full)
	if err != nil {
		t.Fatal(err)
	}
	if generic {
		return p.Generic(time.Hour)
	}
	return p.Zone(time.Hour)
}

// TestLive publishes certificates in a real zone and finds them through a
// validating resolver.
func TestLive(t *testing.T) {
	bulk := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 999, 1}, Value: make([]byte, 20000)})
	}
	people := map[string]*family{}
	text := map[string]string{}
	for address, zone := range map[string]string{"Alice@example": "signed", "big@example": "signed", "jürgen@sub.example": "signed", "all@any.example": "signed",
		"bob@unsigned.example": "unsigned", "carol@bogus.example": "bogus", "old@example": "signed"} {
		profile := testpki.Profile{Email: address}
		if address == "big@example" {
			profile.Edit = bulk
		}
		people[address] = newFamily(t, profile)
		text[zone] += zoneText(t, address, people[address], address == "old@example")
	}
	anyName, err := smimea.Name("all@any.example")
	if err != nil {
		t.Fatal(err)
	}
	label, _, _ := strings.Cut(anyName, ".")
	text["signed"] = strings.ReplaceAll(text["signed"], label, "*") // the same for every local part
	moved, err := smimea.Name("moved@example")
	if err != nil {
		t.Fatal(err)
	}
	target, err := smimea.Name("Alice@example")
	if err != nil {
		t.Fatal(err)
	}
	text["signed"] += moved + ". 3600 IN CNAME " + target + ".\n"
	w := dnstest.Start(t, &dnstest.Options{Signed: text["signed"], Unsigned: text["unsigned"], Bogus: text["bogus"],
		Damage: func(set []dns.RR, sig *dns.RRSIG, _ func(*dns.RRSIG) error) (*dns.RRSIG, error) {
			if set[0].Header().Rrtype == dns.TypeSMIMEA {
				sig.Signature = "AAAA" + sig.Signature[4:]
			}
			return sig, nil
		}})
	client, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	f := finder(t, client, nil)
	for asked, owner := range map[string]string{"Alice@example": "Alice@example", "Alice@EXAMPLE": "Alice@example", "big@example": "big@example",
		"ju\u0308rgen@sub.example": "jürgen@sub.example", "old@example": "old@example", "moved@example": "Alice@example", "whoever@any.example": "all@any.example"} {
		found, findErr := f.Find(t.Context(), asked)
		if findErr != nil || len(found) != 1 || !found[0].Vouched || found[0].Err != nil || string(found[0].Certificate.Raw) != string(people[owner].leaf.Raw) {
			t.Errorf("%s: %+v, %v", asked, found, findErr)
		}
		if checkErr := f.Check(t.Context(), asked, people[owner].leaf, nil); checkErr != nil {
			t.Errorf("%s: %v", asked, checkErr)
		}
		if checkErr := f.Check(t.Context(), asked, people["bob@unsigned.example"].leaf, nil); !errors.Is(checkErr, smimea.ErrDenied) {
			t.Errorf("%s: %v", asked, checkErr)
		}
	}
	liveFailures(t, f, people["Alice@example"])
}

func liveFailures(t *testing.T, f *smimea.Finder, someone *family) {
	t.Helper()
	for _, asked := range []string{"alice@example", "nobody@sub.example", "nobody@nowhere.example"} {
		if found, err := f.Find(t.Context(), asked); err != nil || found != nil {
			t.Errorf("%s: %+v, %v", asked, found, err)
		}
		if err := f.Check(t.Context(), asked, someone.leaf, nil); !errors.Is(err, smimea.ErrNoRecords) {
			t.Errorf("%s: %v", asked, err)
		}
	}
	var insecure *smimea.InsecureError
	for _, asked := range []string{"bob@unsigned.example", "nobody@unsigned.example", "nobody@deep.unsigned.example"} {
		found, err := f.Find(t.Context(), asked)
		if isSourceError(t, err); !errors.As(err, &insecure) || found != nil {
			t.Errorf("%s: %+v, %v", asked, found, err)
		}
	}
	var lookup *dane.LookupError
	for _, asked := range []string{"carol@bogus.example", "nobody@bogus.example"} {
		found, err := f.Find(t.Context(), asked)
		if isSourceError(t, err); !errors.As(err, &lookup) || lookup.Reason != dane.Bogus || found != nil {
			t.Errorf("%s: %+v, %v", asked, found, err)
		}
	}
	// In a chain of sources, what is not known stays an error.
	chain := &keystore.Chain{Finders: []keystore.Finder{f, &source{found: []keystore.Found{{Certificate: someone.leaf}}}}}
	found, err := chain.Find(t.Context(), "bob@unsigned.example")
	if isSourceError(t, err); len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}
