package tlstool

import (
	"bytes"
	"crypto/sha256"
	cryptotls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/tls"
)

// maxListed bounds what is listed of one kind.
const maxListed = 20

// sayConnection tells what was negotiated.
func sayConnection(streams *Streams, conn *connection, verbose bool) {
	state := conn.ConnectionState()
	d := tls.Describe(&state)
	streams.Say("%s: %s", conn.RemoteAddr(), printable(d.String()))
	if !verbose {
		return
	}
	for i, c := range state.PeerCertificates {
		sayCertificate(streams, i, c)
	}
	if data, err := tls.ChannelBinding(&state, tls.TLSExporter); err == nil {
		streams.Say("tls-exporter: %x", data)
	}
	for _, w := range d.Warnings {
		streams.Say("%s", printable(w))
	}
}

func sayCertificate(streams *Streams, i int, c *x509.Certificate) {
	names := append(slices.Clone(c.DNSNames), c.EmailAddresses...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	streams.Say("certificate %d: %s", i, printable(c.Subject.String()))
	if len(names) > 0 {
		streams.Say("  names: %s", printable(strings.Join(cutList(names), ", ")))
	}
	streams.Say("  issuer: %s", printable(c.Issuer.String()))
	streams.Say("  valid: %s to %s", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	streams.Say("  key: %v, signed with %v, SHA-256 %x", c.PublicKeyAlgorithm, c.SignatureAlgorithm, sha256.Sum256(c.Raw))
}

// cutList cuts a list that is too long to be read.
func cutList(list []string) []string {
	if len(list) <= maxListed {
		return list
	}
	return append(slices.Clone(list[:maxListed]), fmt.Sprintf("and %d more", len(list)-maxListed))
}

// sayPEM writes the peer's certificates for who wants to have them.
func sayPEM(streams *Streams, certs []*x509.Certificate) {
	for _, c := range certs {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		for line := range bytes.Lines(text) {
			streams.Say("%s", bytes.TrimRight(line, "\n"))
		}
	}
}

// sayUnchecked tells what is wrong with a certificate that nobody has checked.
func sayUnchecked(streams *Streams, conn *connection, roots *x509.CertPool, name string) {
	certs := conn.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, pathErr := certs[0].Verify(opts)
	nameErr := certs[0].VerifyHostname(name)
	for _, err := range []error{pathErr, nameErr} {
		if err != nil {
			streams.Say("not checked: %s", printable(strings.TrimPrefix(err.Error(), "x509: ")))
		}
	}
	if pathErr == nil && nameErr == nil {
		streams.Say("not checked: the certificate would be trusted")
	}
}

// sayAuthorities tells whose certificates a server asks for.
func sayAuthorities(streams *Streams, raw [][]byte) {
	if len(raw) == 0 {
		return
	}
	var list []string
	for _, name := range raw {
		list = append(list, fmt.Sprintf("%q", pki.NameText(name)))
	}
	streams.Say("it accepts those of %s", printable(strings.Join(cutList(list), ", ")))
}

// nextSteps say what a person does after an upgrade.
var nextSteps = map[tls.Next]string{
	tls.NextHello:   "no greeting comes: begin with EHLO, or LHLO",
	tls.NextCommand: "no greeting comes: give a command",
	tls.NextStream:  "open a new stream",
}

// offered describes what a client offers in its first message.
func offered(hello *cryptotls.ClientHelloInfo) string {
	words := []string{"no server name"}
	if hello.ServerName != "" {
		words[0] = "server name " + hello.ServerName
	}
	var versions, suites, curves []string
	for _, v := range hello.SupportedVersions {
		if name := cryptotls.VersionName(v); !strings.HasPrefix(name, "0x") { // what is not known is there to be passed over
			versions = append(versions, name)
		}
	}
	for _, id := range hello.CipherSuites {
		if name := cryptotls.CipherSuiteName(id); !strings.HasPrefix(name, "0x") {
			suites = append(suites, name)
		}
	}
	for _, id := range hello.SupportedCurves {
		if name := id.String(); !strings.HasPrefix(name, "CurveID(") {
			curves = append(curves, name)
		}
	}
	for _, part := range []struct {
		name string
		list []string
	}{{"versions", versions}, {"ALPN", hello.SupportedProtos}, {"key exchanges", curves}, {"ciphers", suites}} {
		if len(part.list) > 0 {
			words = append(words, part.name+" "+strings.Join(cutList(part.list), ", "))
		}
	}
	return printable(strings.Join(words, "; "))
}
