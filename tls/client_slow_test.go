package tls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

// drip sends a text again and again, one octet at a time, until it cannot.
func drip(text string) step {
	return func(a *actor) error {
		for range 1 << 12 {
			for i := range len(text) {
				if _, err := io.WriteString(a.out, text[i:i+1]); err != nil {
					return nil
				}
				time.Sleep(2 * time.Millisecond)
			}
		}
		return errors.New("the drip was let in")
	}
}

// TestClientDrip has a server that always has something more to say, and never comes
// to an end: the time is for all of it.
func TestClientDrip(t *testing.T) {
	for _, l := range leads {
		t.Run(l.proto.String(), func(t *testing.T) {
			t.Parallel()
			cfg := startTLS(t, l.proto)
			cfg.Timeout = 150 * time.Millisecond
			// What is never long enough for a limit, nor wrong.
			more := map[Protocol]string{SMTP: "220-wait\r\n", LMTP: "220-wait\r\n", IMAP: "* OK wait\r\n", POP3: "+OK ", ManageSieve: "\"X\" \"wait\"\r\n", LDAP: "\x30", XMPP: " "}[l.proto]
			steps := []step{drip(more)}
			if l.proto == LDAP {
				steps = []step{want(ldapRequest), send("\x30\x82\x3f\x00"), drip("\x02")}
			}
			if l.proto == IMAP { // where many lines may come
				steps = []step{send(l.greeting), want(l.ask), drip(more)}
			}
			start := time.Now()
			_, err := meet(t, cfg, &actor{}, steps...)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	}
}

// TestClientHalfClosed has the server say, after the upgrade, that it will say no
// more: what the client has to say still arrives.
func TestClientHalfClosed(t *testing.T) {
	for _, l := range leads {
		t.Run(l.proto.String(), func(t *testing.T) {
			end := func(a *actor) error {
				c, ok := a.out.(interface{ CloseWrite() error })
				if !ok {
					return errors.New("not TLS")
				}
				return c.CloseWrite()
			}
			s, err := meet(t, startTLS(t, l.proto), &actor{}, append(l.steps(), send(l.ready), shake, want("one\r\n"), end, want("two\r\n"))...)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err = io.WriteString(s.Conn, "one\r\n"); err != nil {
				t.Fatal(err)
			}
			if n, readErr := s.Conn.Read(make([]byte, 1)); n != 0 || !errors.Is(readErr, io.EOF) {
				t.Errorf("%d octets, %v", n, readErr)
			}
			if _, err = io.WriteString(s.Conn, "two\r\n"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestClientOpportunisticTricks has the opportunistic mode fall for nothing but what
// it is for: a server that says that it has no TLS.
func TestClientOpportunisticTricks(t *testing.T) {
	imap := leads[slices.IndexFunc(leads, func(l lead) bool { return l.proto == IMAP })]
	smtp := leads[slices.IndexFunc(leads, func(l lead) bool { return l.proto == SMTP })]
	for i, c := range []struct {
		proto Protocol
		err   error
		steps []step
	}{
		{IMAP, ErrPreauth, []step{send("* PREAUTH welcome back\r\n")}},
		{IMAP, ErrPreauth, []step{send(imap.greeting), want(imap.ask), send("* PREAUTH x\r\n" + imap.bare)}},
		{IMAP, ErrPreauth, append(imap.steps(), send("* PREAUTH x\r\na2 NO not now\r\n"))},
		{IMAP, ErrRefused, []step{send("* BYE [REFERRAL imap://evil.example/] elsewhere\r\n")}},
		{IMAP, ErrLiteral, append(imap.steps(), send("* OK {13}\r\na2 NO begin\r\n"))},
		{IMAP, ErrSyntax, append(imap.steps(), send("a1 NO begin\r\n"))},
		{SMTP, ErrRefused, []step{send("554 no\r\n")}},
		{SMTP, ErrRefused, append(smtp.steps(), send("421 bye\r\n"))},
		{SMTP, ErrSyntax, append(smtp.steps(), send("454-no\r\n220 yes\r\n"))},
		{POP3, ErrSyntax, []step{send("+OK\r\n"), want("CAPA\r\n"), send("NO\r\n")}},
		{ManageSieve, ErrRefused, []step{send("\"IMPLEMENTATION\" \"x\"\r\nBYE (REFERRAL \"sieve://evil.example\")\r\n")}},
	} {
		t.Run(fmt.Sprint(c.proto, i), func(t *testing.T) {
			cfg := startTLS(t, c.proto)
			cfg.Mode = OpportunisticStartTLS
			if _, err := meet(t, cfg, &actor{}, append(c.steps, drained)...); !errors.Is(err, c.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
