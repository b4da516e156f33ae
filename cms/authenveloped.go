package cms

import (
	"crypto/subtle"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/aead"
	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/spool"
)

// aeadChunk is how much is authenticated or decrypted at a time.
const aeadChunk = 64 << 10

// openAEAD reads the rest of an AuthEnvelopedData, checks its tag, and sets d
// up to decrypt what has been spooled. Only ciphertext is spooled.
//
//	AuthEnvelopedData ::= SEQUENCE {
//	  version CMSVersion,
//	  originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
//	  recipientInfos RecipientInfos,
//	  authEncryptedContentInfo EncryptedContentInfo,
//	  authAttrs [1] IMPLICIT AuthAttributes OPTIONAL,
//	  mac MessageAuthenticationCode,
//	  unauthAttrs [2] IMPLICIT UnauthAttributes OPTIONAL }
func (r *Reader) openAEAD(d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte, o DecryptOptions) error {
	buf := spool.New(spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir, Public: true})
	stream, err := r.authenticate(buf, d, e, c, params, cek)
	if err != nil {
		_ = buf.Close() // nothing depends on it any more, and err has to stay what it is
		return err
	}
	d.src = &aeadReader{src: buf.NewReader(), stream: stream}
	d.finish = func() error { return nil }
	d.cancel = func() { _ = buf.Close() } // nothing depends on it any more
	return nil
}

// authenticate spools the ciphertext and checks the tag. It returns the cipher
// at its start, for the second pass.
func (r *Reader) authenticate(buf *spool.Buffer, d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte) (aead.Stream, error) {
	stream, err := c.Stream(cek, params, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	if err = absorb(stream, e.content, buf); err != nil {
		return nil, wire(err, d.field)
	}
	attrs, mac, err := r.readAuthTail(d)
	if err != nil {
		return nil, err
	}
	// RFC 5084, Section 3.2: the tag has the size that the parameters say. A
	// longer one is checked whole.
	if len(mac) < params.TagSize || len(mac) > aead.TagSize {
		return nil, ErrDecrypt
	}
	for i, aad := range attrs {
		if i > 0 || (len(aad) > 0 && !stream.LateAAD()) {
			if stream, err = c.Stream(cek, params, aad); err != nil {
				return nil, ErrDecrypt
			}
			if err = absorb(stream, buf.NewReader(), nil); err != nil {
				return nil, err
			}
		}
		tag, err := stream.Tag(aad)
		if err != nil {
			return nil, ErrDecrypt
		}
		if subtle.ConstantTimeCompare(tag[:len(mac)], mac) == 1 {
			return stream, nil
		}
	}
	return nil, ErrDecrypt
}

// absorb takes ciphertext into the authenticator and copies it to dst, if any.
func absorb(stream aead.Stream, src io.Reader, dst io.Writer) error {
	buf := make([]byte, aeadChunk)
	for {
		n, err := io.ReadFull(src, buf)
		if n > 0 {
			if serr := stream.Absorb(buf[:n]); serr != nil {
				return ErrDecrypt
			}
			if dst != nil {
				if _, werr := dst.Write(buf[:n]); werr != nil {
					return werr
				}
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readAuthTail reads what follows the content. It returns what may have been
// authenticated beside it, the likeliest first: RFC 5083, Section 2.2 asks for
// the DER of the attributes as a SET OF.
func (r *Reader) readAuthTail(d *DecryptedReader) (aads [][]byte, mac []byte, err error) {
	if err = r.r.Leave(); err != nil {
		return nil, nil, wire(err, "authEncryptedContentInfo")
	}
	// QUIRK(OpenSSL before 3.6): RFC 5083 has [1] and [2], it wrote [2] and [3].
	contents, present, err := r.readRawAttributes("authAttrs", ber.Context(1), ber.Context(2))
	if err != nil {
		return nil, nil, err
	}
	if aads, err = authenticatedForms(contents, present); err != nil {
		return nil, nil, err
	}
	raw, err := r.budget.der(r.r, "mac")
	if err != nil {
		return nil, nil, err
	}
	s := cryptobyte.String(raw)
	if !der.ReadOctets(&s, &mac, -1) {
		return nil, nil, &SyntaxError{Offset: r.r.Offset(), Field: "mac"}
	}
	if d.unprotected, err = r.readAttributes("unauthAttrs", ber.Context(2), ber.Context(3)); err != nil {
		return nil, nil, err
	}
	if err = r.r.Leave(); err != nil {
		return nil, nil, wire(err, "AuthEnvelopedData")
	}
	return aads, mac, r.close()
}

// authenticatedForms returns the octets that stand for attributes in a tag or
// MAC: as received and, where that is not DER's order, sorted.
func authenticatedForms(contents []byte, present bool) ([][]byte, error) {
	if !present {
		return [][]byte{nil}, nil
	}
	sorted, ok := sortSet(contents)
	if !ok {
		return nil, malformed("authAttrs")
	}
	first, err := retag(asn1.SET, contents)
	if err != nil {
		return nil, malformed("authAttrs")
	}
	if string(sorted) == string(contents) {
		return [][]byte{first}, nil
	}
	second, err := retag(asn1.SET, sorted)
	return [][]byte{first, second}, err
}

// An aeadReader decrypts what has been authenticated.
type aeadReader struct {
	src    io.Reader
	stream aead.Stream
}

func (a *aeadReader) Read(p []byte) (int, error) {
	n, err := a.src.Read(p)
	if n > 0 {
		if oerr := a.stream.Open(p[:n], p[:n]); oerr != nil {
			return 0, ErrDecrypt
		}
	}
	return n, err
}
