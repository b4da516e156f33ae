package mtasts

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/internal/dnstest"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// TestLive has a signed DNS tell where the web server is, at its own port.
func TestLive(t *testing.T) {
	var l net.Listener
	for i := range 20 { // somebody else may be there
		var err error
		if l, err = net.Listen("tcp", fmt.Sprintf("127.%d.%d.7:443", 50+os.Getpid()%100, 1+i)); errors.Is(err, os.ErrPermission) {
			t.Skip("port 443 is for root alone")
		}
		if l != nil {
			break
		}
	}
	if l == nil {
		t.Fatal("no address has port 443 free")
	}
	ca, err := theCA()
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "live", NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"mta-sts.live.example", "mta-sts.bad.bogus.example"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, good)
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.TLS = &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := dnstest.Start(t, &dnstest.Options{
		Signed: fmt.Sprintf("_mta-sts.live.example. 60 IN CNAME policy.example.\npolicy.example. 60 IN TXT \"v=STSv1; \" \"id=7;\"\nmta-sts.live.example. 60 IN CNAME web.example.\nweb.example. 60 IN A %s\n"+
			"_mta-sts.gone.example. 60 IN TXT \"v=STSv1; id=7;\"\n_mta-sts.away.example. 60 IN TXT \"v=STSv1; id=7;\"\nmta-sts.away.example. 60 IN A %s\n", host, host),
		Bogus: fmt.Sprintf("_mta-sts.bad.bogus.example. 60 IN TXT \"v=STSv1; id=7;\"\nmta-sts.bad.bogus.example. 60 IN A %s\n", host),
		Damage: func([]dns.RR, *dns.RRSIG, func(*dns.RRSIG) error) (*dns.RRSIG, error) {
			return nil, nil
		}})
	resolver, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{w.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	client, err := New(&Options{Resolver: resolver, Cache: NewMemoryCache(nil), Roots: roots, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Lookup(t.Context(), "live.example")
	if err != nil || r.Policy == nil || r.ID != "7" || !r.Policy.Matches("mx.example.org") || r.Trouble != nil {
		t.Errorf("%v, %v", r, err)
	}
	for domain, fault := range map[string]Fault{"gone.example": NotReached, "away.example": BadCertificate} {
		if r, err = client.Lookup(t.Context(), domain); err != nil || r.Policy != nil || !faulty(fault)(r.Trouble) {
			t.Errorf("%s: %v, %v", domain, r, err)
		}
	}
	if r, err = client.Lookup(t.Context(), "none.example"); err != nil || !errors.Is(r.Trouble, ErrNoRecord) {
		t.Errorf("%v, %v", r, err)
	}
	_, err = client.Lookup(t.Context(), "bad.bogus.example")
	if e, ok := errors.AsType[*dane.LookupError](err); !ok || e.Reason != dane.Bogus || !strings.HasPrefix(e.Name, "_mta-sts.") {
		t.Errorf("got %v", err)
	}
	// Nor is a forged address of the web server followed.
	_, err = client.Fetch(t.Context(), "bad.bogus.example")
	if e, ok := errors.AsType[*dane.LookupError](err); !ok || e.Reason != dane.Bogus || !faulty(NotReached)(err) {
		t.Errorf("got %v", err)
	}
}
