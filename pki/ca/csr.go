package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// A CSR is what is used of a certificate request (RFC 2986): its key, and the
// addresses that it asks for.
type CSR struct {
	Key    crypto.PublicKey
	Emails []string // rfc822Names of the subjectAltName
}

// maxCSR is the size of the largest request, in octets.
const maxCSR = 1 << 20

// ParseCSR reads a certificate request in PEM or DER and checks that it was
// signed with the key in it. The error is a [*CSRError], or a [*RequestError]
// for a key that certificates cannot have.
func ParseCSR(data []byte) (*CSR, error) {
	if len(data) > maxCSR {
		return nil, &CSRError{Msg: "has more than 1 MiB"}
	}
	raw := data
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		block, _ := pem.Decode(data)
		if block == nil || !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") {
			return nil, &CSRError{Msg: "is not one in PEM"}
		}
		raw = block.Bytes
	}
	req, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		return nil, &CSRError{Msg: "cannot be read", Err: err}
	}
	if err = checkKey(req.PublicKey); err != nil {
		return nil, err
	}
	// RFC 2986, Section 4.2: the signature shows that the one who asks has the key.
	if err = req.CheckSignature(); err != nil {
		return nil, &CSRError{Msg: "is not signed with its own key", Err: err}
	}
	return &CSR{Key: req.PublicKey, Emails: req.EmailAddresses}, nil
}
