package account

import (
	"crypto/sha256"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/recent"
	"github.com/postseal/postseal/keystore/store"
	"github.com/postseal/postseal/pki"
)

// remember is how long what was read of a store, and paths that were found to be
// good, are used again. What is changed in the store counts at once.
const remember = time.Minute

// maxVerdicts is how many paths are remembered at least; see recent.Map.
const maxVerdicts = 500

// verdicts are certificates of recipients that a path leads to from a root, and
// until when that is certain: to the end of the validity of the path, of what says
// that nobody on it is revoked, or of the minute. They are safe for concurrent use.
type verdicts struct {
	*recent.Map[[sha256.Size]byte, span]
}

func newVerdicts() verdicts {
	return verdicts{recent.NewMap[[sha256.Size]byte, span](maxVerdicts)}
}

// A span is when a verdict holds.
type span struct{ from, until time.Time }

// holds reports whether a verdict is there for a time.
func (v verdicts) holds(about [sha256.Size]byte, at time.Time) bool {
	s, ok := v.Get(about)
	return ok && !at.Before(s.from) && at.Before(s.until)
}

// A judge is a cms.Trust for recipients, which remembers good verdicts. It knows
// nothing of revocation that comes with a message.
type judge struct {
	memo  verdicts
	paths func() cms.PathTrust // with roots
	roots []store.Authority    // those that may change
}

// TrustSigner implements cms.Trust.
func (j *judge) TrustSigner(req *cms.TrustRequest) error {
	about := j.sum(req)
	if j.memo.holds(about, req.Time) {
		return nil
	}
	paths := j.paths()
	s, certain := span{req.Time, req.Time.Add(remember)}, false
	paths.Checked = func(chain []*pki.Certificate, found []pki.CertificateStatus) {
		certain = s.limit(chain, found, paths.Revocation != nil && paths.Revocation.Fetcher != nil)
	}
	err := paths.TrustSigner(req)
	if err == nil && certain {
		j.memo.Put(about, s)
	}
	return err
}

// limit ends the span with what the verdict rests on. It reports whether asking
// again at once would give the same: with fetching, what is not known now may be
// known then.
func (s *span) limit(chain []*pki.Certificate, found []pki.CertificateStatus, fetching bool) bool {
	for _, c := range chain {
		s.end(c.NotAfter)
	}
	for _, status := range found {
		if status.Status != pki.RevocationUnknown {
			s.end(status.NextUpdate)
		} else if fetching {
			return false
		}
	}
	return true
}

// end ends the span at a time, if that is one and earlier.
func (s *span) end(at time.Time) {
	if !at.IsZero() && at.Before(s.until) {
		s.until = at
	}
}

// sum names all that a verdict depends on, but for time and configuration.
func (j *judge) sum(req *cms.TrustRequest) (out [sha256.Size]byte) {
	h := sha256.New()
	for i := range j.roots {
		h.Write(j.roots[i].Fingerprint[:])
	}
	h.Write(make([]byte, sha256.Size)) // no fingerprint: the roots end here
	add := func(c *pki.Certificate) {
		print := store.FingerprintOf(c)
		h.Write(print[:])
	}
	add(req.Certificate)
	for _, c := range req.Intermediates {
		add(c)
	}
	h.Sum(out[:0])
	return out
}
