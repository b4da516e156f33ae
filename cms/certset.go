package cms

import (
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/pki"
)

// readCertificates reads a CertificateSet (RFC 5652, Section 10.2.3). What is
// no X.509 certificate, or cannot be read as one, is passed over: it may be
// nobody's who matters.
func (r *Reader) readCertificates(tag ber.Tag) ([]*pki.Certificate, error) {
	const field = "certificates"
	var out []*pki.Certificate
	err := r.readSet(tag, field, r.limits.Certificates, func(got ber.Tag, raw []byte) {
		if got != ber.Sequence {
			return // an attribute certificate, or one of another format
		}
		cert, err := pki.ParseShared(raw)
		if err != nil {
			// The issuer signed DER; BER comes from those who pass it on.
			var again []byte
			if again, err = ber.Normalize(raw, r.limits.Depth); err != nil {
				return
			}
			if cert, err = pki.ParseShared(again); err != nil {
				return
			}
		}
		out = append(out, cert)
	})
	return out, err
}

// readCRLs reads RevocationInfoChoices (RFC 5652, Section 10.2.1): CRLs, and
// what comes in their place, such as OCSP responses (RFC 5940).
func (r *Reader) readCRLs(tag ber.Tag) (crls, others [][]byte, err error) {
	err = r.readSet(tag, "crls", r.limits.CRLs, func(got ber.Tag, raw []byte) {
		if got == ber.Sequence {
			crls = append(crls, raw)
		} else {
			others = append(others, raw)
		}
	})
	return crls, others, err
}

// readSet reads a SET into memory.
func (r *Reader) readSet(tag ber.Tag, field string, limit int, f func(tag ber.Tag, raw []byte)) error {
	if err := r.r.Enter(tag); err != nil {
		return wire(err, field)
	}
	for count := 0; ; count++ {
		got, more, err := r.peekTag(field)
		if err != nil {
			return err
		}
		if !more {
			return wire(r.r.Leave(), field)
		}
		if count == limit {
			return &LimitError{Limit: "number of " + field, Max: int64(limit)}
		}
		raw, err := r.budget.raw(r.r, field)
		if err != nil {
			return err
		}
		f(got, raw)
	}
}

// Certificates reads a SignedData for the certificates and CRLs it carries, as
// in a certs-only message (RFC 8551, Section 3.8). Its signatures, if it has
// any, are not looked at, and its content is passed over.
func (r *Reader) Certificates() ([]*pki.Certificate, [][]byte, error) {
	s, err := r.openSigned("Certificates")
	if err != nil {
		return nil, nil, err
	}
	s.src, s.finish = eofReader{}, s.readTail
	if s.encap.content != nil {
		s.src = s.encap.content
	}
	s.hashed, s.sink = nil, nil
	if err = s.Close(); err != nil {
		return nil, nil, err
	}
	return s.certs, s.crls, nil
}
