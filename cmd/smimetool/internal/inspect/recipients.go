package inspect

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
)

// enveloped reads an EnvelopedData or AuthEnvelopedData (RFC 5652, Section 6.1;
// RFC 5083).
func (s structure) enveloped() error {
	if err := s.recipients(); err != nil {
		return err
	}
	if err := s.encryptedContent(); err != nil {
		return err
	}
	return s.tail("mac")
}

// recipients reads OriginatorInfo and RecipientInfos. Package cms reads them
// out of an EnvelopedData that has nothing else.
func (s structure) recipients() error {
	h, err := s.r.Peek()
	if err == nil && h.Tag == ber.Context(0) { // originatorInfo
		_, err = s.r.Raw(maxElement)
	}
	if err != nil {
		return err
	}
	if _, err = s.r.Expect(ber.Set); err != nil {
		return err
	}
	set, err := s.r.DER(maxElement)
	if err != nil {
		return err
	}
	message, err := der.Marshal(func(b *der.Builder) {
		addContentInfo(b, cms.TypeEnvelopedData, func(b *der.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes(set)
		})
	})
	if err != nil {
		return err
	}
	r, err := newCMSReader(message)
	if err != nil {
		return err
	}
	infos, err := r.Recipients()
	if err != nil {
		return err
	}
	for _, info := range infos {
		if _, err = s.node(s.n, "recipient", info.String()); err != nil {
			return err
		}
	}
	return nil
}

func newCMSReader(message []byte) (*cms.Reader, error) {
	return cms.NewReader(bytes.NewReader(message), &cms.Limits{Element: maxElement, Total: 2 * maxElement})
}

// addContentInfo adds a ContentInfo around the fields of a structure.
func addContentInfo(b *der.Builder, t cms.OID, fields func(b *der.Builder)) {
	b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
		der.AddOID(b, t)
		b.AddASN1(der.Context(0, true), func(b *der.Builder) {
			b.AddASN1(asn1.SEQUENCE, fields)
		})
	})
}
