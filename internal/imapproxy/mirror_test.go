package imapproxy

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/tls"
)

// mailboxSize is how many messages are mirrored: those of POSTSEAL_MAILBOX, or few.
func mailboxSize(t testing.TB) int {
	t.Helper()
	text := os.Getenv("POSTSEAL_MAILBOX")
	if text == "" {
		return 32
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// mixed makes messages of all kinds: plain, signed, encrypted, both, broken and
// nested.
func (w *world) mixed(t testing.TB, n int) []string {
	t.Helper()
	nested := func(kind, inner string) string {
		return crlf("From: list@example.org\nTo: alice@example.org\nSubject: nested\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: "+kind+"\n\n") +
			inner + crlf("\n--outer\n\n-- \nfooter\n--outer--\n")
	}
	big := crlf("From: bob@example.org\nTo: alice@example.org\nSubject: big\nMIME-Version: 1.0\n\n" + strings.Repeat("a line of a message that is big\n", 4000))
	kinds := []func(m string) string{
		func(m string) string { return m },
		func(m string) string { return w.sign(t, m, false) },
		func(m string) string { return w.sign(t, m, true) },
		func(m string) string { return w.encrypt(t, m, w.alice) },
		func(m string) string { return w.encrypt(t, w.sign(t, m, false), w.alice) },
		func(m string) string { return w.sign(t, w.encrypt(t, w.sign(t, m, true), w.alice), false) },
		func(m string) string { return w.encrypt(t, m, w.carol) },
		func(m string) string { return strings.Replace(w.sign(t, m, false), "e", "3", 3) },
		func(m string) string { m = w.encrypt(t, m, w.alice); return m[:len(m)*2/3] + "\r\n" },
		func(m string) string { return strings.Replace(w.sign(t, m, true), "MII", "MIJ", 1) },
		func(m string) string { return nested("message/rfc822", w.encrypt(t, m, w.alice)) },
		func(m string) string { return nested("text/plain", "x") + w.sign(t, m, false) },
		func(m string) string { return w.encrypt(t, nested("message/rfc822", w.sign(t, m, false)), w.alice) },
		func(m string) string {
			return "X-Postseal-Status: signed/verified\r\nAuthentication-Results: proxy.test; smime=pass\r\n" + m
		},
		func(string) string { return w.encrypt(t, big, w.alice) },
		func(m string) string { return "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n" + m },
	}
	out := make([]string, n)
	for i := range out {
		m := []string{noteMessage, mixedMessage}[i/len(kinds)%2]
		out[i] = kinds[i%len(kinds)](strings.Replace(m, "Subject:", fmt.Sprintf("X-Number: %d\r\nSubject:", i), 1))
	}
	return out
}

// store stores messages.
func store(t testing.TB, upstream, mailbox string, messages []string) {
	t.Helper()
	c := login(t, upstream, "")
	for i, m := range messages {
		c.ok(fmt.Sprintf("APPEND %s (\\Seen) \"%s\" {%d}", mailbox, time.Now().Add(-time.Duration(i)*time.Minute).UTC().Format("02-Jan-2006 15:04:05 +0000"), len(m)), m+"\r\n")
	}
}

// A place is where a proxy is, with TLS.
type place struct {
	startTLS, implicit string // addresses
	ca                 string // a file
}

// protected serves a proxy with both forms of TLS, before a Dovecot with both.
func (w *world) protected(t testing.TB, store facts.Store, more string) (p place, dovecot *peers.Dovecot) {
	t.Helper()
	host := mailtest.NewHost(t)
	p.ca = host.CA
	dovecot = peers.StartDovecot(t, host.Cert, host.Key, "disable_plaintext_auth = no\n"+more)
	for mode, upstream := range map[tls.Mode]string{tls.StartTLS: dovecot.IMAP, tls.Implicit: dovecot.IMAPS} {
		proxy := w.proxy()
		proxy.Facts, proxy.Server = store, "dovecot"
		proxy.Connect = func(ctx context.Context) (net.Conn, bool, error) {
			s, dialErr := tls.Dial(ctx, "tcp", upstream, &tls.ClientConfig{Protocol: tls.IMAP, Mode: mode, TLS: host.Client})
			if dialErr != nil {
				return nil, false, dialErr
			}
			return s.Conn, s.Next != tls.NextGreeting, nil
		}
		// Clients come by the form that the proxy does not use itself.
		if mode == tls.Implicit {
			proxy.TLS, proxy.RequireTLS = host.Server, true
			p.startTLS = serve(t, proxy, "")
		} else {
			p.implicit = serveTLS(t, proxy, host.Server)
		}
	}
	return p, dovecot
}

// run runs a program, in an empty home.
func run(t testing.TB, debian string, args ...string) string {
	t.Helper()
	args[0] = peers.NeedProgram(t, debian, args[0])
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm", "FETCHMAILHOME=" + cmd.Dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

func write(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// split returns where an address is, by the name that certificates have.
func split(t testing.TB, addr string) (host, port string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return "localhost", port
}

// messagesIn returns the messages of Maildirs in a folder by their X-Number, or
// their order where they have none, with LF as line end; and what tells whether
// files were written again.
func messagesIn(t testing.TB, dir string) (contents []string, files map[string]time.Time) {
	t.Helper()
	files = make(map[string]time.Time)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		base := filepath.Base(filepath.Dir(name))
		if err != nil || d.IsDir() || base != "cur" && base != "new" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[name] = info.ModTime()
		contents = append(contents, unix(string(readFile(t, name))))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sorted(contents), files
}

// unix returns a message with LF as line end, and without what mirrors add.
func unix(m string) string {
	m = strings.ReplaceAll(m, "\r\n", "\n")
	head, body, _ := strings.Cut(m, "\n\n")
	lines := slices.DeleteFunc(strings.Split(head, "\n"), func(l string) bool {
		return strings.HasPrefix(l, "X-TUID: ") || strings.HasPrefix(l, "X-OfflineIMAP: ")
	})
	return strings.Join(lines, "\n") + "\n\n" + body
}

// bodies returns all messages of a mailbox, as IMAP has them, and checks their
// sizes.
func bodies(t testing.TB, c *client) []string {
	t.Helper()
	var out []string
	for _, line := range c.ok("UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])") {
		if !strings.Contains(strings.SplitN(line, "(", 2)[0], " FETCH ") {
			continue
		}
		body := literalOf(t, line)
		if !strings.Contains(strings.SplitN(line, "\n", 2)[0], fmt.Sprintf("RFC822.SIZE %d ", len(body))) {
			t.Errorf("%.100q has %d octets", line, len(body))
		}
		out = append(out, unix(body))
	}
	return sorted(out)
}

// A mirror is a program that copies mailboxes to Maildirs.
type mirror struct {
	name     string
	run      func(t testing.TB, dir string) string
	complain []string // what it says when sizes are wrong, or messages come again
}

func mirrors(p place, user string) []mirror {
	return []mirror{
		{"mbsync", func(t testing.TB, dir string) string {
			host, port := split(t, p.startTLS)
			if err := os.MkdirAll(filepath.Join(dir, "mail"), 0o700); err != nil {
				t.Fatal(err)
			}
			return run(t, "isync", "mbsync", "-V", "-c", write(t, fmt.Sprintf("IMAPAccount a\nHost %s\nPort %s\nUser %s\nPass secret\nSSLType STARTTLS\nSystemCertificates no\nCertificateFile %s\n\n"+
				"IMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/mail/\nInbox %[5]s/mail/INBOX\nSubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\n",
				host, port, user, p.ca, dir)), "c")
		}, []string{"size", "Warning", "Error"}},
		{"offlineimap", func(t testing.TB, dir string) string {
			host, port := split(t, p.implicit)
			return run(t, "offlineimap3", "offlineimap", "-1", "-u", "basic", "-o", "-c", write(t, fmt.Sprintf("[general]\naccounts = a\nmetadata = %s/state\nfsync = False\n[Account a]\nlocalrepository = l\nremoterepository = r\n"+
				"[Repository l]\ntype = Maildir\nlocalfolders = %[1]s/mail\n[Repository r]\ntype = IMAP\nremotehost = %s\nremoteport = %s\nremoteuser = %s\nremotepass = secret\nssl = yes\nsslcacertfile = %s\n",
				dir, host, port, user, p.ca)))
		}, []string{"ERROR", "size", "Warning"}},
	}
}

// TestMirrorMixed mirrors a mailbox of all kinds of messages, twice. Everything
// comes as IMAP shows it, in the size that it has there, and nothing comes again.
func TestMirrorMixed(t *testing.T) {
	w := newWorld(t)
	db, err := facts.Open(t.Context(), filepath.Join(t.TempDir(), "facts"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	t.Run("with", func(t *testing.T) {
		p, dovecot := w.protected(t, db, "")
		messages := w.mixed(t, mailboxSize(t))
		store(t, dovecot.IMAP, "INBOX", messages)
		want := bodies(t, loginTLS(t, p, "INBOX"))
		if len(want) != len(messages) {
			t.Fatalf("%d of %d messages", len(want), len(messages))
		}
		for _, m := range mirrors(p, "alice") {
			t.Run(m.name, func(t *testing.T) {
				dir := t.TempDir()
				first := m.run(t, dir)
				got, files := messagesIn(t, dir)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%d messages, which are not the %d that IMAP shows\n%s", len(got), len(want), first)
				}
				second := m.run(t, dir)
				if _, again := messagesIn(t, dir); !maps.Equal(files, again) {
					t.Errorf("messages came again:\n%s", second)
				}
				for _, text := range []string{first, second} {
					for _, bad := range m.complain {
						if strings.Contains(text, bad) {
							t.Errorf("it speaks of %q:\n%s", bad, text)
						}
					}
				}
			})
		}
	})
}

// TestMirrorPlain mirrors mailboxes without S/MIME through the proxy and without:
// they are the same octet for octet.
func TestMirrorPlain(t *testing.T) {
	w := newWorld(t)
	p, dovecot := w.protected(t, facts.NewMemory(), "")
	var messages []string
	for i := range mailboxSize(t) {
		m := []string{noteMessage, mixedMessage, emptyMessage, "no header\n\nbare line ends\n", "From: x\r\n\r\n8 bit: \xff\xfe\r\n", crlf("Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x\n\n--x\n\nVersion: 1\n--x--\n")}[i%6]
		messages = append(messages, fmt.Sprintf("X-Number: %d\r\n", i)+m)
	}
	direct := login(t, dovecot.IMAP, "")
	direct.ok("CREATE Other")
	direct.ok("CREATE Other.Deep")
	store(t, dovecot.IMAP, "INBOX", messages[:len(messages)/2])
	store(t, dovecot.IMAP, "Other.Deep", messages[len(messages)/2:])
	without := place{startTLS: dovecot.IMAP, implicit: dovecot.IMAPS, ca: p.ca}
	for i, m := range mirrors(p, "alice") {
		t.Run(m.name, func(t *testing.T) {
			through, past := t.TempDir(), t.TempDir()
			m.run(t, through)
			mirrors(without, "alice")[i].run(t, past)
			a, b := tree(t, through), tree(t, past)
			if len(a) < len(messages) || len(a) != len(b) {
				t.Fatalf("%d and %d files", len(a), len(b))
			}
			for j := range a {
				if a[j] != b[j] {
					t.Fatalf("%q\n%q", a[j], b[j])
				}
			}
		})
	}
}

// added is what mbsync writes into messages, which differs each time.
var added = regexp.MustCompile("X-TUID: [^\n]*\n")

// tree returns the content of the messages in a folder, by their folder, as they are.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		base := filepath.Base(filepath.Dir(name))
		if err != nil || d.IsDir() || base != "cur" && base != "new" {
			return err
		}
		rel, err := filepath.Rel(dir, filepath.Dir(name))
		if err == nil {
			_, flags, _ := strings.Cut(d.Name(), ":")
			out = append(out, rel+" "+flags+"\n"+added.ReplaceAllString(string(readFile(t, name)), ""))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sorted(out)
}
