package smtpproxy

import (
	"context"
	"testing"

	"github.com/postseal/postseal/internal/mailtest"
)

// forgetful is an outgoing.Memory.
type forgetful struct{}

func (forgetful) CameEncrypted(context.Context, string, []string) (bool, error) { return false, nil }

// TestCopy misses no field.
func TestCopy(t *testing.T) {
	p := &Proxy{}
	mailtest.Fill(p, forgetful{})
	mailtest.Copied(t, p.Copy())
	server := mailtest.NewHost(t).Server
	p = &Proxy{TLS: server}
	q := p.Copy()
	if q.prepare(); q.toTLS == nil || q.problem != nil || q.toTLS != p.toTLS {
		t.Error("the keys of TLS sessions are not shared")
	}
	q = p.Copy()
	q.TLS = server.Clone()
	if q.prepare(); q.toTLS == nil || q.problem != nil || q.toTLS == p.toTLS {
		t.Error("the configuration of TLS is another's")
	}
}
