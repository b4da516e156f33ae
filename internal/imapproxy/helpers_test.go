package imapproxy

import (
	"bufio"
	"context"
	"crypto"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/smime"
)

// world is everybody's keys.
type world struct {
	ca                *testpki.CA
	alice, bob, carol *testpki.Person
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := testpki.NewCA("Test")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ca: ca}
	for name, dst := range map[string]**testpki.Person{"alice": &w.alice, "bob": &w.bob, "carol": &w.carol} {
		if *dst, err = ca.Issue(testpki.Profile{Name: name, Email: name + "@example.org", Key: testpki.P256}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// options are those of Alice, who reads.
func (w *world) options() *render.Options {
	return &render.Options{Service: "proxy.test", Read: smime.ReadOptions{
		Trust: cms.TrustRoots(w.ca.Cert), Identities: []cms.Identity{cms.NewIdentity(w.alice.Cert, w.alice.Key)}}}
}

func (w *world) sign(t testing.TB, message string, opaque bool) string {
	return mailtest.Protect(t, message, func(dst io.Writer) (io.WriteCloser, error) {
		return smime.Sign(dst, []cms.Signer{cms.NewSigner(w.bob.Cert, w.bob.Key.(crypto.Signer))}, &smime.SignOptions{Opaque: opaque})
	})
}

func (w *world) encrypt(t testing.TB, message string, to *testpki.Person) string {
	return mailtest.Protect(t, message, func(dst io.Writer) (io.WriteCloser, error) {
		return smime.Encrypt(dst, []cms.Recipient{cms.NewRecipient(to.Cert)}, nil)
	})
}

// Messages to protect.
var (
	noteMessage = crlf("From: \"Bob \\\"B\\\" Builder\" <bob@example.org>\nTo: alice@example.org, Zo=?utf-8?q?=C3=AB?= <zoe@example.org>\nCc: x@example.org\n" +
		"Subject: Lunch =?utf-8?q?=C3=BC?=\nDate: Fri, 02 Jan 2026 10:00:00 +0000\nMessage-ID: <1@example.org>\nIn-Reply-To: <0@example.org>\nMIME-Version: 1.0\n\nat noon\n.\nend\n")
	mixedMessage = crlf("From: bob@example.org\nTo: alice@example.org\nSubject: (parts) \"and\" \\more\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b 1\"\n\n" +
		"preamble\n--b 1\nContent-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: text/plain; charset=utf-8; format=flowed\nContent-Transfer-Encoding: quoted-printable\n\nna=C3=AFve=20\n" +
		"--b2\nContent-Type: text/html\nContent-Language: en, de\nContent-Location: http://example.org/\n\n<p>hi</p>\n--b2--\n\n" +
		"--b 1\nContent-Type: application/octet-stream; name=\"a b.bin\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"a b.bin\"; size=3\nContent-ID: <c@x>\nContent-Description: three octets\n\nAAEC\n" +
		"--b 1\nContent-Type: message/rfc822\n\nFrom: carol@example.org\nSubject: inner\nContent-Type: multipart/mixed; boundary=b3\n\n--b3\n\none\n--b3\n\ntwo\n--b3--\n\n--b 1--\nepilogue\n")
	emptyMessage = crlf("From: bob@example.org\nSubject:\n\n")
)

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// A client speaks IMAP.
type client struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
	n    int
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return clientOn(t, conn)
}

// clientOn speaks IMAP on a connection, and closes it in the end.
func clientOn(t testing.TB, conn net.Conn) *client {
	t.Helper()
	c := &client{t: t, conn: conn, br: bufio.NewReader(conn)}
	t.Cleanup(func() { _ = conn.Close() })
	if line := c.response(); !strings.HasPrefix(line, "* OK") {
		t.Fatalf("greeting %q", line)
	}
	return c
}

// response reads a response with its literals.
func (c *client) response() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	var out strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return out.String() + "ERROR " + err.Error()
		}
		out.WriteString(line)
		l, ok := literalAt([]byte(line))
		if !ok {
			return out.String()
		}
		if _, err = io.CopyN(&out, c.br, l.size); err != nil {
			return out.String() + "ERROR " + err.Error()
		}
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// do carries out a command, and returns the untagged responses and the
// completion without its tag. Literals after {n} in the parts that follow are
// sent when the server wants them.
func (c *client) do(command string, literals ...string) ([]string, string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	c.send(tag + " " + command + "\r\n")
	var untagged []string
	for {
		line := c.response()
		switch {
		case strings.HasPrefix(line, "+"):
			if len(literals) == 0 {
				c.t.Fatalf("%s: %q", command, line)
			}
			c.send(literals[0])
			literals = literals[1:]
		case strings.HasPrefix(line, tag+" "):
			return untagged, strings.TrimSpace(strings.TrimPrefix(line, tag+" "))
		case strings.Contains(line, "ERROR "):
			return untagged, line
		default:
			untagged = append(untagged, line)
		}
	}
}

// ok is do where the completion has to be OK.
func (c *client) ok(command string, literals ...string) []string {
	c.t.Helper()
	untagged, status := c.do(command, literals...)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s: %s", command, status)
	}
	return untagged
}

func (c *client) add(mailbox, message string) {
	c.t.Helper()
	c.ok(fmt.Sprintf("APPEND %s {%d}", mailbox, len(message)), message+"\r\n")
}

// one returns the one response to FETCH of a command.
func (c *client) one(command string) string {
	c.t.Helper()
	var found []string
	for _, line := range c.ok(command) {
		if strings.Contains(strings.SplitN(line, "(", 2)[0], " FETCH ") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		c.t.Fatalf("%s: %q", command, found)
	}
	return found[0]
}

// literalOf returns the one literal of a response.
func literalOf(t testing.TB, response string) string {
	t.Helper()
	line, rest, ok := strings.Cut(response, "\n")
	l, isLiteral := literalAt([]byte(line + "\n"))
	if !ok || !isLiteral || int64(len(rest)) < l.size {
		t.Fatalf("no literal in %q", response)
	}
	return rest[:l.size]
}

// serve starts a proxy and returns its address.
func serve(t testing.TB, p *Proxy, upstream string) string {
	t.Helper()
	return serveWith(t, p, upstream, func(conn net.Conn) (net.Conn, error) { return conn, nil })
}

// serveWith is serve with something between the client and the proxy.
func serveWith(t testing.TB, p *Proxy, upstream string, wrap func(net.Conn) (net.Conn, error)) string {
	t.Helper()
	p.Name = "proxy.test"
	if p.Connect == nil {
		p.Connect = func(context.Context) (net.Conn, bool, error) {
			conn, err := net.Dial("tcp", upstream)
			return conn, false, err
		}
	}
	return mailtest.Serve(t, mailtest.Listen(t), func(ctx context.Context, conn net.Conn) {
		over, err := wrap(conn)
		if err != nil {
			_ = conn.Close()
			return
		}
		p.ServeConn(ctx, over)
	})
}

func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return lines
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
