package tls

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// A Description says in words what a connection has. It has JSON names.
type Description struct {
	Version     string `json:"version"` // such as "TLS 1.3"
	Cipher      string `json:"cipher"`  // its IANA name
	KeyExchange string `json:"keyExchange,omitempty"`
	// PostQuantum: what is sent now stays secret when there are quantum computers.
	PostQuantum bool   `json:"postQuantum"`
	Resumed     bool   `json:"resumed"`
	ALPN        string `json:"alpn,omitempty"`
	ServerName  string `json:"serverName,omitempty"`
	ECH         bool   `json:"encryptedClientHello,omitempty"`
	Stapled     bool   `json:"ocspStapled"`
	// Verified: crypto/tls has found a path to a root. Checks of others, such as
	// those of package policy, are not seen here; its Connection.Describe has them.
	Verified bool          `json:"verified"`
	Peer     []Certificate `json:"peer,omitempty"` // as sent, the peer's own first
	// Warnings say what is weak, in sentences.
	Warnings []string `json:"warnings,omitempty"`
}

// A Certificate is what people want to know of a peer's certificate.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // DNS names, IP and mail addresses
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Key       string    `json:"key"` // such as "RSA", "ECDSA"
	Signature string    `json:"signature"`
}

// Describe describes a connection after its handshake.
func Describe(state *cryptotls.ConnectionState) Description {
	d := Description{
		Version: cryptotls.VersionName(state.Version), Cipher: cryptotls.CipherSuiteName(state.CipherSuite),
		Resumed: state.DidResume, ALPN: state.NegotiatedProtocol, ServerName: state.ServerName,
		ECH: state.ECHAccepted, Stapled: len(state.OCSPResponse) > 0, Verified: len(state.VerifiedChains) > 0,
	}
	if state.CurveID != 0 {
		d.KeyExchange = state.CurveID.String()
		d.PostQuantum = hybrid(state.CurveID)
	} else if strings.HasPrefix(d.Cipher, "TLS_RSA_") {
		d.KeyExchange = "RSA"
	}
	for _, cert := range state.PeerCertificates {
		d.Peer = append(d.Peer, describeCertificate(cert))
	}
	d.Warnings = warnings(state, &d)
	return d
}

func hybrid(id cryptotls.CurveID) bool {
	switch id {
	case cryptotls.X25519MLKEM768, cryptotls.SecP256r1MLKEM768, cryptotls.SecP384r1MLKEM1024:
		return true
	}
	return false
}

func describeCertificate(cert *x509.Certificate) Certificate {
	names := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return Certificate{
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Names: append(names, cert.EmailAddresses...),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		Key: cert.PublicKeyAlgorithm.String(), Signature: cert.SignatureAlgorithm.String(),
	}
}

func warnings(state *cryptotls.ConnectionState, d *Description) []string {
	var out []string
	if state.Version < cryptotls.VersionTLS12 {
		out = append(out, d.Version+" is deprecated (RFC 8996)")
	}
	for _, suite := range cryptotls.InsecureCipherSuites() {
		if suite.ID == state.CipherSuite {
			out = append(out, "the cipher is weak")
		}
	}
	if d.KeyExchange == "RSA" {
		out = append(out, "whoever gets the server's key can read what was sent")
	}
	if !d.PostQuantum {
		out = append(out, "what is recorded now can be read when there are quantum computers")
	}
	return out
}

// String describes the connection in one line.
func (d Description) String() string {
	words := []string{d.Version, d.Cipher}
	if d.KeyExchange != "" {
		words = append(words, d.KeyExchange)
	}
	for _, w := range []struct {
		is   bool
		word string
	}{
		{d.PostQuantum, "post-quantum"},
		{d.Resumed, "resumed"},
		{d.ALPN != "", "ALPN " + d.ALPN},
		{d.ECH, "encrypted hello"},
		{d.Stapled, "OCSP stapled"},
		{len(d.Peer) > 0 && !d.Verified, "not verified"},
	} {
		if w.is {
			words = append(words, w.word)
		}
	}
	s := strings.Join(words, ", ")
	if len(d.Peer) > 0 {
		s += fmt.Sprintf("; peer %s, issued by %s, until %s", d.Peer[0].Subject, d.Peer[0].Issuer, d.Peer[0].NotAfter.Format(time.DateOnly))
	}
	return s
}
