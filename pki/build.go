package pki

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/postseal/postseal/internal/alg"
)

// Bounds of the work of a verification. Hostile sets of certificates, which
// all certify each other, have more paths than can be tried.
const (
	maxPathLength     = 20       // certificates in a chain
	maxPathSignatures = 1_000    // signatures checked, or fewer with large keys
	maxSteps          = 20_000   // issuers looked at
	maxValidations    = 300      // chains judged
	maxOctets         = 64 << 20 // in the certificates of those chains
)

// A builder looks for chains from one leaf (in the sense of RFC 4158): depth
// first, the likeliest issuers first. It remembers signatures, so that each is
// checked once.
type builder struct {
	roots     *Roots
	leaf      *Certificate
	opts      *ChainOptions
	now       time.Time
	bySubject map[string][]*Certificate // intermediates, by folded name
	distance  map[string]int            // from a root, in certificates, by folded name
	nodes     map[*Certificate]*node
	edges     map[edge]signed

	signatures, comparisons, octets int // what may still be done in all
	steps, validations              int // and in one search

	best *fault
}

// A node is a certificate on the way.
type node struct {
	c       *Certificate
	info    *pathInfo
	root    bool
	far     int     // distance from a root as the names have it, or noRoot
	issuers []*node // candidates, the likeliest first; nil until asked for
	sorted  bool
}

// An edge leads from a certificate to a candidate for its issuer.
type edge struct{ child, issuer *Certificate }

// signed is what is known about the signature of an edge.
type signed struct {
	needs []string // allowances
	err   error
}

// A fault is why a path, or the search, ended.
type fault struct {
	reason Reason
	at     *Certificate
	err    error
	path   []*Certificate
	rank   int
}

// Ranks of faults: the nearer a path is to be accepted, the more its fault
// tells.
const (
	rankUnknown   = iota + 1 // no issuer
	rankSignature            // an issuer that cannot be followed
	rankRule                 // a whole path that breaks a rule
	rankTime                 // a whole path at the wrong time
	rankLimit                // the search was given up
)

func newBuilder(r *Roots, leaf *Certificate, opts *ChainOptions) *builder {
	b := &builder{
		roots: r, leaf: leaf, opts: opts, signatures: maxPathSignatures, comparisons: maxComparisons, octets: maxOctets,
		bySubject: make(map[string][]*Certificate), nodes: make(map[*Certificate]*node), edges: make(map[edge]signed),
	}
	seen := make(map[string]bool, len(opts.Intermediates)+1)
	seen[identity(leaf)] = true
	issued := make(map[string][]string) // the subjects by issuer
	for _, c := range opts.Intermediates {
		if c == nil || c == leaf || c.isBare() || r.root(c) != nil || seen[string(c.Raw)] {
			continue
		}
		seen[identity(c)] = true
		name := c.foldedSubject()
		b.bySubject[name] = append(b.bySubject[name], c)
		issuer := c.foldedIssuer()
		issued[issuer] = append(issued[issuer], name)
	}
	b.measure(issued)
	return b
}

// noRoot is the distance of certificates from which no names lead to a root.
const noRoot = math.MaxInt

// measure finds out how far names are from the roots. Paths that get nearer to
// a root are tried first, and those that never reach one, once.
func (b *builder) measure(issued map[string][]string) {
	b.distance = make(map[string]int)
	var todo []string
	for name := range b.roots.bySubject {
		if issued[name] != nil {
			b.distance[name], todo = 0, append(todo, name)
		}
	}
	for ; len(todo) > 0; todo = todo[1:] {
		for _, name := range issued[todo[0]] {
			if _, known := b.distance[name]; !known {
				b.distance[name], todo = b.distance[todo[0]]+1, append(todo, name)
			}
		}
	}
}

// at looks for a chain that is valid at a time.
func (b *builder) at(now time.Time) ([]*Certificate, *ChainError) {
	// RFC 5280, Section 4.1.2.5: times are in seconds, and the last one counts.
	b.now, b.best, b.steps, b.validations = now.Truncate(time.Second), nil, maxSteps, maxValidations
	leaf := b.node(b.leaf)
	if root := b.roots.root(b.leaf); root != nil {
		leaf.root = true
		if f := b.validate([]*node{leaf}); f != nil {
			return nil, f.chainError()
		}
		return []*Certificate{b.leaf}, nil
	}
	for _, n := range b.nodes {
		n.issuers, n.sorted = nil, false // their order depends on the time
	}
	if path := b.extend([]*node{leaf}); path != nil {
		return certificates(path), nil
	}
	return nil, b.best.chainError()
}

func (b *builder) node(c *Certificate) *node {
	n := b.nodes[c]
	if n == nil {
		n = &node{c: c, info: newPathInfo(c), root: b.roots.root(c) == c, far: noRoot}
		if n.root {
			n.far = 0
		} else if d, known := b.distance[c.foldedIssuer()]; known {
			n.far = d + 1
		}
		b.nodes[c] = n
	}
	return n
}

func certificates(path []*node) []*Certificate {
	out := make([]*Certificate, len(path))
	for i, n := range path {
		out[i] = n.c
	}
	return out
}

// note keeps the fault that tells most.
func (b *builder) note(f *fault) {
	if b.best == nil || f.rank > b.best.rank || f.rank < rankRule && f.rank == b.best.rank && len(f.path) > len(b.best.path) {
		b.best = f
	}
}

// giveUp ends the search.
func (b *builder) giveUp(path []*node, what string) {
	b.note(&fault{reason: TooComplex, at: path[len(path)-1].c, err: errors.New(what), path: certificates(path), rank: rankLimit})
}

func (b *builder) gaveUp() bool { return b.best != nil && b.best.rank == rankLimit }

