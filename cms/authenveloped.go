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
	buf := spool.New(spool.Options{Memory: o.SpoolMemory, Dir: o.SpoolDir, Public: true})
	stream, err := r.authenticate(buf, d, e, c, params, cek)
	if err != nil {
		_ = buf.Close() // nothing depends on it any more, and err has to stay what it is
		return err
	}
	src := &aeadReader{src: buf.NewReader(), stream: stream, small: buf.Size() <= smallContent}
	d.src, d.held = src, &heldContent{buf: buf, stream: stream}
	d.finish = func() error { return nil }
	d.cancel = func() {
		src.stop()
		_ = buf.Close() // nothing depends on it any more
	}
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
// While a block is in the authenticator, the next one is read.
func absorb(stream aead.Stream, src io.Reader, dst io.Writer) error {
	var task stage.Task
	var blocks [2]*stage.Block
	defer func() {
		_ = task.Wait() // its error has been seen, or another came before it
		stage.Put(blocks[0])
		stage.Put(blocks[1])
	}()
	for i := 0; ; i ^= 1 {
		if blocks[i] == nil {
			blocks[i] = stage.Get()
		}
		blocks[i].Resize(0)
		n, err := io.ReadFull(src, blocks[i].Buf[:chunkSize])
		blocks[i].Resize(n)
		buf := blocks[i].Buf
		last := err != nil
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		if serr := absorbBlock(&task, stream, buf, last); serr != nil {
			return ErrDecrypt
		}
		if dst != nil && n > 0 {
			if _, werr := dst.Write(buf); werr != nil {
				return werr
			}
		}
		if last {
			return err
		}
	}
}

// absorbBlock takes a block into the authenticator, beside the caller when more
// follow.
func absorbBlock(task *stage.Task, stream aead.Stream, buf []byte, last bool) error {
	if !last && stage.Parallel() {
		return task.Go(func() error { return stream.Absorb(buf) })
	}
	if err := task.Wait(); err != nil {
		return err
	}
	return stream.Absorb(buf)
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

// A heldContent is content that has been authenticated and is decrypted where it
// is read.
type heldContent struct {
	buf    *spool.Buffer
	stream aead.Stream
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
	if d.held != nil && d.err == nil {
		d.end(io.EOF) // the verdict is known since Decrypt
	}
	return d.contentReader.Close()
}

// An aeadReader decrypts what has been authenticated. While a block is read by
// its caller, the next one is decrypted.
type aeadReader struct {
	src    io.Reader // what has been spooled: nobody else reads it
	stream aead.Stream
	small  bool // not worth it
	task   stage.Task
	out    *stage.Block
	plain  []byte // of out, not yet given out
	ahead  *stage.Block
	err    error // after plain
	over   error // after ahead
}

func (a *aeadReader) Read(p []byte) (int, error) {
	if a.small || !stage.Parallel() {
		return a.open(p)
	}
	for len(a.plain) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.ahead == nil {
			a.start(stage.Get())
		}
		_ = a.task.Wait() // its errors are in over
		done, free := a.ahead, a.out
		a.out, a.plain, a.err, a.ahead = done, done.Buf, a.over, nil
		if a.err == nil {
			if free == nil {
				free = stage.Get()
			}
			a.start(free)
		} else {
			stage.Put(free)
		}
	}
	n := copy(p, a.plain)
	a.plain = a.plain[n:]
	return n, nil
}

// start reads and decrypts ahead.
func (a *aeadReader) start(b *stage.Block) {
	a.ahead = b
	_ = a.task.Go(func() error { // its errors are in over
		n := 0
		for n < chunkSize && a.over == nil {
			var more int
			more, a.over = a.open(b.Buf[n:chunkSize])
			n += more
		}
		b.Resize(n)
		return nil
	})
}

// stop ends what is under way.
func (a *aeadReader) stop() {
	_ = a.task.Wait() // its errors are in over
	stage.Put(a.ahead)
	if len(a.plain) == 0 {
		stage.Put(a.out)
		a.out = nil
	}
	a.ahead = nil
}

// open reads and decrypts.
func (a *aeadReader) open(p []byte) (int, error) {
	n, err := a.src.Read(p)
	if n > 0 {
		if oerr := a.stream.Open(p[:n], p[:n]); oerr != nil {
			return 0, ErrDecrypt
		}
	}
	return n, err
}
