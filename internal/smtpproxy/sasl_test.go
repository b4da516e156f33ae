package smtpproxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postseal/postseal/internal/mailtest"
)

// scripted is an upstream that offers mechanisms, says what it is told to after
// AUTH, and notes the lines that it gets from there on.
type scripted struct {
	addr string

	mu    sync.Mutex
	lines []string
}

func newScripted(t testing.TB, mechanisms string, replies ...string) *scripted {
	t.Helper()
	l := mailtest.Listen(t)
	s := &scripted{addr: l.Addr().String()}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		in := bufio.NewReaderSize(conn, 32<<10)
		_, _ = fmt.Fprintf(conn, "220 up.test\r\n")
		_, _ = in.ReadString('\n')
		_, _ = fmt.Fprintf(conn, "250-up.test\r\n250 AUTH %s\r\n", mechanisms)
		for _, reply := range replies {
			line, readErr := in.ReadString('\n')
			if readErr != nil {
				return
			}
			s.mu.Lock()
			s.lines = append(s.lines, strings.TrimSuffix(line, "\r\n"))
			s.mu.Unlock()
			_, _ = io.WriteString(conn, reply+"\r\n")
		}
		_, _ = io.Copy(io.Discard, in)
	}()
	return s
}

func (s *scripted) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// TestMechanisms passes each mechanism on, octet for octet, and learns who it was.
func TestMechanisms(t *testing.T) {
	w := mailtest.NewWorld(t)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	token := strings.Repeat("t", 8000)
	long := b64("user=alice@example.org\x01auth=Bearer " + token + "\x01\x01")
	for _, tc := range []struct {
		name      string
		offered   string
		client    []string // the lines of the client
		codes     []int    // and the replies to them
		upstream  []string // what the upstream gets
		replies   []string // and says
		account   string
		challenge string // in the last 334 for the client
	}{
		{"SCRAM-SHA-256", "SCRAM-SHA-256 PLAIN", []string{"AUTH SCRAM-SHA-256 " + b64("n,,n=alice,r=abc"), b64("c=biws,r=abcdef,p=proof"), ""}, []int{334, 334, 235},
			[]string{"AUTH SCRAM-SHA-256 " + b64("n,,n=alice,r=abc"), b64("c=biws,r=abcdef,p=proof"), ""},
			[]string{"334 " + b64("r=abcdef,s=salt,i=4096"), "334 " + b64("v=verifier"), "235 2.7.0 in"}, "alice", b64("v=verifier")},
		{"CRAM-MD5", "CRAM-MD5", []string{"AUTH CRAM-MD5", b64("alice 0123456789abcdef")}, []int{334, 235},
			[]string{"AUTH CRAM-MD5", b64("alice 0123456789abcdef")}, []string{"334 " + b64("<1.2@up.test>"), "235 2.7.0 in"}, "alice", b64("<1.2@up.test>")},
		{"XOAUTH2", "XOAUTH2", []string{"AUTH XOAUTH2 " + b64("user=alice\x01auth=Bearer x\x01\x01")}, []int{235},
			[]string{"AUTH XOAUTH2 " + b64("user=alice\x01auth=Bearer x\x01\x01")}, []string{"235 2.7.0 in"}, "alice", ""},
		// RFC 4954, Section 4: what does not fit goes on a line of its own.
		{"XOAUTH2 with a long token", "XOAUTH2", []string{"AUTH XOAUTH2 " + long}, []int{235}, []string{"AUTH XOAUTH2", long}, []string{"334 ", "235 2.7.0 in"}, "alice@example.org", ""},
		{"XOAUTH2 with a long token, later", "XOAUTH2", []string{"AUTH XOAUTH2", long}, []int{334, 235}, []string{"AUTH XOAUTH2", long}, []string{"334 ", "235 2.7.0 in"}, "alice@example.org", ""},
		{"OAUTHBEARER refused", "OAUTHBEARER", []string{"AUTH OAUTHBEARER " + b64("n,a=alice,\x01auth=Bearer x\x01\x01"), b64("\x01")}, []int{334, 535},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=alice,\x01auth=Bearer x\x01\x01"), b64("\x01")}, []string{"334 " + b64(`{"status":"401"}`), "535 5.7.8 no"}, "", b64(`{"status":"401"}`)},
		{"an empty initial response", "PLAIN", []string{"AUTH PLAIN ="}, []int{501}, []string{"AUTH PLAIN ="}, []string{"501 5.5.2 what is that"}, "", ""},
	} {
		up := newScripted(t, tc.offered, tc.replies...)
		p := proxyOf(t, w, mailtest.Rules(t))
		var logins []string
		p.LoggedIn = func(account string, _ []byte) { logins = append(logins, account) }
		c := dial(t, serve(t, p, up.addr))
		if text := c.say("EHLO client.test", 250); !strings.Contains(text, "AUTH "+tc.offered+"\r\n") {
			t.Errorf("%s: %s", tc.name, text)
		}
		for i, line := range tc.client {
			text := c.say(line, tc.codes[i])
			if last := i+1 < len(tc.codes) && tc.codes[i+1] != 334; tc.codes[i] == 334 && last && text != "334 "+tc.challenge+"\r\n" {
				t.Errorf("%s: %q", tc.name, text)
			}
		}
		if got := up.got(); !slices.Equal(got, tc.upstream) {
			t.Errorf("%s: the upstream got %.100q", tc.name, got)
		}
		if tc.account == "" && len(logins) > 0 || tc.account != "" && !slices.Equal(logins, []string{tc.account}) {
			t.Errorf("%s: %q logged in", tc.name, logins)
		}
		_ = c.conn.Close()
	}
	// A server that binds channels takes SCRAM without that for an attack; what ends
	// at the connection is not offered.
	for offered, want := range map[string]string{
		"SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN": "AUTH PLAIN\r\n", "EXTERNAL GSSAPI LOGIN": "AUTH LOGIN\r\n", "scram-sha-1 plain": "AUTH SCRAM-SHA-1 PLAIN\r\n",
	} {
		up := newScripted(t, offered)
		c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.addr))
		if text := c.say("EHLO client.test", 250); !strings.Contains(text, want) {
			t.Errorf("%s: %s", offered, text)
		}
		_ = c.conn.Close()
	}
}

// elsewhere is a client that is not on this host.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// TestPlaintextLogin offers no login where others can listen.
func TestPlaintextLogin(t *testing.T) {
	w := mailtest.NewWorld(t)
	up := mailtest.NewServer(t, nil)
	p := proxyOf(t, w, mailtest.Rules(t))
	p.Connect = func(context.Context) (net.Conn, bool, error) {
		conn, err := net.Dial("tcp", up.Addr)
		return conn, false, err
	}
	c := dial(t, serveOn(t, p, away{mailtest.Listen(t)}))
	if text := c.say("EHLO client.test", 250); strings.Contains(text, "AUTH") {
		t.Errorf("%s", text)
	}
	c.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 504)
	if logins := up.Logins(); len(logins) > 0 {
		t.Errorf("%v", logins)
	}
}

// away accepts clients that seem to be elsewhere.
type away struct{ net.Listener }

func (a away) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return elsewhere{conn}, nil
}
