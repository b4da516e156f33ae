package relay_test

import (
	"testing"

	"github.com/postseal/postseal/tls/relay"
)

// TestKinds relays between all kinds of connections, both ways at once.
func TestKinds(t *testing.T) {
	const size = 3<<20 + 17
	for _, a := range []kind{plain, client12, server12, client13, server13} {
		for _, b := range []kind{plain, client12, server13} {
			t.Run(a.name+"/"+b.name, func(t *testing.T) {
				nearA, farA := pair(t, a)
				nearB, farB := pair(t, b)
				done := start(t, t.Context(), nearA, nearB, nil)
				exchange(t, farA, farB, size)
				o := wait(t, done)
				if o.err != nil {
					t.Error(o.err)
				}
				for _, f := range []relay.Flow{o.AToB, o.BToA} {
					if f.Bytes != size || f.Err != nil || f.Truncated || f.Duration <= 0 || f.Duration > o.Duration {
						t.Errorf("flow %+v of %v", f, o.Duration)
					}
				}
				if o.First == relay.Neither {
					t.Error("no side ended first")
				}
			})
		}
	}
}
