package cms

import (
	"compress/zlib"
	"errors"
	"io"

	"github.com/postseal/postseal/internal/ber"
	"github.com/postseal/postseal/internal/oid"
)

// A CompressedReader releases the content of a CompressedData. Read returns
// io.EOF only when all of it, and its checksum, has been read. Close reads the
// rest and returns the first error.
type CompressedReader struct {
	contentReader
	contentType OID
}

// ContentType returns the type of the content.
func (c *CompressedReader) ContentType() OID { return c.contentType }

// Decompress opens a CompressedData (RFC 3274). Content that expands beyond
// the Expanded or the Ratio of [Limits] is a [*LimitError].
//
//	CompressedData ::= SEQUENCE {
//	  version CMSVersion,
//	  compressionAlgorithm CompressionAlgorithmIdentifier,
//	  encapContentInfo EncapsulatedContentInfo }
func (r *Reader) Decompress() (*CompressedReader, error) {
	if err := r.open("Decompress", TypeCompressedData); err != nil {
		return nil, err
	}
	if err := r.r.Enter(ber.Sequence); err != nil {
		return nil, wire(err, "CompressedData")
	}
	if err := r.readVersion(); err != nil {
		return nil, err
	}
	a, err := r.readAlgorithm("compressionAlgorithm")
	if err != nil {
		return nil, err
	}
	if a.OID != oid.ZLIB {
		return nil, &UnsupportedError{What: "compression", OID: a.OID}
	}
	e, err := r.readEncap()
	if err != nil {
		return nil, err
	}
	if e.content == nil {
		return nil, &VerifyError{Reason: ReasonContent}
	}
	c := &CompressedReader{contentType: e.contentType}
	c.field = "eContent"
	c.src = &inflater{counted: countingReader{src: e.content}, limits: &r.limits}
	c.finish = func() error {
		// What the compressor left behind its stream is no content.
		if _, cerr := io.Copy(io.Discard, e.content); cerr != nil {
			return wire(cerr, "eContent")
		}
		if cerr := r.closeEncap(e); cerr != nil {
			return cerr
		}
		if cerr := r.r.Leave(); cerr != nil {
			return wire(cerr, "CompressedData")
		}
		return r.close()
	}
	return c, nil
}

// ratioFrom is the size of content from which on the ratio is limited: small
// content that compresses well is no attack.
const ratioFrom = 16 << 20

// An inflater decompresses within limits.
type inflater struct {
	counted countingReader
	limits  *Limits
	z       io.ReadCloser
	out     int64
}

func (f *inflater) Read(p []byte) (int, error) {
	if f.z == nil {
		var err error
		if f.z, err = zlib.NewReader(&f.counted); err != nil {
			return 0, f.fault(err)
		}
	}
	n, err := f.z.Read(p)
	f.out += int64(n)
	if f.out > f.limits.Expanded {
		return 0, &LimitError{Limit: "size of decompressed content", Max: f.limits.Expanded}
	}
	if f.out > ratioFrom && f.out/f.limits.Ratio > f.counted.n {
		return 0, &LimitError{Limit: "ratio of decompressed to compressed content", Max: f.limits.Ratio}
	}
	if err != nil && err != io.EOF {
		err = f.fault(err)
	}
	return n, err
}

// fault tells faults of the compressed stream from those of what it came in.
func (f *inflater) fault(err error) error {
	if f.counted.err != nil && f.counted.err != io.EOF {
		return f.counted.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &SyntaxError{Offset: -1, Field: "compressed content", Err: err}
}

// A countingReader counts what has been read and keeps the source's error.
type countingReader struct {
	src io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
