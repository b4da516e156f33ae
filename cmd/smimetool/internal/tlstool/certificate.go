package tlstool

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ocsp"
)

// certificates describes what the server sent.
func (p *prober) certificates() {
	for i, c := range p.state.PeerCertificates {
		sum := sha256.Sum256(c.Raw)
		spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		out := Certificate{
			Subject: printable(c.Subject.String()), Issuer: printable(c.Issuer.String()), Serial: fmt.Sprintf("%x", c.SerialNumber),
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Key: keyName(c), Signature: c.SignatureAlgorithm.String(),
			SHA256: hex.EncodeToString(sum[:]),
		}
		for _, name := range c.DNSNames {
			out.Names = append(out.Names, printable(name))
		}
		for _, ip := range c.IPAddresses {
			out.Names = append(out.Names, ip.String())
		}
		usage := 2 // DANE-TA
		if i == 0 {
			usage = 3 // DANE-EE
		}
		out.TLSA = fmt.Sprintf("%d 1 1 %x", usage, spki)
		p.report.Certificates = append(p.report.Certificates, out)
	}
}

// keyName tells type and size of a key.
func keyName(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	if c.PublicKeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
		return c.PublicKeyAlgorithm.String()
	}
	return "of an unknown type"
}

// trust judges the certificate for the name.
func (p *prober) trust() {
	t := &p.report.Trust
	certs := p.state.PeerCertificates
	if len(certs) == 0 {
		t.err = fmt.Errorf("the server has no certificate")
		t.Error = t.err.Error()
		return
	}
	pool := x509.NewCertPool()
	for _, c := range certs[1:] {
		pool.AddCert(c)
	}
	// RFC 9525: the name must be one of the subjectAltNames.
	nameErr := certs[0].VerifyHostname(p.t.Name())
	t.NameOK = nameErr == nil
	// Path and name are two questions, with an answer each.
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: p.opts.Roots, Intermediates: pool, CurrentTime: p.opts.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		for _, c := range chains[0] {
			t.Path = append(t.Path, printable(c.Subject.String()))
		}
		err = nameErr
	}
	if t.Trusted = err == nil; err != nil {
		t.err, t.Error = err, printable(err.Error())
	}
}

// mustStaple is the extension "TLS feature": RFC 7633.
var mustStaple = []int{1, 3, 6, 1, 5, 5, 7, 1, 24}

// staple reads the stapled OCSP response.
func (p *prober) staple() {
	o := &p.report.OCSP
	certs := p.state.PeerCertificates
	if len(certs) == 0 {
		return
	}
	for _, e := range certs[0].Extensions {
		o.MustStaple = o.MustStaple || slices.Equal(e.Id, mustStaple)
	}
	if o.Stapled = len(p.state.OCSPResponse) > 0; !o.Stapled {
		return
	}
	response, err := ocsp.ParseResponseForCert(p.state.OCSPResponse, certs[0], p.issuer())
	if err != nil {
		o.Error = printable(err.Error())
		return
	}
	o.Status = map[int]string{ocsp.Good: "good", ocsp.Revoked: "revoked", ocsp.Unknown: "unknown"}[response.Status]
	o.ThisUpdate = &response.ThisUpdate
	if now := p.opts.now(); !response.NextUpdate.IsZero() {
		o.NextUpdate = &response.NextUpdate
		if now.After(response.NextUpdate) {
			o.Error = "the answer is out of date"
		}
	}
}

// issuer returns the issuer of the server's certificate, if it was sent, or nil.
func (p *prober) issuer() *x509.Certificate {
	certs := p.state.PeerCertificates
	for _, c := range certs[1:] {
		if bytes.Equal(c.RawSubject, certs[0].RawIssuer) && certs[0].CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// printable makes what a peer said fit for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
