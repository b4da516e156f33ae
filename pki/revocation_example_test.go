package pki_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
)

// A certificate is checked offline, against the CRL of its issuer.
func ExampleRevocation() {
	ca, err := testpki.NewCA("Example CA")
	if err != nil {
		fmt.Println(err)
		return
	}
	alice, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.org"})
	if err != nil {
		fmt.Println(err)
		return
	}
	revoked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	raw, err := x509.CreateRevocationList(nil, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().AddDate(0, 0, 7),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: alice.Cert.SerialNumber, RevocationTime: revoked, ReasonCode: int(pki.RevokedSuperseded)},
		},
	}, ca.Cert, ca.Key)
	if err != nil {
		fmt.Println(err)
		return
	}

	crl, err := pki.ParseCRL(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	check := &pki.Revocation{CRLs: []*pki.CRL{crl}}
	chain := []*pki.Certificate{pki.FromX509(alice.Cert), pki.FromX509(ca.Cert)} // as Roots.Verify returns it
	statuses, err := check.Check(context.Background(), chain)

	var is *pki.RevokedError
	if errors.As(err, &is) {
		fmt.Println(statuses[0].Status, is.RevokedAt.Format(time.DateOnly), is.Reason)
	}
	// Output: revoked 2026-03-01 superseded
}
