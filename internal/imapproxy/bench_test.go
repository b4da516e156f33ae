package imapproxy

import (
	"bytes"
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
	for mailbox, text := range map[string]string{"single": noteMessage, "parts": mixedMessage} {
		m := w.encrypt(b, text, w.alice)
		direct.ok("CREATE " + mailbox)
		for range 1000 {
			direct.add(mailbox, m)
		}
	}
	for _, place := range []struct{ name, addr string }{{"Dovecot", upstream}, {"proxy", proxied}} {
		for _, mailbox := range []string{"single", "parts"} {
			for _, items := range []string{"(RFC822.SIZE BODYSTRUCTURE)", "(FLAGS RFC822.SIZE BODYSTRUCTURE)", "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)", "(RFC822.SIZE)"} {
				b.Run(place.name+"/"+mailbox+"/"+strings.ReplaceAll(items, " ", "_"), func(b *testing.B) {
					c := login(b, place.addr, mailbox)
					c.ok("FETCH 1:* " + items)
					for b.Loop() {
						c.send("x FETCH 1:* " + items + "\r\n")
						if n := c.lines("x OK"); n < 1000 {
							b.Fatal(n)
						}
					}
				})
			}
		}
	}
}

// lines reads up to a line with a beginning, and counts those before.
func (c *client) lines(end string) (n int) {
	for ; ; n++ {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if bytes.HasPrefix(line, []byte(end)) {
			return n
		}
	}
}

// BenchmarkWholeFetch asks for 200 encrypted messages of 10 KiB, as a whole.
func BenchmarkWholeFetch(b *testing.B) {
	w := newWorld(b)
	upstream := startDovecot(b)
	direct := login(b, upstream, "")
	m := w.encrypt(b, mixedMessage[:len(mixedMessage)-1]+strings.Repeat("a line of a message of the usual size\r\n", 250), w.alice)
	for range 200 {
		direct.add("INBOX", m)
	}
	proxied := serve(b, &Proxy{Open: func(string) (*render.Options, error) { return w.options(), nil }, Facts: facts.NewMemory()}, upstream)
	c := login(b, proxied, "INBOX")
	c.ok("FETCH 1:* (RFC822.SIZE)")
	for b.Loop() {
		if n := len(c.ok("FETCH 1:* (BODY.PEEK[])")); n != 200 {
			b.Fatal(n)
		}
	}
}
