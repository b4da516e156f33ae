package certs

import (
	cryptotls "crypto/tls"
	"strings"
	"time"
)

// A set is all that is served at one time. It does not change.
type set struct {
	entries []*entry
	byName  map[string][]*entry
}

func newSet(entries []*entry) *set {
	s := &set{entries: entries, byName: make(map[string][]*entry)}
	for _, e := range entries {
		for _, n := range e.names {
			s.byName[n] = append(s.byName[n], e)
		}
	}
	return s
}

// named returns the certificates for a name, the exact ones alone if there are
// any. RFC 9525, Section 6.3: a wildcard stands for one label, the first.
func (s *set) named(name string) []*entry {
	if found := s.byName[name]; len(found) > 0 {
		return found
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return s.byName["*."+parent]
	}
	return nil
}

// choose returns the certificate for a client, or nil: for a name that is not
// served if strict is set, or if there is no certificate.
func (s *set) choose(hello *cryptotls.ClientHelloInfo, strict bool, now time.Time) *cryptotls.Certificate {
	var found []*entry
	if hello.ServerName != "" {
		if found = s.named(normalName(hello.ServerName)); len(found) == 0 && strict {
			return nil
		}
	}
	if len(found) == 0 {
		found = s.entries
	}
	var best *entry
	bestRank := -1
	for _, e := range found {
		if rank := e.rank(hello, now); rank > bestRank {
			best, bestRank = e, rank
		}
	}
	if best == nil {
		return nil
	}
	return best.current(now)
}

// rank says how well a certificate is for a client. What the client cannot use is
// last: with it, the handshake fails in words that fit.
func (e *entry) rank(hello *cryptotls.ClientHelloInfo, now time.Time) int {
	rank := 0
	// The name has been looked at, and another one is better than none.
	nameless := *hello
	nameless.ServerName = ""
	if nameless.SupportsCertificate(&e.cert) == nil {
		rank += 8
	}
	if !now.After(e.cert.Leaf.NotAfter) {
		rank += 4
	}
	if !e.status.Load().revoked {
		rank += 2
	}
	if !e.mustStaple || e.hasStaple(now) {
		rank++
	}
	return rank
}
