package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

// What is asked for of each message of a mailbox.
const (
	askSizes  = "(RFC822.SIZE BODYSTRUCTURE)"
	askFlags  = "(FLAGS RFC822.SIZE BODYSTRUCTURE)"
	askList   = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
	askWhole  = "(BODY.PEEK[])"
	boxPlain  = "plain"
	boxSealed = "sealed"
)

// A boxLook is a way in which a mailbox is looked at.
type boxLook struct {
	name, login, box, ask string

	// first says that nobody has looked before: neither the mail server nor the
	// proxy remembers anything. after says that the proxy was started again since.
	first, after bool
	goal         string
}

var boxLooks = []boxLook{
	{name: "plain, sizes and structures, first", login: loginP256, box: boxPlain, ask: askSizes, first: true},
	{name: "plain, sizes and structures, again", login: loginP256, box: boxPlain, ask: askSizes},
	{name: "plain, as clients list, again", login: loginP256, box: boxPlain, ask: askList},
	{name: "plain, whole, first", login: loginP256, box: boxPlain, ask: askWhole, first: true},
	{name: "plain, whole, again", login: loginP256, box: boxPlain, ask: askWhole},
	{name: "encrypted, sizes and structures, first", login: loginP256, box: boxSealed, ask: askSizes, first: true},
	{name: "encrypted, sizes and structures, again", login: loginP256, box: boxSealed, ask: askSizes, goal: "80 % of no proxy"},
	{name: "encrypted, with flags, again", login: loginP256, box: boxSealed, ask: askFlags, goal: "80 % of no proxy"},
	{name: "encrypted, as clients list, again", login: loginP256, box: boxSealed, ask: askList, goal: "80 % of no proxy"},
	{name: "encrypted, as clients list, proxy restarted", login: loginP256, box: boxSealed, ask: askList, after: true},
	{name: "encrypted, whole, first", login: loginP256, box: boxSealed, ask: askWhole, first: true},
	{name: "encrypted, whole, again", login: loginP256, box: boxSealed, ask: askWhole},
	{name: "encrypted for RSA-2048, sizes and structures, first", login: loginRSA, box: boxSealed, ask: askSizes, first: true},
	{name: "encrypted for RSA-2048, whole, again", login: loginRSA, box: boxSealed, ask: askWhole},
}

// boxMessage returns a message of a mailbox; every second one has parts.
func boxMessage(n int) []byte {
	text := smallMail(smallSize - 1000)
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	if n%2 == 0 {
		return fmt.Appendf(nil, "X-Number: %d\r\n%s\r\n\r\nThis is message %d.\r\n%s", n, head, n, body)
	}
	head = bytes.ReplaceAll(head, []byte("\r\nContent-Transfer-Encoding: 7bit"), nil)
	head = bytes.ReplaceAll(head, []byte("\r\nContent-Type: text/plain; charset=us-ascii"), nil)
	return fmt.Appendf(nil, "X-Number: %d\r\n%s\r\nContent-Type: multipart/mixed; boundary=parts\r\n\r\n--parts\r\nContent-Type: text/plain\r\n\r\nThis is message %d.\r\n"+
		"--parts\r\nContent-Type: text/x-log; name=\"a.log\"\r\nContent-Disposition: attachment; filename=\"a.log\"\r\n\r\n%s\r\n--parts--\r\n", n, head, n, body)
}

// sealed encrypts a message for somebody.
func (b *boxWorld) sealed(login string, message []byte) ([]byte, error) {
	var out bytes.Buffer
	err := pour(message)(smime.Encrypt(&out, []cms.Recipient{cms.NewRecipient(b.people[login].Cert)}, nil))
	return out.Bytes(), err
}

// benchMailboxes measures mailproxy, nginx's mail proxy and no proxy, in turn, in
// front of Dovecot.
func benchMailboxes(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	b, err := newBoxWorld(ctx, o)
	defer b.close()
	var rows []*proxyRow
	if err == nil {
		err = b.attempt(func() error {
			rows, err = b.rows(ctx, stderr)
			return err
		})
	}
	if err != nil {
		return err
	}
	return writeRows(o, rows, stdout)
}

