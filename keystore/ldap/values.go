package ldap

import (
	"bytes"
	"errors"
	"io"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// maxChain bounds the certificates in one value: a person's, and those of the
// issuers. maxSigners bounds the signatures that are verified.
const (
	maxChain   = 20
	maxSigners = 4
)

// read returns the certificates in a value of an attribute, those that may be a
// person's. The rest of Found is for the caller.
func read(name string, value []byte) ([]keystore.Found, error) {
	if name == attrSMIME {
		return readSMIME(value)
	}
	// RFC 4523, Section 2.1: one certificate, DER.
	certs, err := keystore.ParseCertificates("", value)
	if err != nil {
		return nil, unnamed(err)
	}
	return people(certs, len(certs) == 1), nil
}

// unnamed takes the name off an error that has none.
func unnamed(err error) error {
	if file := new(keystore.FileError); errors.As(err, &file) {
		return file.Err
	}
	return err
}

// people returns those that are not authorities, each with all others. Of those
// who made their certificate themselves some call themselves one.
func people(certs []*pki.Certificate, all bool) []keystore.Found {
	certs = certs[:min(len(certs), maxChain)]
	var out []keystore.Found
	for i, c := range certs {
		if !all && c.IsCA && len(c.Emails) == 0 || contains(certs[:i], c) {
			continue
		}
		var others []*pki.Certificate
		for _, o := range certs {
			if o != c {
				others = append(others, o)
			}
		}
		out = append(out, keystore.Found{Certificate: c, Chain: others})
	}
	return out
}

// readSMIME reads a userSMIMECertificate (RFC 2798, Section 2.8): a SignedData
// with the certificates and, if it is signed, in the signed attributes what their
// holder can read and which certificate is to be encrypted to.
func readSMIME(value []byte) ([]keystore.Found, error) {
	limits := &cms.Limits{Certificates: maxChain, Signers: maxSigners}
	r, err := cms.NewReader(bytes.NewReader(value), limits)
	if err != nil {
		return nil, err
	}
	s, err := r.Verify(&cms.VerifyOptions{Trust: cms.InsecureTrustAnySigner})
	if err != nil {
		return nil, err
	}
	return readSigned(value, limits, s)
}

// readSigned finds out whether the signature is over the content that the value
// has, or over an empty one that it leaves out. One that is not good says
// nothing, and the certificates are taken as those of a certs-only object.
func readSigned(value []byte, limits *cms.Limits, s *cms.SignedReader) ([]keystore.Found, error) {
	err := drain(s)
	if verdict := new(cms.VerifyError); errors.As(err, &verdict) && verdict.Reason == cms.ReasonContent {
		r, readErr := cms.NewReader(bytes.NewReader(value), limits)
		if readErr != nil {
			return nil, readErr
		}
		if s, readErr = r.Verify(&cms.VerifyOptions{Trust: cms.InsecureTrustAnySigner, Content: bytes.NewReader(nil)}); readErr != nil {
			return nil, readErr
		}
		err = drain(s)
	}
	if err != nil && !errors.As(err, new(*cms.VerifyError)) {
		return nil, err
	}
	found := people(s.Certificates(), len(s.Certificates()) == 1)
	if len(found) == 0 {
		return nil, keystore.ErrNoCertificate
	}
	for _, signer := range s.Signers() {
		if signer.Err == nil && signer.Valid {
			learn(found, signer)
		}
	}
	return found, nil
}

func drain(s *cms.SignedReader) error {
	_, err := io.Copy(io.Discard, s)
	return errors.Join(err, s.Close())
}

// learn takes what the signer says for the certificates of the same holder: the
// signer's own, and that of the same subject and issuer.
func learn(found []keystore.Found, signer *cms.SignerResult) {
	id, named, ok := keystore.ParsePreference(signer.Signed)
	ciphers := keystore.ParseCapabilities(signer.Signed)
	for i := range found {
		c := found[i].Certificate
		if !pki.NamesEqual(c.RawSubject, signer.Certificate.RawSubject) || !pki.NamesEqual(c.RawIssuer, signer.Certificate.RawIssuer) {
			continue
		}
		found[i].Capabilities = ciphers
		found[i].Preferred = ok && named && id.Matches(c)
	}
}
