package cms

import (
	"io"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/ber"
)

// DecryptOptions says how a message is decrypted. Nil is the zero value.
type DecryptOptions struct {
	// Allow lets messages with weak ciphers be read. Nil is none.
	Allow []Allowance

	// SpoolMemory is how much ciphertext of a message with an authenticated
	// cipher is held in memory, in octets; more goes to a temporary file. 0: 1 MiB.
	SpoolMemory int

	// SpoolDir is the folder of the temporary file. "": the system's.
	SpoolDir string

	// Again, if it is not nil, returns a reader over the octets that NewReader was
	// given, from the start of the message on. Then an AuthEnvelopedData is not held:
	// it is read once to be authenticated, and once more to be decrypted. If its
	// ciphertext is another one then, Read gives nothing of the part that differs,
	// and ends with ErrChanged. Other messages are read once.
	Again func() io.Reader

	// HoldUnverified is for the caller who has a place where nobody can see the
	// content until Decrypt has returned. With Again it is told the first octets of
	// the content of an AuthEnvelopedData, up to 256 KiB, before anything is
	// authenticated: they may be an attacker's, and must decide about nothing but
	// whether the content is to be held. If it returns a writer, that is given all of
	// the content while the message is read for the first time. If Decrypt then
	// fails, it has to be destroyed unseen. If not, DecryptedReader.Written tells
	// whether it is what was authenticated; there is nothing left to be read then.
	HoldUnverified func(contentType OID, start []byte) (io.Writer, error)
}

// A DecryptedReader releases the content of an encrypted message. Read returns
// io.EOF only when all of it has been decrypted, and [ErrDecrypt] or another
// error else. Close reads the rest, frees what the reader holds and returns
// the first error; it must be called, and may be called any number of times.
//
// When Authenticated is true the content is what the sender encrypted, and
// nothing has been released before that was known. Else anybody may have
// changed it on the way without the key (RFC 8551, Section 6): it must not be
// shown in a way that lets it call home.
//
// A DecryptedReader is not safe for concurrent use.
type DecryptedReader struct {
	contentReader
	contentType   OID
	cipher        string
	authenticated bool
	unprotected   Attributes
	held          *heldContent // of authenticated content
	authentic     bool         // the verdict is known, and good
	written       bool
}

// ContentType returns the type of the content.
func (d *DecryptedReader) ContentType() OID { return d.contentType }

// Cipher returns the name of the content cipher, such as "aes-256-gcm".
func (d *DecryptedReader) Cipher() string { return d.cipher }

// Authenticated reports whether the content is known to be unchanged.
func (d *DecryptedReader) Authenticated() bool { return d.authenticated }

// Unprotected returns the attributes that nothing protects. It is complete at
// io.EOF.
func (d *DecryptedReader) Unprotected() Attributes { return d.unprotected }

// An envelope is the start of an EnvelopedData, AuthEnvelopedData or
// EncryptedData: all up to the encrypted content.
type envelope struct {
	infos       []RecipientInfo
	contentType OID
	algorithm   AlgorithmIdentifier
	content     io.Reader // nil when the content is detached
	used        bool      // Decrypt or VerifyMAC has read on
}

// Recipients returns the recipients of an EnvelopedData, AuthEnvelopedData or
// AuthenticatedData. It can be called before Decrypt or VerifyMAC, and again.
func (r *Reader) Recipients() ([]RecipientInfo, error) {
	e, err := r.readRecipients("Recipients")
	if err != nil {
		return nil, err
	}
	return e.infos, nil
}

// readRecipients reads the common start of the three content types, once.
func (r *Reader) readRecipients(method string) (*envelope, error) {
	if r.envelope == nil && r.envelopeErr == nil {
		if err := r.open(method, TypeEnvelopedData, TypeAuthEnvelopedData, TypeAuthenticatedData); err != nil {
			return nil, err
		}
		r.envelope, r.envelopeErr = r.readEnvelopeHead()
	}
	return r.envelope, r.envelopeErr
}

func (r *Reader) readEnvelopeHead() (*envelope, error) {
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "EnvelopedData")
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	tag, _, err := r.peekTag("EnvelopedData")
	if err != nil {
		return nil, err
	}
	if tag == ber.Context(0) {
		// OriginatorInfo: certificates that only static key agreement needs.
		if _, err = r.budget.raw(r.r, "originatorInfo"); err != nil {
			return nil, err
		}
	}
	infos, err := readRecipientInfos(r.r, &r.budget)
	if err != nil {
		return nil, err
	}
	return &envelope{infos: infos}, nil
}

// readContentInfo opens an EncryptedContentInfo (RFC 5652, Section 6.1).
//
//	EncryptedContentInfo ::= SEQUENCE {
//	  contentType ContentType,
//	  contentEncryptionAlgorithm ContentEncryptionAlgorithmIdentifier,
//	  encryptedContent [0] IMPLICIT EncryptedContent OPTIONAL }
func (r *Reader) readContentInfo(e *envelope) error {
	const field = "encryptedContentInfo"
	if err := r.r.Enter(ber.Sequence); err != nil {
		return wire(err, field)
	}
	var err error
	if e.contentType, err = r.readOID("contentType"); err != nil {
		return err
	}
	if e.algorithm, err = r.readAlgorithm("contentEncryptionAlgorithm"); err != nil {
		return err
	}
	_, more, err := r.peekTag(field)
	if err != nil {
		return err
	}
	if !more {
		return &UnsupportedError{What: "encrypted content outside of the message"}
	}
	e.content, err = r.r.Octets(ber.Context(0))
	return wire(err, "encryptedContent")
}

