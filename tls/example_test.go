package tls_test

import (
	"bufio"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/tls"
)

// demo makes a certificate for "localhost" and who trusts it.
func demo() (server, client *cryptotls.Config) {
	ca, err := testpki.NewCA("Example root")
	if err != nil {
		log.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "localhost", NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{"localhost"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	return &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}},
		&cryptotls.Config{RootCAs: roots, ServerName: "localhost"}
}

// A server behind a Listener sees connections after their handshake alone.
func ExampleServer_Listen() {
	serverTLS, clientTLS := demo()
	server, err := tls.NewServer(&tls.ServerConfig{
		Protocol: tls.SMTP, Mode: tls.StartTLS, TLS: serverTLS,
		Greeting: "mail.example.org ESMTP", Capabilities: []string{"8BITMIME", "PIPELINING"},
	})
	if err != nil {
		log.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := server.Listen(inner, &tls.ListenerOptions{OnError: func(remote net.Addr, err error) { log.Print(remote, err) }})
	defer func() { _ = l.Close() }()
	go func() { // an SMTP server
		conn, acceptErr := l.Accept()
		if acceptErr != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprint(conn, "220 mail.example.org ESMTP\r\n") // is swallowed
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = fmt.Fprintf(conn, "250 hello to %q over TLS\r\n", line)
	}()

	session, err := tls.Dial(context.Background(), "tcp", l.Addr().String(),
		&tls.ClientConfig{Protocol: tls.SMTP, Mode: tls.StartTLS, TLS: clientTLS})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	fmt.Println("next:", session.Next)
	_, _ = fmt.Fprint(session.Conn, "EHLO me\r\n")
	reply, err := bufio.NewReader(session.Conn).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.TrimSpace(reply))
	d := tls.Describe(new(session.State()))
	fmt.Println(d.Version, d.KeyExchange, d.ALPN)
	// Output:
	// next: hello
	// 250 hello to "EHLO me\r\n" over TLS
	// TLS 1.3 X25519MLKEM768 smtp
}

// A server that does not offer STARTTLS is an error, never a fall-back.
func ExampleClient() {
	_, clientTLS := demo()
	near, far := net.Pipe()
	go func() { // a POP3 server without TLS
		defer func() { _ = far.Close() }()
		_, _ = fmt.Fprint(far, "+OK ready\r\n")
		_, _ = bufio.NewReader(far).ReadString('\n')
		_, _ = fmt.Fprint(far, "+OK\r\nUSER\r\n.\r\n")
	}()
	_, err := tls.Client(context.Background(), near, &tls.ClientConfig{Protocol: tls.POP3, Mode: tls.StartTLS, TLS: clientTLS})
	fmt.Println(err)
	fmt.Println(errors.Is(err, tls.ErrStartTLSNotOffered))
	fmt.Println(tls.Advice(err))
	// Output:
	// tls: pop3: STARTTLS is not offered; the server greeted with "+OK ready"
	// true
	// the server has no STARTTLS at this port, or somebody on the way removes it; implicit TLS at the port for it is safer
}

// Both sides of a connection find the same data to bind a login to it.
func ExampleSession_ChannelBinding() {
	serverTLS, clientTLS := demo()
	server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP, TLS: serverTLS})
	if err != nil {
		log.Fatal(err)
	}
	near, far := net.Pipe()
	bound := make(chan string, 1)
	go func() {
		session, handshakeErr := server.Handshake(context.Background(), far)
		if handshakeErr != nil {
			bound <- handshakeErr.Error()
			return
		}
		data, bindErr := session.ChannelBinding(tls.TLSExporter)
		bound <- fmt.Sprint(data, bindErr)
	}()
	session, err := tls.Client(context.Background(), near, &tls.ClientConfig{Protocol: tls.IMAP, TLS: clientTLS})
	if err != nil {
		log.Fatal(err)
	}
	// In TLS 1.3 the server sends tickets when its handshake is over; here nobody
	// takes them off the pipe but this.
	go func() { _, _ = session.Conn.Read(make([]byte, 1)) }()
	data, err := session.ChannelBinding(tls.TLSExporter)
	fmt.Println(len(data), fmt.Sprint(data, err) == <-bound)
	_, _ = near.Close(), far.Close()
	// Output: 32 true
}

// Profiles are configurations to begin with.
func ExampleProfile() {
	p, err := tls.ParseProfile("intermediate")
	if err != nil {
		log.Fatal(err)
	}
	cfg := p.Config()
	cfg.ServerName = "mail.example.org"
	fmt.Println(cryptotls.VersionName(cfg.MinVersion), len(cfg.CipherSuites), cfg.CurvePreferences[0])
	// Output: TLS 1.2 6 X25519MLKEM768
}

// A name is looked for where RFC 9525 wants it: never in the subject.
func ExampleVerifyName() {
	serverTLS, _ := demo()
	cert, err := x509.ParseCertificate(serverTLS.Certificates[0].Certificate[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tls.VerifyName(cert, "mail.example.org", "localhost"))
	_, err = tls.VerifyName(cert, "mail.example.org", "_imaps.example.org")
	fmt.Println(err)
	// Output:
	// localhost <nil>
	// the certificate is for localhost, not for mail.example.org or _imaps.example.org
}

// Two servers with the same secret resume each other's sessions.
func ExampleTickets() {
	serverTLS, clientTLS := demo()
	secret := []byte("not random, but a secret has to be that") // such as from "openssl rand 48"
	clientTLS.ClientSessionCache = cryptotls.NewLRUClientSessionCache(10)
	for range 2 {
		tickets, err := tls.NewTickets([][]byte{secret}, nil)
		if err != nil {
			log.Fatal(err)
		}
		replica := serverTLS.Clone()
		tickets.Apply(replica)
		server, err := tls.NewServer(&tls.ServerConfig{Protocol: tls.IMAP, TLS: replica})
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
			_, _ = fmt.Fprint(session.Conn, "* OK ready\r\n")
		}()
		session, err := tls.Client(context.Background(), near, &tls.ClientConfig{Protocol: tls.IMAP, TLS: clientTLS})
		if err != nil {
			log.Fatal(err)
		}
		greeting, err := bufio.NewReader(session.Conn).ReadString('\n')
		if err != nil {
			log.Fatal(err)
		}
		<-done
		_, _ = near.Close(), far.Close()
		fmt.Println(strings.TrimSpace(greeting), session.State().DidResume)
	}
	// Output:
	// * OK ready false
	// * OK ready true
}
