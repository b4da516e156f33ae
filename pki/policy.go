package pki

import (
	"slices"

	"github.com/postseal/postseal/internal/oid"
)

// A policyGraph is the valid_policy_graph of RFC 9618, which took the place of
// the tree of RFC 5280, Section 6.1.2 (a): there is one node for a policy at
// each depth, so that it grows with the sizes of the certificates and not with
// their product.
type policyGraph struct {
	level []*policyNode // the nodes at the present depth; none: the graph is NULL
	// byExpected finds the nodes of level by an element of their
	// expected_policy_set, and byPolicy by their valid_policy.
	byExpected map[oid.OID][]*policyNode
	byPolicy   map[oid.OID]*policyNode
}

type policyNode struct {
	policy   oid.OID   // valid_policy
	expected []oid.OID // expected_policy_set
	parents  []*policyNode
	walked   bool // by authorities
}

// newPolicyGraph returns the graph of depth zero: anyPolicy.
func newPolicyGraph() *policyGraph {
	g := new(policyGraph)
	g.setLevel([]*policyNode{{policy: anyPolicy, expected: []oid.OID{anyPolicy}}})
	return g
}

func (g *policyGraph) setLevel(nodes []*policyNode) {
	g.level, g.byExpected, g.byPolicy = nodes, nil, nil
	if len(nodes) == 0 {
		return
	}
	g.byExpected, g.byPolicy = make(map[oid.OID][]*policyNode), make(map[oid.OID]*policyNode)
	for _, n := range nodes {
		g.byPolicy[n.policy] = n
		for _, e := range n.expected {
			g.byExpected[e] = append(g.byExpected[e], n)
		}
	}
}

// isNull reports whether no policy is left.
func (g *policyGraph) isNull() bool { return len(g.level) == 0 }

// add goes a certificate down. withAny says that anyPolicy counts in it.
//
// RFC 9618, Section 5.2, replacing RFC 5280, Section 6.1.3 (d) and (e).
func (g *policyGraph) add(info *pathInfo, withAny bool) {
	if g.isNull() {
		return
	}
	if !info.hasPolicies {
		g.setLevel(nil)
		return
	}
	var next []*policyNode
	have := make(map[oid.OID]bool)
	node := func(policy oid.OID, parents []*policyNode) {
		have[policy] = true
		next = append(next, &policyNode{policy: policy, expected: []oid.OID{policy}, parents: parents})
	}
	for _, policy := range info.policies {
		if parents := g.byExpected[policy]; len(parents) > 0 { // (d) (1) (i)
			node(policy, parents)
		} else if parent := g.byPolicy[anyPolicy]; parent != nil { // (d) (1) (ii)
			node(policy, []*policyNode{parent})
		}
	}
	if info.anyPolicy && withAny { // (d) (2)
		for _, n := range g.level {
			for _, policy := range n.expected {
				if !have[policy] {
					node(policy, g.byExpected[policy])
				}
			}
		}
	}
	g.setLevel(next)
}

// mapPolicies applies the mappings of a CA. allowed is policy_mapping > 0.
//
// RFC 9618, Section 5.3, replacing RFC 5280, Section 6.1.4 (b).
func (g *policyGraph) mapPolicies(mappings []policyMapping, allowed bool) {
	if g.isNull() || len(mappings) == 0 {
		return
	}
	mapped := make(map[oid.OID]bool)
	nodes := slices.Clone(g.level)
	fresh := make(map[oid.OID]bool) // those whose expected set has been begun
	for _, m := range mappings {
		mapped[m.issuer] = true
		if !allowed {
			continue
		}
		n := g.byPolicy[m.issuer]
		if n == nil { // (1), the second paragraph: a sibling of anyPolicy
			wild := g.byPolicy[anyPolicy]
			if wild == nil {
				continue
			}
			n = &policyNode{policy: m.issuer, parents: wild.parents}
			g.byPolicy[m.issuer] = n
			nodes = append(nodes, n)
		}
		if !fresh[m.issuer] {
			fresh[m.issuer], n.expected = true, nil
		}
		n.expected = append(n.expected, m.subject)
	}
	if !allowed { // (2)
		nodes = slices.DeleteFunc(nodes, func(n *policyNode) bool { return mapped[n.policy] })
	}
	g.setLevel(nodes)
}

// authorities returns the policies, as the trust anchor calls them, that the
// whole path is valid for: the authority-constrained-policy-set.
//
// RFC 9618, Section 5.4, replacing RFC 5280, Section 6.1.5 (g).
func (g *policyGraph) authorities() map[oid.OID]bool {
	out := make(map[oid.OID]bool)
	if g.byPolicy[anyPolicy] != nil {
		out[anyPolicy] = true
	}
	for todo := slices.Clone(g.level); len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n.walked || n.policy == anyPolicy {
			continue
		}
		n.walked = true
		for _, parent := range n.parents {
			if parent.policy == anyPolicy {
				out[n.policy] = true
				continue
			}
			todo = append(todo, parent)
		}
	}
	return out
}

// fits reports whether the path is valid for one of the policies that the
// caller wants; none means any.
func (g *policyGraph) fits(wanted []string) bool {
	if g.isNull() {
		return false
	}
	if len(wanted) == 0 || slices.Contains(wanted, string(anyPolicy)) {
		return true
	}
	have := g.authorities()
	return have[anyPolicy] || slices.ContainsFunc(wanted, func(p string) bool { return have[oid.OID(p)] })
}
