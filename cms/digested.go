package cms

import (
	"crypto/subtle"
	"hash"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
)

// A DigestedReader releases the content of a DigestedData. Read returns io.EOF
// only if the digest is the content's; else it ends with a [*VerifyError].
// Close reads the rest and returns the verdict.
type DigestedReader struct {
	contentReader
	contentType OID
	digest      string
}

// ContentType returns the type of the content.
func (d *DigestedReader) ContentType() OID { return d.contentType }

// Digest returns the name of the digest, such as "sha256".
func (d *DigestedReader) Digest() string { return d.digest }

// VerifyDigest opens a DigestedData (RFC 5652, Section 7). The digest guards
// against accidents alone: whoever changes the content can change it as well.
// detached is the content when the message does not carry it, else nil.
//
//	DigestedData ::= SEQUENCE {
//	  version CMSVersion,
//	  digestAlgorithm DigestAlgorithmIdentifier,
//	  encapContentInfo EncapsulatedContentInfo,
//	  digest Digest }
func (r *Reader) VerifyDigest(detached io.Reader, allow []Allowance) (*DigestedReader, error) {
	if err := r.open("VerifyDigest", TypeDigestedData); err != nil {
		return nil, err
	}
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "DigestedData")
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	a, err := r.readAlgorithm("digestAlgorithm")
	if err != nil {
		return nil, err
	}
	digest, ok := alg.DigestByAlgorithm(a)
	if !ok {
		return nil, &UnsupportedError{What: "digest", OID: a.OID}
	}
	if !allowed(allow, digest.Weak) {
		return nil, &UnsupportedError{What: "digest", OID: a.OID, Allow: Allowance(digest.Weak)}
	}
	e, err := r.readEncap()
	if err != nil {
		return nil, err
	}
	if (e.content == nil) == (detached == nil) {
		return nil, &VerifyError{Reason: ReasonContent}
	}
	h := digest.New()
	d := &DigestedReader{contentType: e.contentType, digest: digest.Name}
	d.src, d.field = e.content, "eContent"
	if detached != nil {
		d.src = detached
	}
	d.sink = func(p []byte) { h.Write(p) }
	d.finish = func() error { return r.finishDigested(e, h) }
	return d, nil
}

func (r *Reader) finishDigested(e encap, h hash.Hash) error {
	if err := r.closeEncap(e); err != nil {
		return err
	}
	raw, err := r.budget.der(r.r, "digest")
	if err != nil {
		return err
	}
	var digest []byte
	s := cryptobyte.String(raw)
	if !der.ReadOctets(&s, &digest, -1) {
		return &SyntaxError{Offset: r.r.Offset(), Field: "digest"}
	}
	if err = r.r.Leave(); err != nil {
		return wire(err, "DigestedData")
	}
	if err = r.close(); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(digest, h.Sum(nil)) != 1 {
		return &VerifyError{Reason: ReasonDigest}
	}
	return nil
}
