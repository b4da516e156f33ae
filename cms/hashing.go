package cms

import (
	"crypto"
	"hash"
	"slices"

	"github.com/postseal/postseal/internal/alg"
	"github.com/postseal/postseal/internal/stage"
)

// A ContentHash is content that is hashed before its signatures are read, as
// in multipart/signed, where the content comes first. Write the content to it
// and give it to [VerifyOptions]. It is not safe for concurrent use.
type ContentHash struct {
	// Again returns the content, of up to 64 KiB, once more: some signatures are
	// over the content itself. Nil: the content is kept while it is that small. It
	// is to be set before the first Write.
	Again func() ([]byte, error)

	states []hashState
	head   []byte // the content as long as it is small
	size   int64
	noHead bool // the head is not needed

	worker *stage.Writer // hashes large content; nil while the content is small
}

// A hashState is one digest of the content.
type hashState struct {
	id crypto.Hash
	hash.Hash
}

// headSize is how much content is kept beside its hashes: EdDSA, ML-DSA and
// SLH-DSA without signed attributes sign the content itself.
const headSize = 64 << 10

// NewContentHash returns a ContentHash with the given hashes, of those that
// signatures can have.
func NewContentHash(hashes ...crypto.Hash) *ContentHash {
	c := &ContentHash{}
	for _, h := range hashes {
		if d, ok := alg.DigestByHash(h); ok && c.state(h) == nil {
			c.states = append(c.states, hashState{h, d.New()})
		}
	}
	return c
}

// state returns the state of one digest, or nil.
func (c *ContentHash) state(h crypto.Hash) hash.Hash {
	for _, s := range c.states {
		if s.id == h {
			return s.Hash
		}
	}
	return nil
}

// Write adds content. It never fails.
func (c *ContentHash) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	switch {
	case c.noHead, c.Again != nil:
	case c.size <= headSize:
		c.head = append(c.head, p...)
	default:
		c.head = nil
	}
	if c.worker == nil && (c.size <= headSize || !stage.Parallel() || len(c.states) == 0) {
		return len(p), c.update(p)
	}
	if c.worker == nil {
		c.worker = stage.NewWorker(chunkSize, c.update, nil)
	}
	return c.worker.Write(p)
}

// update hashes content, which never fails.
func (c *ContentHash) update(p []byte) error {
	for _, s := range c.states {
		s.Write(p)
	}
	return nil
}

// settle brings the hashes up to all that was written.
func (c *ContentHash) settle() {
	if c.worker == nil {
		return
	}
	_ = c.worker.Flush() // hashing never fails
	c.worker.Stop()
	c.worker = nil
}

// whole returns the content when it is small.
func (c *ContentHash) whole() ([]byte, bool) {
	if c.Again != nil && c.head == nil && 0 < c.size && c.size <= headSize {
		head, err := c.Again()
		if err != nil || int64(len(head)) != c.size {
			return nil, false
		}
		c.head = head
	}
	return c.head, c.size <= headSize && !c.noHead
}

// sum returns the digest of the content.
func (c *ContentHash) sum(h crypto.Hash) ([]byte, bool) {
	c.settle()
	if state := c.state(h); state != nil {
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
