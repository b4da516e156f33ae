package smimea_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

// Example publishes a certificate and finds it again. The zone is one in memory
// here; outside of tests, the resolver is a client of package dnsclient.
func Example() {
	ca, err := testpki.NewCA("CA")
	if err != nil {
		fmt.Println(err)
		return
	}
	alice, err := ca.Issue(testpki.Profile{Email: "alice@example.com", Key: testpki.P256})
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := pki.ParseCertificate(alice.Cert.Raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := smimea.Publish("alice@example.com", cert, dane.DANEEE, dane.FullCert, dane.Full)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Name)

	resolver := &zone{answers: map[string]*dane.Answer[dane.Record]{p.Name: {Name: p.Name, Secure: true, Records: []dane.Record{p.Record}}}}
	finder, err := smimea.New(resolver, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := finder.Find(context.Background(), "alice@Example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range found {
		fmt.Println(f.Certificate.Subject(), f.Detail, f.Vouched, f.Err)
	}
	err = finder.Check(context.Background(), "bob@example.com", cert, nil)
	fmt.Println(errors.Is(err, smimea.ErrNoRecords))
	// Output:
	// 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db._smimecert.example.com
	// CN=Test,O=Test DANE-EE true <nil>
	// true
}
