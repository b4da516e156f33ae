package dane_test

import (
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

func Example() {
	name, err := dane.TLSAName("mx.example.com", "tcp", 25)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(name)
	record, err := dane.ParseText("DANE-EE SPKI SHA2-256 8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(record.Usage, record.Selector, record.MatchingType, record.Check() == nil)
	fmt.Print(dane.TLSA.Text(name, 0, record))
	// Output:
	// _25._tcp.mx.example.com
	// DANE-EE SPKI SHA2-256 true
	// _25._tcp.mx.example.com. IN TLSA 3 1 1 8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922
}

func ExampleSMIMEAName() {
	name, err := dane.SMIMEAName("hugh@example.com")
	fmt.Println(name, err)
	// Output: c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6._smimecert.example.com <nil>
}

// The record of a server's key vouches for its certificate, whoever issued it.
func ExampleVerify() {
	ca, err := testpki.NewCA("Nobody knows me")
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := pki.ParseCertificate(ca.Cert.Raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := dane.New(cert, dane.DANEEE, dane.SPKI, dane.SHA256)
	if err != nil {
		fmt.Println(err)
		return
	}
	sent := []*x509.Certificate{ca.Cert}
	opts := &dane.VerifyOptions{Name: func(c *x509.Certificate) error { return c.VerifyHostname("mx.example.org") }}
	match, err := dane.Verify([]dane.Record{record}, sent, opts)
	fmt.Println(match.Record.Usage, len(match.Path), err)
	other, err := dane.ParseText("3 1 1 " + strings.Repeat("00", 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = dane.Verify([]dane.Record{other}, sent, opts)
	fmt.Println(err)
	// Output:
	// DANE-EE 1 <nil>
	// the TLSA record is not for a certificate that the server sent
}
