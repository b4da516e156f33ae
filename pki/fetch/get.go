package fetch

import (
	"bytes"
	"context"
	"encoding/pem"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
	"github.com/postseal/postseal/pki"
)

// Names of what is in the cache.
const (
	kindCRL     = "crl"
	kindIssuers = "issuers"
	kindOCSP    = "ocsp"
)

// FetchCRL returns the CRL at address, in DER. It is taken from the cache until
// its nextUpdate, or the cache's age limit, has passed. Errors are of type
// [*Error]; a CRL that cannot be read has a *pki.RevocationParseError in it.
func (c *Client) FetchCRL(ctx context.Context, address string) ([]byte, error) {
	if data, ok := c.opts.Cache.get(kindCRL, address); ok {
		if crl, err := pki.ParseCRL(data); err == nil && current(crl.NextUpdate) {
			return data, nil
		}
	}
	data, err := c.do(ctx, address, "application/pkix-crl, */*;q=0.1", "", nil, c.opts.MaxCRL)
	if err != nil {
		return nil, err
	}
	data = decodePEM(data, "X509 CRL")
	if _, err = pki.ParseCRL(data); err != nil {
		return nil, &Error{URL: address, Err: err}
	}
	c.opts.Cache.put(kindCRL, address, data)
	return data, nil
}

func current(next time.Time) bool { return next.IsZero() || time.Now().Before(next) }

// FetchOCSP posts request to the responder at address and returns its
// OCSPResponse, in DER (RFC 6960, Appendix A.1). A request without a nonce may
// be answered from the cache. Errors are of type [*Error].
//
// A response that is not successful is returned without error, and not kept:
// pki.ParseOCSPResponse tells what it says.
func (c *Client) FetchOCSP(ctx context.Context, address string, request *pki.OCSPRequest) ([]byte, error) {
	key := address + "\n" + string(request.CertID)
	if request.Nonce == nil {
		if data, ok := c.opts.Cache.get(kindOCSP, key); ok && ocspCurrent(data) {
			return data, nil
		}
	}
	data, err := c.do(ctx, address, "application/ocsp-response", "application/ocsp-request", request.Raw, c.opts.MaxOCSP)
	if err != nil {
		return nil, err
	}
	if ocspCurrent(data) {
		c.opts.Cache.put(kindOCSP, key, data)
	}
	return data, nil
}

// ocspCurrent reports whether data is a response that says until when it counts,
// and counts now.
func ocspCurrent(data []byte) bool {
	resp, err := pki.ParseOCSPResponse(data)
	if err != nil || len(resp.Responses) == 0 {
		return false
	}
	for i := range resp.Responses {
		if next := resp.Responses[i].NextUpdate; next.IsZero() || !current(next) {
			return false
		}
	}
	return true
}

// FetchIssuers returns the certificates at address, which is one of
// pki.IssuerURLs: one certificate, or a CMS message that holds certificates (RFC
// 5280, Section 4.2.2.1). They may be anyone's, and at most 100. Errors are of
// type [*Error].
func (c *Client) FetchIssuers(ctx context.Context, address string) ([]*pki.Certificate, error) {
	if data, ok := c.opts.Cache.get(kindIssuers, address); ok {
		if certs, err := parseCertificates(data); err == nil {
			return certs, nil
		}
	}
	data, err := c.do(ctx, address, "application/pkix-cert, application/pkcs7-mime, */*;q=0.1", "", nil, c.opts.MaxIssuers)
	if err != nil {
		return nil, err
	}
	data = decodePEM(data, "CERTIFICATE")
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, &Error{URL: address, Err: err}
	}
	c.opts.Cache.put(kindIssuers, address, data)
	return certs, nil
}

// decodePEM returns the first PEM block of a type, if data is PEM, or data.
func decodePEM(data []byte, label string) []byte {
	rest := bytes.TrimLeft(data, " \t\r\n")
	if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
		return data
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return data
		}
		if block.Type == label || block.Type == "PKCS7" && label == "CERTIFICATE" {
			return block.Bytes
		}
	}
}

// maxDepth bounds the nesting of a message.
const maxDepth = 32

// maxCertificates bounds the certificates that are taken from one answer.
const maxCertificates = 100

// parseCertificates reads a certificate or a certs-only message.
func parseCertificates(data []byte) ([]*pki.Certificate, error) {
	cert, err := pki.ParseCertificate(data)
	if err == nil {
		return []*pki.Certificate{cert}, nil
	}
	list, ok := certificateSet(data)
	if !ok {
		return nil, err
	}
	var out []*pki.Certificate
	for !list.Empty() && len(out) < maxCertificates {
		var element cryptobyte.String
		var tag asn1.Tag
		if !list.ReadAnyASN1Element(&element, &tag) {
			return nil, err
		}
		if c, bad := pki.ParseCertificate(element); bad == nil {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

// certificateSet returns the content of the field certificates of a SignedData
// (RFC 5652, Section 5.1).
func certificateSet(data []byte) (cryptobyte.String, bool) {
	normal, err := ber.Normalize(data, maxDepth)
	if err != nil {
		return nil, false
	}
	in := cryptobyte.String(normal)
	var info, wrapped, signed, set cryptobyte.String
	var id oid.OID
	ok := in.ReadASN1(&info, asn1.SEQUENCE) && der.ReadOID(&info, &id) && id == oid.SignedData &&
		info.ReadASN1(&wrapped, der.Context(0, true)) && wrapped.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.SkipASN1(asn1.INTEGER) && signed.SkipASN1(asn1.SET) && signed.SkipASN1(asn1.SEQUENCE) &&
		signed.ReadASN1(&set, der.Context(0, true))
	return set, ok
}