// contentCipher finds the cipher of an envelope.
func (e *envelope) contentCipher(allow []Allowance) (alg.Cipher, alg.CipherParams, error) {
	c, ok := alg.CipherByOID(e.algorithm.OID)
	if !ok {
		return c, alg.CipherParams{}, &UnsupportedError{What: "content cipher", OID: e.algorithm.OID}
	}
	if !allowed(allow, c.Weak) {
		return c, alg.CipherParams{}, &UnsupportedError{What: "content cipher", OID: e.algorithm.OID, Allow: Allowance(c.Weak)}
	}
	p, err := c.ParseParams(e.algorithm.Parameters)
	if err != nil {
		return c, p, &SyntaxError{Offset: -1, Field: "parameters of " + c.Name, Err: err}
	}
	return c, p, nil
}

// Decrypt opens an EnvelopedData (RFC 5652, Section 6) or AuthEnvelopedData
// (RFC 5083) with the first of ids that is a recipient. When none is, the error
// is a [*NoMatchError]. All failures of decryption are [ErrDecrypt].
//
// An AuthEnvelopedData has been read whole and authenticated when Decrypt
// returns; its ciphertext is held in memory or in a temporary file meanwhile, but
// for DecryptOptions.Again.
// An EnvelopedData is decrypted as it is read.
func (r *Reader) Decrypt(ids []Identity, opts *DecryptOptions) (*DecryptedReader, error) {
	var o DecryptOptions
	if opts != nil {
		o = *opts
	}
	if r.contentType == TypeAuthenticatedData {
		return nil, &UnsupportedError{What: "Decrypt of a message of type", OID: r.contentType}
	}
	e, err := r.readRecipients("Decrypt")
	if err != nil {
		return nil, err
	}
	if e.used {
		return nil, usage("Decrypt: the message has been read already")
	}
	e.used = true
	if err = r.readContentInfo(e); err != nil {
		return nil, err
	}
	c, params, err := e.contentCipher(o.Allow)
	if err != nil {
		return nil, err
	}
	if c.AEAD() != (r.contentType == TypeAuthEnvelopedData) {
		// RFC 5084, Section 1: GCM and CCM are for AuthEnvelopedData. Content in
		// EnvelopedData has no place for a tag.
		return nil, &UnsupportedError{What: "in " + alg.Name(r.contentType) + " the cipher", OID: c.OID}
	}
	cek, failed, err := unwrap(ids, e.infos, c.KeySize)
	if err != nil {
		return nil, err
	}
	d := &DecryptedReader{contentType: e.contentType, cipher: c.Name, authenticated: c.AEAD()}
	d.field = "encryptedContent"
	if c.AEAD() {
		return d, r.openAEAD(d, e, c, params, cek, o)
	}
	return d, r.openCBC(d, e, c, params, cek, failed)
}

// openCBC sets d up to decrypt while it reads.
func (r *Reader) openCBC(d *DecryptedReader, e *envelope, c alg.Cipher, params alg.CipherParams, cek []byte, failed bool) error {
	d.finish = func() error { return nil }
	tail := func() error { return r.readEnvelopeTail(d) }
	block, err := c.Block(cek, params)
	if err != nil || failed {
		// Also this way all of the message is read.
		d.src = &refusedReader{src: e.content, tail: tail, field: d.field}
		return nil
	}
	d.src = newCBCReader(e.content, block, params.IV, func(err error) error {
		if err != nil {
			return wire(err, d.field)
		}
		return tail()
	})
	return nil
}

// readEnvelopeTail reads what follows the encrypted content.
func (r *Reader) readEnvelopeTail(d *DecryptedReader) error {
	if err := r.r.Leave(); err != nil {
		return wire(err, "encryptedContentInfo")
	}
	var err error
	d.unprotected, err = r.readAttributes("unprotectedAttrs", ber.Context(1))
	if err != nil {
		return err
	}
	if err = r.r.Leave(); err != nil {
		return wire(err, "EnvelopedData")
	}
	return r.close()
}

// readAttributes reads a set of attributes when the next element has one of
// the given tags.
func (r *Reader) readAttributes(field string, tags ...ber.Tag) (Attributes, error) {
	contents, _, err := r.readRawAttributes(field, tags...)
	if err != nil {
		return nil, err
	}
	return parseAttributes(contents, &r.limits)
}

// readRawAttributes returns the contents of a set of attributes.
func (r *Reader) readRawAttributes(field string, tags ...ber.Tag) (contents []byte, present bool, err error) {
	tag, more, err := r.peekTag(field)
	if err != nil || !more {
		return nil, false, err
	}
	for _, t := range tags {
		if tag != t {
			continue
		}
		raw, err := r.budget.der(r.r, field)
		if err != nil {
			return nil, false, err
		}
		in, err := contentsOf(raw)
		if err != nil {
			return nil, false, err
		}
		contents, err = io.ReadAll(in)
		return contents, true, err
	}
	return nil, false, nil
}

// A refusedReader reads all of a message that will not be decrypted.
type refusedReader struct {
	src   io.Reader
	tail  func() error
	field string
}

func (f *refusedReader) Read([]byte) (int, error) {
	if _, err := io.Copy(io.Discard, f.src); err != nil {
		return 0, wire(err, f.field)
	}
	if err := f.tail(); err != nil {
		return 0, err
	}
	return 0, ErrDecrypt
}
