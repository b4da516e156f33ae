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
	"github.com/postseal/postseal/internal/stage"
)

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
	if o.Again != nil {
		return r.openAgain(d, e, c, params, cek, o)
	}
	buf := spool.New(spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir, Public: true})
	again := func() (io.Reader, error) { return buf.NewReader(), nil }
	stream, err := r.authenticate(buf, again, d, e, c, params, cek)
	if err != nil {
		_ = buf.Close() // nothing depends on it any more, and err has to stay what it is
		return err
	}
	d.held = &heldContent{buf: buf, stream: stream}
	d.src, d.cancel = d.held, d.held.stop
	d.finish = func() error { return nil }
	return nil
}

// authenticate reads the ciphertext, writes it to buf in chunks and checks the
// tag. It returns the cipher at its start, for the second pass. again gives the
// ciphertext once more.
func (r *Reader) authenticate(buf io.Writer, again func() (io.Reader, error), d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte) (aead.Stream, error) {
	stream, err := c.Stream(cek, params, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	if err = absorb(stream, e.content, buf); err != nil {
		return nil, wire(err, d.field)
	}
	return r.checkTag(stream, again, d, c, params, cek)
}

// checkTag reads what follows the ciphertext, which stream has absorbed, and
// checks the tag. It returns the cipher, of which nothing has been opened. When it
// would have to absorb the ciphertext again, and again is nil, it is errAgain.
func (r *Reader) checkTag(stream aead.Stream, again func() (io.Reader, error), d *DecryptedReader, c alg.Cipher, params alg.CipherParams, cek []byte) (aead.Stream, error) {
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
			if again == nil {
				return nil, errAgain
			}
			if stream, err = c.Stream(cek, params, aad); err != nil {
				return nil, ErrDecrypt
			}
			second, err := again()
			if err == nil {
				err = absorb(stream, second, nil)
			}
			if err != nil {
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
	work := func(chunk []byte) error {
		if stream.Absorb(chunk) != nil {
			return ErrDecrypt
		}
		return nil
	}
	return inChunks(src, work, dst)
}

// inChunks has work done on each chunk of src, in order, and then writes it to
// dst, if there is one. While some are in work, others are read and written.
func inChunks(src io.Reader, work func(chunk []byte) error, dst io.Writer) error {
	block := stage.Get()
	last, err := fill(block, src)
	if err == nil && last {
		if err = work(block.Buf); err == nil && dst != nil {
			_, err = dst.Write(block.Buf)
		}
	}
	if err != nil || last {
		stage.Put(block)
		return err
	}
	var deliver stage.Deliver
	if dst != nil {
		deliver = stage.To(dst)
	}
	queue := stage.NewQueue(work, deliver)
	defer queue.Stop()
	for !last {
		if err = queue.Add(block); err != nil {
			return err
		}
		block = queue.Empty()
		if last, err = fill(block, src); err != nil {
			queue.Reuse(block)
			return err
		}
	}
	return queue.Last(block)
}

// fill reads a chunk into a block, and tells whether it is the last one.
func fill(block *stage.Block, src io.Reader) (last bool, err error) {
	n, err := io.ReadFull(src, block.Buf[:chunkSize])
	block.Resize(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return true, nil
	}
	return false, err
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

// noAttributes is nothing that is authenticated beside the content.
var noAttributes = [][]byte{nil}

// authenticatedForms returns the octets that stand for attributes in a tag or
// MAC: as received and, where that is not DER's order, sorted.
func authenticatedForms(contents []byte, present bool) ([][]byte, error) {
	if !present {
		return noAttributes, nil
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

// A heldContent is content that has been authenticated and is decrypted where it
// is read.
type heldContent struct {
	buf    *spool.Buffer
	stream aead.Stream
	reader *aeadReader // of Read; nil until needed
}

// Read implements io.Reader.
func (h *heldContent) Read(p []byte) (int, error) {
	if h.reader == nil {
		h.reader = &aeadReader{src: h.buf.NewReader(), stream: h.stream, small: h.buf.Size() <= smallContent}
	}
	return h.reader.Read(p)
}

// stop frees what is held.
func (h *heldContent) stop() {
	if h.reader != nil {
		h.reader.stop()
	}
	_ = h.buf.Close() // nothing depends on it any more
}

// ReadAt implements io.ReaderAt.
func (h *heldContent) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.buf.ReadAt(p, off)
	if n > 0 {
		if oerr := h.stream.OpenAt(p[:n], p[:n], off); oerr != nil {
			return 0, ErrDecrypt
		}
	}
	return n, err
}

// Written reports whether the writer of DecryptOptions.HoldUnverified was given
// the content, which has been authenticated since.
func (d *DecryptedReader) Written() bool { return d.written }

// Held returns the content and its size in octets, to be read from any place and
// by several goroutines until Close, when the content is authenticated: nothing
// but its ciphertext is held then. Else it returns nil. Read must not be called
// beside it.
func (d *DecryptedReader) Held() (io.ReaderAt, int64) {
	if d.held == nil || d.err != nil {
		return nil, 0
	}
	return d.held, d.held.buf.Size()
}

// Close reads the rest of the content and returns the verdict: nil, or the
// first error. It may be called any number of times.
func (d *DecryptedReader) Close() error {
	if (d.held != nil || d.authentic) && d.err == nil {
		d.end(io.EOF) // the verdict is known since Decrypt
	}
	return d.contentReader.Close()
}
