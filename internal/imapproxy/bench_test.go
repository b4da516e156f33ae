package imapproxy

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/render"
)

// BenchmarkSecondFetch asks for sizes and structures of 1,000 encrypted messages,
// which have been looked at before, of Dovecot itself and through the proxy.
func BenchmarkSecondFetch(b *testing.B) {
	w := newWorld(b)
	upstream := startDovecot(b)
	db, err := facts.Open(b.Context(), filepath.Join(b.TempDir(), "facts"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	proxied := serve(b, &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }, Facts: db}, upstream)
	direct := login(b, upstream, "")
	m := w.encrypt(b, noteMessage, w.alice)
	for range 1000 {
		direct.add("INBOX", m)
	}
	for _, place := range []struct{ name, addr string }{{"Dovecot", upstream}, {"proxy", proxied}} {
		for _, items := range []string{"(RFC822.SIZE BODYSTRUCTURE)", "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)", "(RFC822.SIZE)"} {
			b.Run(place.name+"/"+strings.ReplaceAll(items, " ", "_"), func(b *testing.B) {
				c := login(b, place.addr, "INBOX")
				c.ok("FETCH 1:* " + items)
				for b.Loop() {
					if n := len(c.ok("FETCH 1:* " + items)); n != 1000 {
						b.Fatal(n)
					}
				}
			})
		}
	}
}
