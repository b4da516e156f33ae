package cms

import (
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
)

// DecryptWithKey opens an EncryptedData (RFC 5652, Section 8), whose key the
// message does not hold. A key of the wrong size is a UsageError; all failures
// of decryption are [ErrDecrypt]. The content is not authenticated.
//
//	EncryptedData ::= SEQUENCE {
//	  version CMSVersion,
//	  encryptedContentInfo EncryptedContentInfo,
//	  unprotectedAttrs [1] IMPLICIT UnprotectedAttributes OPTIONAL }
func (r *Reader) DecryptWithKey(key []byte, opts *DecryptOptions) (*DecryptedReader, error) {
	var o DecryptOptions
	if opts != nil {
		o = *opts
	}
	if err := r.open("DecryptWithKey", TypeEncryptedData); err != nil {
		return nil, err
	}
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "EncryptedData")
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	e := &envelope{}
	if err := r.readContentInfo(e); err != nil {
		return nil, err
	}
	c, params, err := e.contentCipher(o.Allow)
	if err != nil {
		return nil, err
	}
	if c.Mode != alg.CBC {
		return nil, &UnsupportedError{What: "in encrypted-data the cipher", OID: c.OID}
	}
	if c.KeySize != 0 && len(key) != c.KeySize {
		return nil, usage("DecryptWithKey: the key has %d octets; %s takes %d", len(key), c.Name, c.KeySize)
	}
	d := &DecryptedReader{contentType: e.contentType, cipher: c.Name}
	d.field = "encryptedContent"
	return d, r.openCBC(d, e, c, params, key, false)
}
