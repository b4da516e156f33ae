package imapproxy

import (
	"testing"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/mailtest"
)

// TestCopy misses no field.
func TestCopy(t *testing.T) {
	p := &Proxy{}
	mailtest.Fill(p, facts.NewMemory())
	mailtest.Copied(t, p.Copy())
	if q := p.Copy().Copy(); q.base != p {
		t.Error("the cache of a copy's copy is another one")
	}
}
