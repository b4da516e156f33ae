package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/tls"
)

// maxTalk bounds what a server says before the client does, in octets.
const maxTalk = 64 << 10

// introduce tells a server the address of the client, by XCLIENT or ID, where that
// is wanted. It reports whether the greeting has been read. An error closes the
// session.
func (d *Dialer) introduce(ctx context.Context, s *tls.Session, c *Client) (greeted bool, err error) {
	tell := d.listener.Upstream.ClientAddress
	if tell != config.TellXCLIENT && tell != config.TellID {
		return false, nil
	}
	defer func() {
		if err != nil {
			_ = s.Close() // it is of no use
		}
	}()
	if c == nil || !c.Addr.IsValid() {
		return false, ErrNoClient
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	br := bufio.NewReader(io.LimitReader(s.Conn, maxTalk))
	talk := &talk{s: s, tp: textproto.NewReader(br)}
	if tell == config.TellID {
		err = talk.id(c)
	} else {
		err = talk.xclient(c, d.Name)
	}
	if err == nil && br.Buffered() > 0 {
		err = ErrAnswer // nobody has asked for more
	}
	if err != nil {
		return false, err
	}
	return true, s.Conn.SetDeadline(time.Time{})
}

// A talk is the beginning of a conversation with a server.
type talk struct {
	s  *tls.Session
	tp *textproto.Reader
}

// ask sends a line.
func (t *talk) ask(format string, args ...any) error {
	if err := t.s.Conn.SetDeadline(time.Now().Add(connectTime)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.s.Conn, format+"\r\n", args...)
	return err
}

// xclient says XCLIENT (https://www.postfix.org/XCLIENT_README.html), after which
// the server greets anew.
func (t *talk) xclient(c *Client, name string) error {
	if t.s.Next == tls.NextGreeting {
		if err := t.s.Conn.SetDeadline(time.Now().Add(connectTime)); err != nil {
			return err
		}
		if _, _, err := t.tp.ReadResponse(220); err != nil {
			return err
		}
	}
	if err := t.ask("EHLO %s", name); err != nil {
		return err
	}
	_, text, err := t.tp.ReadResponse(250)
	if err != nil {
		return err
	}
	var known []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(strings.ToUpper(line)); len(words) > 1 && words[0] == "XCLIENT" {
			known = words[1:]
		}
	}
	if !slices.Contains(known, "ADDR") {
		return ErrNotTold
	}
	addr := c.Addr.Addr().WithZone("").String()
	if c.Addr.Addr().Is6() {
		addr = "IPV6:" + addr
	}
	line := "XCLIENT ADDR=" + addr
	if slices.Contains(known, "PORT") {
		line += fmt.Sprintf(" PORT=%d", c.Addr.Port())
	}
	if slices.Contains(known, "NAME") {
		line += " NAME=[UNAVAILABLE]"
	}
	if err = t.ask("%s", line); err != nil {
		return err
	}
	_, _, err = t.tp.ReadResponse(220)
	return err
}

// idTag is that of our command.
const idTag = "PSID"

// id says ID (RFC 2971) with the fields that Dovecot takes from hosts that it
// trusts; others pass over them.
func (t *talk) id(c *Client) error {
	if t.s.Next == tls.NextGreeting {
		if err := t.s.Conn.SetDeadline(time.Now().Add(connectTime)); err != nil {
			return err
		}
		line, err := t.tp.ReadLine()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(strings.ToUpper(line), "* OK") { // PREAUTH is a login that nobody here knows of
			return ErrAnswer
		}
	}
	fields := fmt.Sprintf(`"x-originating-ip" "%s" "x-originating-port" "%d"`, c.Addr.Addr().WithZone(""), c.Addr.Port())
	if c.Local.IsValid() {
		fields += fmt.Sprintf(` "x-connected-ip" "%s" "x-connected-port" "%d"`, c.Local.Addr().WithZone(""), c.Local.Port())
	}
	if err := t.ask("%s ID (%s)", idTag, fields); err != nil {
		return err
	}
	for {
		line, err := t.tp.ReadLine()
		if err != nil {
			return err
		}
		words := strings.Fields(strings.ToUpper(line))
		switch {
		case len(words) > 1 && words[0] == idTag && words[1] == "OK":
			return nil
		case len(words) > 0 && words[0] == idTag:
			return ErrNotTold
		case len(words) < 2 || words[0] != "*" || words[1] == "BYE" || words[1] == "PREAUTH":
			return ErrAnswer
		}
	}
}