// extend continues a path and returns a valid one, or nil.
func (b *builder) extend(path []*node) []*node {
	last := path[len(path)-1]
	dead := &fault{reason: UnknownIssuer, at: last.c, path: certificates(path), rank: rankUnknown}
	signer := false
	issuers := b.issuers(last)
	if b.steps < 0 {
		b.giveUp(path, "there are too many possible issuers to try them all")
	}
	for _, issuer := range issuers {
		if b.steps--; b.steps < 0 {
			b.giveUp(path, "there are too many possible issuers to try them all")
		}
		if b.gaveUp() {
			return nil
		}
		if loops(path, issuer) || signer && issuer.far == noRoot {
			continue
		}
		err := b.signed(last, issuer).err
		if err != nil && !errors.Is(err, errInherited) {
			b.noteSignature(dead, last, issuer, err)
			continue
		}
		signer = true
		if found := b.follow(append(slices.Clip(path), issuer)); found != nil {
			return found
		}
	}
	if !signer && !b.gaveUp() {
		b.deadEnd(dead)
	}
	return nil
}

// follow judges a path that has come to a root, and extends others.
func (b *builder) follow(path []*node) []*node {
	last := path[len(path)-1]
	switch {
	case last.root:
		for _, n := range path {
			b.octets -= len(n.c.Raw)
		}
		if b.validations--; b.validations < 0 || b.octets < 0 {
			b.giveUp(path, "there are too many possible chains to try them all")
			return nil
		}
		f := b.validate(path)
		if f == nil {
			return path
		}
		b.note(f)
	case len(path) >= maxPathLength:
		b.note(&fault{reason: TooComplex, at: last.c, err: errors.New("the chain is too long"), path: certificates(path), rank: rankSignature})
	default:
		return b.extend(path)
	}
	return nil
}

// loops reports whether issuer brings a path nothing: it, or another CA's
// certificate for the same name and key, is there already (RFC 4158, Section
// 5.2).
func loops(path []*node, issuer *node) bool {
	return path[0] == issuer || slices.ContainsFunc(path[1:], func(n *node) bool {
		return n == issuer || bytes.Equal(n.c.RawSubject, issuer.c.RawSubject) && bytes.Equal(n.c.RawSPKI, issuer.c.RawSPKI)
	})
}

// noteSignature keeps in dead why issuer is not the issuer of child.
func (b *builder) noteSignature(dead *fault, child, issuer *node, err error) {
	if keyMatch(child.c, issuer.c) < 0 {
		return // another one of the same name
	}
	wrong := errors.Is(err, alg.ErrSignature) || errors.Is(err, alg.ErrKeyType)
	switch {
	case errors.Is(err, errSpent):
		b.giveUp([]*node{child}, err.Error())
	case wrong:
		dead.reason, dead.at, dead.err, dead.rank = BadSignature, child.c, err, rankSignature
	case dead.reason == UnknownIssuer:
		dead.reason, dead.at, dead.err, dead.rank = Unsupported, child.c, err, rankSignature
		if issuer.c.PublicKey == nil {
			dead.at = issuer.c
		}
	}
}

// deadEnd notes that nobody signed the last certificate of a path. One that
// signed itself lacks trust, and not a signature.
func (b *builder) deadEnd(f *fault) {
	last := b.node(f.path[len(f.path)-1])
	if f.reason != UnknownIssuer && last.info.selfIssued && b.signed(last, last).err == nil {
		f.reason, f.at, f.err, f.rank = UnknownIssuer, last.c, nil, rankUnknown
	}
	b.note(f)
}

var errSpent = errors.New("there are too many signatures to check them all")

// signed checks the signature of child by issuer, once.
func (b *builder) signed(child, issuer *node) signed {
	e := edge{child.c, issuer.c}
	s, known := b.edges[e]
	if known {
		return s
	}
	if b.signatures <= 0 {
		return signed{err: errSpent}
	}
	b.signatures -= signatureCost(issuer.c.PublicKey) + len(child.c.RawTBS)>>16
	s.needs, s.err = verifyRemembered(issuer.c, child.c.SignatureAlgorithm, child.c.RawTBS, child.c.Signature)
	b.edges[e] = s
	return s
}

// issuers returns the candidates for the issuer of n, by name (RFC 5280,
// Section 6.1.3 (a) (4)). Key identifiers are a preference only: RFC 5280 does
// not ask that they fit.
func (b *builder) issuers(n *node) []*node {
	if n.sorted {
		return n.issuers
	}
	n.sorted = true
	name := n.c.foldedIssuer()
	for _, c := range slices.Concat(b.roots.bySubject[name], b.bySubject[name]) {
		if b.steps--; b.steps < 0 {
			return nil
		}
		n.issuers = append(n.issuers, b.node(c))
	}
	score := func(issuer *node) int {
		s := 8 * keyMatch(n.c, issuer.c)
		if b.checkCA(issuer) == nil && b.checkTime(issuer) == nil {
			s += 4
		}
		if issuer.root {
			s += 2
		}
		return s
	}
	slices.SortStableFunc(n.issuers, func(x, y *node) int {
		return cmp.Or(cmp.Compare(score(y), score(x)), cmp.Compare(x.far, y.far), y.c.NotBefore.Compare(x.c.NotBefore))
	})
	return n.issuers
}

// keyMatch compares the key identifiers: 1 for the same, -1 for different ones,
// and 0 where there are not two.
func keyMatch(child, issuer *Certificate) int {
	switch {
	case child.AuthorityKeyID == nil || issuer.SubjectKeyID == nil:
		return 0
	case bytes.Equal(child.AuthorityKeyID, issuer.SubjectKeyID):
		return 1
	}
	return -1
}
