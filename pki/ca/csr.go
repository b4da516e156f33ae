package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/der"
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
// for a key that certificates cannot have. Keys that cannot sign, as those of
// ML-KEM, make no such requests.
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
	// RFC 2986, Section 4.2: the signature shows that the one who asks has the key.
	key, check := req.PublicKey, req.CheckSignature
	if key == nil {
		if key = newerKey(req.RawSubjectPublicKeyInfo); key != nil {
			check = func() error { return checkNewer(req, key) }
		}
	}
	if err = checkKey(key); err != nil {
		return nil, err
	}
	if err = check(); err != nil {
		return nil, &CSRError{Msg: "is not signed with its own key", Err: err}
	}
	return &CSR{Key: key, Emails: req.EmailAddresses}, nil
}

// newerKey reads a key that crypto/x509 does not know, or returns nil.
func newerKey(spki cryptobyte.String) crypto.PublicKey {
	var info cryptobyte.String
	var a der.Algorithm
	var bits []byte
	if !spki.ReadASN1(&info, asn1.SEQUENCE) || !der.ReadAlgorithm(&info, &a) || !info.ReadASN1BitStringAsBytes(&bits) {
		return nil
	}
	key, _, err := alg.ParsePublicKey(a, bits)
	if err != nil {
		return nil
	}
	return key
}

// checkNewer checks the signature by such a key, which has one algorithm.
func checkNewer(req *x509.CertificateRequest, key crypto.PublicKey) error {
	sig, want, err := algorithmOf(key)
	if err != nil {
		return err
	}
	raw := cryptobyte.String(req.Raw)
	var seq cryptobyte.String
	var got der.Algorithm
	if !raw.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.SEQUENCE) || !der.ReadAlgorithm(&seq, &got) ||
		got.OID != want.OID || len(got.Parameters) > 0 || !sig.Whole() {
		return alg.ErrKeyType
	}
	return sig.Verify(key, req.RawTBSCertificateRequest, nil, req.Signature)
}
