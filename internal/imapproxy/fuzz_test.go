package imapproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stage is a point in a conversation: what was said before by both sides.
type stage struct {
	name string
	// said are lines of the client and what the server answers.
	said [][2]string
}

var stages = []stage{
	{"before login", nil},
	{"in an exchange", [][2]string{{"a AUTHENTICATE PLAIN", "+ "}}},
	{"logged in", [][2]string{{"a LOGIN alice secret", "a OK in"}}},
	{"selected", [][2]string{{"a LOGIN alice secret", "a OK in"}, {"b SELECT INBOX", "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\nb OK [READ-WRITE] done"}}},
	{"idle", [][2]string{{"a LOGIN alice secret", "a OK in"}, {"b SELECT INBOX", "* OK [UIDVALIDITY 7] v\r\nb OK done"}, {"c IDLE", "+ idling"}}},
	{"in FETCH", [][2]string{{"a LOGIN alice secret", "a OK in"}, {"b SELECT INBOX", "* OK [UIDVALIDITY 7] v\r\nb OK done"}, {"c FETCH 1:3 (FLAGS BODY[])", ""}}},
	{"in UID FETCH", [][2]string{{"a LOGIN alice secret", "a OK in"}, {"b SELECT INBOX", "* OK [UIDVALIDITY 7] v\r\nb OK done"}, {"c UID FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)", ""}}},
	{"in APPEND", [][2]string{{"a LOGIN alice secret", "a OK in"}, {"b APPEND Drafts {20}", ""}}},
}

// FuzzProxy has the proxy between a client and a server that say anything, in each
// state of a connection. It ends when they do, and the client gets whole responses
// to its own commands.
func FuzzProxy(f *testing.F) {
	w := newWorld(f)
	message := w.encrypt(f, noteMessage, w.alice)
	fetchOne := "* 1 FETCH (UID 1)\r\nPS1 OK\r\n* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] \"Content-Type: application/pkcs7-mime\")\r\nPS2 OK\r\n" +
		fmt.Sprintf("* 1 FETCH (UID 1 INTERNALDATE \"01-Jan-2026 00:00:00 +0000\" BODY[] {%d}\r\n%s)\r\nPS3 OK\r\nPS4 OK\r\n", len(message), message)
	for i := range stages {
		for _, said := range [][2]string{
			{"x NOOP\r\n", "x OK done\r\n"},
			{"y FETCH 1 BODY[]\r\nDONE\r\n", strings.Replace(fetchOne, "(UID 1)", "(UID 1 FLAGS (\\Seen))", 1)},
			{"", fetchOne},
			{"From: alice@example\r\nx\r\n", "* LIST (\\Drafts) \"/\" Drafts\r\nPS2 OK\r\n+ go\r\nb OK [APPENDUID 1 1] done\r\n"},
			{"z LOGIN {5+}\r\nalice {6+}\r\nsecret\r\nz ENABLE X\r\n", "* CAPABILITY IMAP4rev1 X\r\nz OK [CAPABILITY Y] done\r\n* VANISHED 1\r\n* BYE\r\n"},
			{"DONE\r\nq UID FETCH 1 BINARY[1]<0.5>\r\n", "c OK\r\n* 1 EXPUNGE\r\n+ x\r\n* 1 FETCH (((((\r\n"},
		} {
			f.Add(uint8(i), []byte(said[0]), []byte(said[1]))
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, client, server []byte) {
		converse(t, w, stages[int(at)%len(stages)], client, server)
	})
}

// converse has a conversation to the end.
func converse(t *testing.T, w *world, st stage, fromClient, fromServer []byte) {
	client, proxyClient := net.Pipe()
	server, proxyServer := net.Pipe()
	p := w.proxy()
	p.Name = "proxy.test"
	p.Append = func(string, string, string) *Keeping {
		return &Keeping{Encrypt: true, Self: "alice@example.org", Keys: &aliceKeys{w: w}}
	}
	p.Connect = func(context.Context) (net.Conn, bool, error) { return proxyServer, false, nil }
	var wg sync.WaitGroup
	wg.Go(func() { p.ServeConn(t.Context(), proxyClient) })
	deadline := time.Now().Add(20 * time.Second)
	_, _ = client.SetDeadline(deadline), server.SetDeadline(deadline)
	wg.Go(func() { // the server
		defer func() { _ = server.Close() }()
		_, _ = io.WriteString(server, "* OK [CAPABILITY IMAP4rev1 SPECIAL-USE] hi\r\n")
		br := bufio.NewReader(server)
		for _, said := range st.said {
			if _, err := br.ReadString('\n'); err != nil {
				return
			}
			if said[1] != "" {
				_, _ = io.WriteString(server, said[1]+"\r\n")
			}
		}
		wg.Go(func() { _, _ = io.Copy(io.Discard, br) })
		_, _ = server.Write(fromServer)
		time.Sleep(time.Millisecond) // for what the proxy says to it
	})
	var got strings.Builder
	wg.Go(func() { // the client
		br := bufio.NewReader(io.TeeReader(client, &got))
		_, _ = br.ReadString('\n')
		for _, said := range st.said {
			_, _ = io.WriteString(client, said[0]+"\r\n")
			tag, _, _ := strings.Cut(said[1][strings.LastIndexByte(said[1], '\n')+1:], " ")
			for tag != "" {
				line, err := br.ReadString('\n')
				if err != nil || strings.HasPrefix(line, tag) {
					break
				}
			}
		}
		wg.Go(func() { _, _ = client.Write(fromClient) })
		_, _ = io.Copy(io.Discard, br)
		_ = client.Close()
	})
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		_, _ = client.Close(), server.Close()
		t.Fatalf("%s: the connection does not end", st.name)
	}
	for line := range strings.SplitSeq(got.String(), "\n") {
		if strings.HasPrefix(line, "PS") && strings.Contains(line, "OK") && !strings.Contains(string(fromClient)+string(fromServer), "PS") {
			t.Errorf("%s: the client sees an answer to our own command: %q", st.name, line)
		}
	}
}
