package certs_test

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls"
	"github.com/postseal/postseal/tls/certs"
)

// exampleFiles makes a certificate for mail.example.test, and one of Alice's.
func exampleFiles(dir string) (server testpki.Files, alice cryptotls.Certificate, root *x509.Certificate) {
	ca, err := testpki.NewCA("Example root")
	if err != nil {
		log.Fatal(err)
	}
	host, err := ca.Issue(testpki.Profile{Name: "mail", NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{"mail.example.test"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		log.Fatal(err)
	}
	person, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}})
	if err != nil {
		log.Fatal(err)
	}
	if server, err = host.WriteFiles(dir, "mail"); err != nil {
		log.Fatal(err)
	}
	return server, pair(person), ca.Cert
}

// A server for IMAP whose certificate is in files, and whose clients log in by
// theirs.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, alice, root := exampleFiles(dir)

	m, err := certs.Open(&certs.Options{
		Files:   []certs.File{{Certificate: files.Cert, Key: files.Key}},
		Clients: &certs.Clients{Roots: []*pki.Certificate{pki.FromX509(root)}, Address: certs.SameAddress},
		Report:  func(e certs.Event) { fmt.Println(e.Kind, filepath.Base(e.File), e.Names) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP, TLS: m.Config(nil)})
	if err != nil {
		log.Fatal(err)
	}

	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		session, handshakeErr := server.Handshake(context.Background(), far)
		if handshakeErr != nil {
			log.Fatal(handshakeErr)
		}
		state := session.State()
		fmt.Println(m.Accounts(&state))
		_, _ = fmt.Fprint(session.Conn, "* PREAUTH as your certificate says\r\n")
	}()
	roots := x509.NewCertPool()
	roots.AddCert(root)
	session, err := tls.Client(context.Background(), near, &tls.ClientConfig{Protocol: tls.IMAP, TLS: &cryptotls.Config{
		ServerName: "mail.example.test", RootCAs: roots, Certificates: []cryptotls.Certificate{alice},
	}})
	if err != nil {
		log.Fatal(err)
	}
	greeting, err := bufio.NewReader(session.Conn).ReadString('\n')
	fmt.Println(strings.TrimSpace(greeting), err)
	<-done
	_, _ = near.Close(), far.Close()
	// Output:
	// loaded mail.crt [mail.example.test]
	// [alice@example.test] <nil>
	// * PREAUTH as your certificate says <nil>
}

// A server for a public name, with a certificate of Let's Encrypt, which looks at
// port 80 of the name.
func ExampleACME() {
	m, err := certs.Open(&certs.Options{
		ACME: &certs.ACME{
			AgreeTerms: true, Contact: []string{"postmaster@example.org"}, HTTP: ":80",
			Folder: "/var/lib/mail/acme", Certificates: [][]string{{"mail.example.org", "imap.example.org"}},
		},
		Report: func(e certs.Event) { log.Print(e) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err = m.Wait(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// Servers that share a secret resume each other's sessions.
func ExampleOptions_tickets() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, _, root := exampleFiles(dir)
	secret := filepath.Join(dir, "tickets") // openssl rand -out tickets 48
	if err = os.WriteFile(secret, []byte("this is not random, but a secret has to be so"), 0o600); err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	client := &cryptotls.Config{ServerName: "mail.example.test", RootCAs: roots, ClientSessionCache: cryptotls.NewLRUClientSessionCache(10)}
	for range 2 {
		m, openErr := certs.Open(&certs.Options{Files: []certs.File{{Certificate: files.Full}}, TicketSecrets: []string{secret}})
		if openErr != nil {
			log.Fatal(openErr)
		}
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = cryptotls.Server(far, m.Config(nil)).Write([]byte("hello"))
		}()
		conn := cryptotls.Client(near, client)
		if _, err = conn.Read(make([]byte, 5)); err != nil {
			log.Fatal(err)
		}
		fmt.Println("resumed:", conn.ConnectionState().DidResume)
		<-done
		_, _ = near.Close(), far.Close()
		m.Close()
	}
	// Output:
	// resumed: false
	// resumed: true
}
