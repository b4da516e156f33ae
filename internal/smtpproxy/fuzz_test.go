package smtpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/mimeraw"
)

// states are what has been said before a fuzzed client goes on.
var states = []string{
	"",
	"EHLO client.test\r\n",
	"EHLO client.test\r\nAUTH LOGIN\r\n",
	"EHLO client.test\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
	"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\n",
	"EHLO client.test\r\nMAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<bob@example.org> NOTIFY=FAILURE\r\n",
	"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n",
	"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nBDAT 20\r\nFrom: a@b\r\nTo: c@d\r\n",
	"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n" + note + ".\r\n",
}

// pair returns the two ends of a connection, on a socket that leaves no ports
// behind.
type pair struct {
	l net.Listener
}

func newPair(t testing.TB) *pair {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &pair{l}
}

func (p *pair) connect(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial("unix", p.l.Addr().String())
	if err == nil {
		server, err = p.l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// FuzzClient drives the whole proxy from each state of a conversation. The policy
// requires encryption: whatever a client says, the upstream gets nothing that can
// be read, and nothing for anybody who cannot be encrypted to; replies are those
// of SMTP, and the connection ends.
func FuzzClient(f *testing.F) {
	for i := range states {
		f.Add(i, []byte("RSET\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"+note+".\r\nQUIT\r\n"))
		f.Add(i, []byte("x\r\n.\r\nBDAT 3 LAST\r\na\r\n\n.\nMAIL FROM:<\"a> b\"@x> SIZE=1\r\nRCPT TO:<dave@elsewhere.test>\r\n.\r\n"))
		f.Add(i, []byte("YWxpY2U=\r\nc2VjcmV0\r\n*\r\nEHLO y\r\nSTARTTLS\r\nNOOP\r\nVRFY x\r\nBDAT 4294967295\r\nx"))
		f.Add(i, []byte("EHLO a\r b\r\nHELO \r\r\r\nNOOP\r\r\n"))
		f.Add(i, []byte("x\nx\nx\nx\nBDAT 3 LAST\na\nMAIL FROM:<alice@example.org>\nRCPT TO:<bob@example.org>\nBDAT 1\n"))
		f.Add(i, []byte("Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nclear secret\r\n.\r\n"))
	}
	w := mailtest.NewWorld(f, "alice", "bob")
	up := mailtest.NewServer(f, nil)
	front := newPair(f)
	p := proxyOf(f, w, mailtest.Rules(f, requireAll()))
	p.rest = time.Microsecond // go-smtp goes where it may
	p.MaxMessage, p.Idle = 1<<20, 2*time.Second
	p.Connect = func(ctx context.Context) (net.Conn, bool, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", up.Addr)
		if err == nil {
			err = conn.(*net.TCPConn).SetLinger(0) // nor does this one leave any
		}
		return conn, false, err
	}
	p.Name = "proxy.test"
	f.Fuzz(func(t *testing.T, state int, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		before := len(up.Got())
		client, server := front.connect(t)
		var serving sync.WaitGroup
		serving.Go(func() { p.ServeConn(t.Context(), server) })
		var replies bytes.Buffer
		serving.Go(func() { _, _ = io.Copy(&replies, client) })
		_ = client.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(client, states[uint(state)%uint(len(states))])
		_, _ = client.Write(data)
		_ = client.(*net.UnixConn).CloseWrite()
		serving.Wait()
		_ = client.Close()
		for _, m := range up.Got()[before:] {
			body := bufio.NewReader(strings.NewReader(m.Data))
			header, err := mimeraw.ReadHeader(body, 0)
			if err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(body)
			clear := bytes.Contains(rest, []byte("noon")) || bytes.Contains(rest, []byte("clear secret"))
			for _, field := range header.Fields {
				clear = clear || field.Name() == "" // text that passes for a header
			}
			if value, _ := header.Get("Content-Type"); clear || !strings.Contains(value, "pkcs7-mime") && !strings.Contains(value, "multipart/encrypted") {
				t.Fatalf("sent in the clear:\n%s", m.Data)
			}
			for _, to := range m.To {
				if to != "bob@example.org" {
					t.Fatalf("sent to %s", to)
				}
			}
		}
		checkReplies(t, replies.String())
	})
}

// checkReplies finds lines that are no replies of SMTP.
func checkReplies(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		code, rest := 0, ""
		if len(line) > 4 {
			_, _ = fmt.Sscanf(line[:3], "%d", &code) // 0 is wrong
			rest = line[3:]
		}
		if code < 200 || code > 599 || rest[0] != ' ' && rest[0] != '-' || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") {
			t.Fatalf("no reply: %q in\n%s", line, text)
		}
	}
}

// FuzzUpstream has an upstream that says anything. A client is told that its
// message has been taken only when the upstream has said 2xx to it after it was
// sent, and it gets replies of SMTP.
func FuzzUpstream(f *testing.F) {
	good := "220 up.test ESMTP\r\n|250-up.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-DSN\r\n250 %s\r\n|250 2.1.0 ok\r\n|250 2.1.5 ok\r\n|354 go\r\n|250 2.0.0 taken\r\n|221 bye\r\n"
	f.Add([]byte(fmt.Sprintf(good, "SMTPUTF8")))
	f.Add([]byte(fmt.Sprintf(strings.Replace(good, "354 go\r\n|", "", 1), "CHUNKING")))
	f.Add([]byte("220 x\r\n|250 x\r\n|421 4.3.2 going\r\n"))
	f.Add([]byte("220-x\r\n220 y\r\n|250 x\r\n|250 a\r\n250 b\r\n|550-5.1.1 no\r\n550 5.1.1 really\xff\r\n"))
	f.Add([]byte("554 no\r\n"))
	f.Add([]byte("220 x\r\n|250-x\r\n250 AUTH PLAIN\r\n|235 2.7.0 in\r\n|250 \r\n|250\r\n|354-\r\n354 \r\n|451 4.0.0 later\r\n"))
	w := mailtest.NewWorld(f, "alice", "bob")
	front, back := newPair(f), newPair(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1<<14 {
			return
		}
		near, far := back.connect(t)
		client, server := front.connect(t)
		p := proxyOf(t, w, mailtest.Rules(t))
		p.Name, p.Idle = "proxy.test", 2*time.Second
		p.Connect = func(context.Context) (net.Conn, bool, error) { return near, false, nil }
		var running sync.WaitGroup
		running.Go(func() { p.ServeConn(t.Context(), server) })
		running.Go(func() {
			// What is between bars is said when something has been read.
			in := bufio.NewReader(far)
			for i, part := range bytes.Split(script, []byte("|")) {
				if i > 0 {
					_ = far.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // both may wait for the other
					if _, err := in.ReadString('\n'); err != nil {
						break
					}
					_, _ = in.Discard(in.Buffered())
				}
				if _, err := far.Write(part); err != nil {
					break
				}
			}
			_ = far.(*net.UnixConn).CloseWrite()
			_ = far.SetReadDeadline(time.Time{})
			_, _ = io.Copy(io.Discard, in)
			_ = far.Close()
		})
		var replies bytes.Buffer
		running.Go(func() { _, _ = io.Copy(&replies, client) })
		_ = client.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(client, "EHLO c\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"+note+".\r\nQUIT\r\n")
		_ = client.(*net.UnixConn).CloseWrite()
		running.Wait()
		_ = near.Close() // where nobody took it
		checkReplies(t, replies.String())
		_ = client.Close()
	})
}
