package cms

import (
	"crypto"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/pki"
)

// VerifyOptions says how signatures are judged. The zero value lacks Trust,
// which is required.
type VerifyOptions struct {
	// Trust decides about signers whose signature matches. Nil is a UsageError.
	Trust Trust

	// Content is the content of a detached signature. A message that carries
	// its content is refused when Content or Hashed is set, since nothing says
	// which of the two was meant.
	Content io.Reader

	// Hashed is the content of a detached signature that has been hashed
	// already. When it lacks a digest the verdict is a VerifyError around a
	// MissingDigestsError.
	Hashed *ContentHash

	// Certificates are more certificates to look for signers and their issuers
	// in, beside those in the message.
	Certificates []*pki.Certificate

	// Allow lets weak algorithms pass. Nil is none.
	Allow []Allowance

	// Time is when validity is judged. Zero is now. The signing time in a
	// message is the signer's word and never used for this.
	Time time.Time
}

// A SignedReader releases the content of a SignedData and gives the verdict on
// it. Read returns io.EOF only if the verdict is good: every signer has a
// valid signature, and is trusted. Else it ends with a [*VerifyError], or with
// the error that kept it from a verdict. Close reads the rest, however much it
// is, and returns the verdict; it may be called any number of times. Content
// that Read has released before is not vouched for by anybody until then.
//
// A SignedReader is not safe for concurrent use.
type SignedReader struct {
	contentReader
	r        *Reader
	opts     VerifyOptions
	encap    encap
	detached bool
	hashed   *ContentHash
	certs    []*pki.Certificate
	crls     [][]byte
	// revocation is what RevocationInfoChoices has beside CRLs.
	revocation [][]byte
	// Both as revocationInfo returns them.
	parsedRevocation bool
	parsedCRLs       []*pki.CRL
	parsedOCSP       []*pki.OCSPResponse
	infos            []*signerInfo
	signers          []*SignerResult
}

// Verify opens a SignedData (RFC 5652, Section 5). With detached content
// everything but the content has been read when it returns, else nothing.
//
//	SignedData ::= SEQUENCE {
//	  version CMSVersion,
//	  digestAlgorithms DigestAlgorithmIdentifiers,
//	  encapContentInfo EncapsulatedContentInfo,
//	  certificates [0] IMPLICIT CertificateSet OPTIONAL,
//	  crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
//	  signerInfos SignerInfos }
func (r *Reader) Verify(opts *VerifyOptions) (*SignedReader, error) {
	if opts == nil || opts.Trust == nil {
		return nil, usage("Verify: no Trust is given; nothing can be trusted by default")
	}
	if opts.Content != nil && opts.Hashed != nil {
		return nil, usage("Verify: both Content and Hashed are given")
	}
	s, err := r.openSigned("Verify")
	if err != nil {
		return nil, err
	}
	s.opts = *opts
	if s.encap.content != nil {
		if opts.Content != nil || opts.Hashed != nil {
			return nil, &VerifyError{Reason: ReasonContent}
		}
		s.src, s.finish = s.encap.content, s.finishAttached
		return s, nil
	}
	if err = s.readTail(); err != nil {
		return nil, err
	}
	s.detached = true
	switch {
	case opts.Hashed != nil:
		s.hashed, s.src, s.finish = opts.Hashed, eofReader{}, s.verdict
	case opts.Content != nil:
		s.hashed = NewContentHash(hashesOf(s.infos)...)
		s.src, s.finish = opts.Content, s.verdict
	default:
		// Without content there is nothing to judge, but who signed can be seen.
		s.hashed = NewContentHash()
		s.src, s.finish = eofReader{}, func() error { return &VerifyError{Reason: ReasonContent} }
		if len(s.infos) == 0 {
			s.finish = s.verdict
		}
	}
	return s, nil
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// openSigned reads a SignedData up to its content.
func (r *Reader) openSigned(method string) (*SignedReader, error) {
	if err := r.open(method, TypeSignedData); err != nil {
		return nil, err
	}
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "SignedData")
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	hashes, err := r.readDigestAlgorithms()
	if err != nil {
		return nil, err
	}
	s := &SignedReader{r: r, hashed: NewContentHash(hashes...)}
	s.field = "eContent"
	s.sink = func(p []byte) { _, _ = s.hashed.Write(p) } // never fails
	s.encap, err = r.readEncap()
	return s, err
}

