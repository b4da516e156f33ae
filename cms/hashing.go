package cms

import (
	"crypto"
	"hash"
	"slices"

	"github.com/postseal/postseal/internal/alg"
)

// A ContentHash is content that is hashed before its signatures are read, as
// in multipart/signed, where the content comes first. Write the content to it
// and give it to [VerifyOptions]. It is not safe for concurrent use.
type ContentHash struct {
	hashes map[crypto.Hash]hash.Hash
	head   []byte // the content as long as it is small
	size   int64
}

// headSize is how much content is kept beside its hashes: EdDSA, ML-DSA and
// SLH-DSA without signed attributes sign the content itself.
const headSize = 64 << 10

// NewContentHash returns a ContentHash with the given hashes, of those that
// signatures can have.
func NewContentHash(hashes ...crypto.Hash) *ContentHash {
	c := &ContentHash{hashes: make(map[crypto.Hash]hash.Hash)}
	for _, h := range hashes {
		if d, ok := alg.DigestByHash(h); ok && c.hashes[h] == nil {
			c.hashes[h] = d.New()
		}
	}
	return c
}

// Write adds content. It never fails.
func (c *ContentHash) Write(p []byte) (int, error) {
	for _, h := range c.hashes {
		h.Write(p)
	}
	if c.size += int64(len(p)); c.size <= headSize {
		c.head = append(c.head, p...)
	} else {
		c.head = nil
	}
	return len(p), nil
}

// whole returns the content when it is small enough to have been kept.
func (c *ContentHash) whole() ([]byte, bool) { return c.head, c.size <= headSize }

// sum returns the digest of the content.
func (c *ContentHash) sum(h crypto.Hash) ([]byte, bool) {
	if state, ok := c.hashes[h]; ok {
		return state.Sum(nil), true
	}
	content, ok := c.whole()
	d, known := alg.DigestByHash(h)
	if !ok || !known {
		return nil, false
	}
	state := d.New()
	state.Write(content)
	return state.Sum(nil), true
}

// missing returns the names of the digests that infos need and c lacks.
func (c *ContentHash) missing(infos []*signerInfo) []string {
	var out []string
	for _, si := range infos {
		d, ok := alg.DigestByAlgorithm(si.digest)
		if !ok {
			continue
		}
		if _, ok = c.sum(d.Hash); !ok && !slices.Contains(out, d.Name) {
			out = append(out, d.Name)
		}
	}
	return out
}
