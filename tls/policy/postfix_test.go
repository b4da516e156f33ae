package policy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postseal/postseal/internal/peers"
)

// TestLikePostfix has Postfix's own client judge the same domains and servers, by the
// same DNS: whether DANE vouches for the server, and whether there is a server to
// connect to at all.
func TestLikePostfix(t *testing.T) {
	finger := peers.NeedProgram(t, "postfix", "posttls-finger")
	if os.Getuid() != 0 {
		t.Skip("a resolver of its own takes root")
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespace of mounts: %v: %s", err, out)
	}
	z := &zone{port53: true}
	scenes := daneScenes(t)
	set(t, z, scenes)
	r := z.start(t)
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "nameserver %v\noptions edns0 trust-ad timeout:2\n", z.resolver.Addr()), 0o644); err != nil {
		t.Fatal(err)
	}
	var verified, refused atomic.Int32
	for i := range scenes {
		s := &scenes[i]
		if s.target.MX == "" {
			continue // Postfix has DANE for mail alone
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf,
				finger, "-c", "-l", "dane", "-t", "5", "-T", "5", fmt.Sprintf("%s:%d", s.target.MX, s.target.Port))
			out, _ := cmd.CombinedOutput() // the exit code says little
			text := string(out)
			if !strings.Contains(text, "posttls-finger: ") && s.cert != nil { // of a server without STARTTLS it says nothing
				t.Fatalf("posttls-finger has not run: %v, %s", cmd.ProcessState, text)
			}
			theirs := strings.Contains(text, "Verified TLS connection established")
			away := !strings.Contains(text, "TLS connection established") && (strings.Contains(text, "lookup failed") || strings.Contains(text, "TLSA lookup error") || strings.Contains(text, "does not accept mail"))
			s.policy = "dane opportunistic"
			c, err := s.dial(t, r, nil)
			ours := err == nil && c.Verdict.TLSA != nil
			if err == nil {
				_ = c.Close()
			}
			// Where the MX records are not secure, Postfix says "Trusted" in its place, as it
			// does with a certificate that PKIX vouches for, which here there is none of.
			theirs = theirs || strings.Contains(text, "Trusted TLS connection established")
			t.Log(ours, err, "\n", text)
			if ours != theirs {
				t.Errorf("here DANE vouches for the server: %v, at Postfix: %v", ours, theirs)
			}
			if nobody := reasonOf(err) == Bogus || reasonOf(err) == NoSuchHost; err != nil && nobody != away || err == nil && away {
				t.Errorf("here: %v", err)
			}
			if theirs {
				verified.Add(1)
			}
			if away {
				refused.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		t.Logf("%d verified, %d without a server", verified.Load(), refused.Load())
		if verified.Load() < 10 || refused.Load() < 5 {
			t.Error("too few of a kind")
		}
	})
}