// readDigestAlgorithms reads the SET of digests that the signers will use. It
// is a hint: unknown ones may be those of signers nobody asks about.
func (r *Reader) readDigestAlgorithms() ([]crypto.Hash, error) {
	const field = "digestAlgorithms"
	raw, err := r.budget.der(r.r, field)
	if err != nil {
		return nil, err
	}
	s := cryptobyte.String(raw)
	var set cryptobyte.String
	if !s.ReadASN1(&set, asn1.SET) {
		return nil, &SyntaxError{Offset: r.r.Offset(), Field: field}
	}
	var out []crypto.Hash
	for !set.Empty() {
		var a AlgorithmIdentifier
		if !der.ReadAlgorithm(&set, &a) {
			return nil, &SyntaxError{Offset: r.r.Offset(), Field: field}
		}
		if d, ok := alg.DigestByAlgorithm(a); ok {
			out = append(out, d.Hash)
		}
	}
	if len(out) == 0 {
		// Some software leaves the set empty; these are what it may have used.
		out = []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA1}
	}
	return out, nil
}

func hashesOf(infos []*signerInfo) []crypto.Hash {
	var out []crypto.Hash
	for _, si := range infos {
		if d, ok := alg.DigestByAlgorithm(si.digest); ok {
			out = append(out, d.Hash)
		}
	}
	return out
}

// readTail reads what follows the content.
func (s *SignedReader) readTail() error {
	if err := s.r.closeEncap(s.encap); err != nil {
		return err
	}
	for {
		tag, more, err := s.r.peekTag("SignedData")
		if err != nil {
			return err
		}
		switch {
		case more && tag == ber.Context(0):
			s.certs, err = s.r.readCertificates(ber.Context(0))
		case more && tag == ber.Context(1):
			s.crls, s.revocation, err = s.r.readCRLs(ber.Context(1))
		case more && tag == ber.Set:
			err = s.readSignerInfos()
		case more:
			err = &SyntaxError{Offset: s.r.r.Offset(), Field: "SignedData"}
		default:
			if err = wire(s.r.r.Leave(), "SignedData"); err == nil {
				err = s.r.close()
			}
			return err
		}
		if err != nil {
			return err
		}
	}
}

func (s *SignedReader) readSignerInfos() error {
	if err := s.r.r.Enter(ber.Set); err != nil {
		return wire(err, "signerInfos")
	}
	for {
		raw, err := s.r.budget.next(s.r.r, "SignerInfo")
		if err != nil {
			return err
		}
		if raw == nil {
			return wire(s.r.r.Leave(), "signerInfos")
		}
		if len(s.infos) == s.r.limits.Signers {
			return &LimitError{Limit: "number of signers", Max: int64(s.r.limits.Signers)}
		}
		si, err := parseSignerInfo(raw, &s.r.limits)
		if err != nil {
			return err
		}
		s.infos = append(s.infos, si)
	}
}

func (s *SignedReader) finishAttached() error {
	if err := s.readTail(); err != nil {
		return err
	}
	return s.verdict()
}

// ContentType returns the type of the content that is signed.
func (s *SignedReader) ContentType() OID { return s.encap.contentType }

// Detached reports whether the message does not carry its content.
func (s *SignedReader) Detached() bool { return s.detached }

// Signers returns what was found out about each signer, in the order of the
// message. It is complete once Read has returned an error or Close has been
// called, whatever the verdict is.
func (s *SignedReader) Signers() []*SignerResult { return s.signers }

// Certificates returns the certificates in the message that could be read.
// It is complete as Signers is.
func (s *SignedReader) Certificates() []*pki.Certificate { return s.certs }

// CRLs returns the CRLs in the message, as received. It is complete as Signers
// is.
func (s *SignedReader) CRLs() [][]byte { return s.crls }

// OtherRevocation returns what stands among the CRLs and is none, such as the
// OCSP responses of RFC 5940, for [pki.ParseRevocationInfo]. It is complete as
// Signers is.
func (s *SignedReader) OtherRevocation() [][]byte { return s.revocation }

// revocationInfo reads what revocation information the message has, once for
// all signers. It is called when the message has been read to its end.
func (s *SignedReader) revocationInfo() ([]*pki.CRL, []*pki.OCSPResponse) {
	if s.parsedRevocation {
		return s.parsedCRLs, s.parsedOCSP
	}
	s.parsedRevocation = true
	for _, raw := range s.crls {
		if crl, err := pki.ParseCRL(raw); err == nil {
			s.parsedCRLs = append(s.parsedCRLs, crl)
		}
	}
	for _, raw := range s.revocation {
		crl, response, err := pki.ParseRevocationInfo(raw)
		switch {
		case err != nil:
		case crl != nil:
			s.parsedCRLs = append(s.parsedCRLs, crl)
		case response != nil:
			s.parsedOCSP = append(s.parsedOCSP, response)
		}
	}
	return s.parsedCRLs, s.parsedOCSP
}