func (b *boxWorld) rows(ctx context.Context, stderr io.Writer) (rows []*proxyRow, err error) {
	for i := range boxLooks {
		l := &boxLooks[i]
		if !b.o.rows.MatchString(l.name) {
			continue
		}
		f := map[string]func() (float64, error){
			ours:    func() (float64, error) { return b.fetchRate(l, ours, b.imap) },
			ofNginx: func() (float64, error) { return b.fetchRate(l, ofNginx, b.nginxIMAP) },
			direct:  func() (float64, error) { return b.fetchRate(l, direct, b.dovecot.IMAP) },
		}
		if l.box == boxSealed && (l.first || l.ask == askWhole) {
			if f[ofKeys], err = b.openKeys(l.login); err != nil {
				return nil, err
			}
		}
		row, rowErr := b.proxyRow(ctx, l.name, l.goal, rated(f))
		if rowErr != nil {
			return nil, rowErr
		}
		rows = append(rows, row)
		fmt.Fprintln(stderr, strings.Join(row.cells(false), "; "))
	}
	return rows, nil
}

// openKeys returns the rate of the operations with a key that opening needs, on all
// cores.
func (b *boxWorld) openKeys(login string) (func() (float64, error), error) {
	_, decrypt, err := secretJobs(b.people[login], boxMessage(0))
	return func() (float64, error) { return repeat(b.o.small, runtime.NumCPU(), decrypt.key) }, err
}

// fetchRate returns how many messages a second a client gets that looks at a
// mailbox as l says.
func (b *boxWorld) fetchRate(l *boxLook, program, address string) (float64, error) {
	if l.first {
		if err := b.forget(l); err != nil {
			return 0, err
		}
	} else if l.after && program == ours {
		b.startProxy()
	}
	c, err := dialIMAP(address, l.login, b.config(program))
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err = c.ok("SELECT " + l.box); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	if !l.first && !l.after {
		if err = c.fetch(l.ask, &out); err != nil {
			return 0, err
		}
	}
	rounds := 0
	begun := time.Now()
	for ; rounds == 0 || !l.first && !l.after && time.Since(begun) < b.o.small; rounds++ {
		out.Reset()
		if err = c.fetch(l.ask, &out); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	if err = b.check(l, program, out.Bytes()); err != nil {
		return 0, fmt.Errorf("what %s shows: %w", program, err)
	}
	return float64(rounds*b.o.messages) / took.Seconds(), nil
}

// check looks whether what came is what was stored, in the clear where Postseal
// shows it: each message once.
func (b *boxWorld) check(l *boxLook, program string, out []byte) error {
	opened := l.box == boxPlain || program == ours
	seen := 0
	for response, literal := range responses(out) {
		var seq int
		if _, err := fmt.Sscanf(response, "* %d FETCH (", &seq); err != nil || seq < 1 || seq > b.o.messages {
			return fmt.Errorf("%.100q is no answer", response)
		}
		seen++
		if l.ask == askWhole {
			_, body, _ := bytes.Cut(boxMessage(seq), []byte("\r\n\r\n"))
			if opened != bytes.HasSuffix(literal, body) {
				return fmt.Errorf("message %d is not what was stored: %.200q", seq, literal)
			}
			if program == ours {
				b.setSize(l, seq, len(literal))
			}
			continue
		}
		if size := b.size(l, seq); program == ours && size > 0 && !strings.Contains(response, fmt.Sprintf("RFC822.SIZE %d ", size)) {
			return fmt.Errorf("message %d has %d octets: %.200q", seq, size, response)
		}
		if parts := strings.Contains(response, `"MIXED"`) || strings.Contains(response, `"mixed"`); parts != (opened && seq%2 == 1) {
			return fmt.Errorf("message %d has another structure: %.500q", seq, response)
		}
	}
	if seen != b.o.messages {
		return fmt.Errorf("%d messages", seen)
	}
	return nil
}

type boxSize struct {
	login, box string
	seq        int
}

// setSize notes how big a message is that was seen whole.
func (b *boxWorld) setSize(l *boxLook, seq, size int) { b.sizes[boxSize{l.login, l.box, seq}] = size }

func (b *boxWorld) size(l *boxLook, seq int) int { return b.sizes[boxSize{l.login, l.box, seq}] }
