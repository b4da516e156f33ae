package main

import (
	"bufio"
	"bytes"
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

const demoLong = `
Starts a mail server in memory, an authority, Alice and Bob, and the proxy in front
of the server, sends a message from Alice to Bob through it, and shows what the
server holds and what Bob sees.

It then stays, so that you can point a mail client of your own at it, until
Ctrl-C; --once ends it. Nothing of it is left.
`

func newDemo(a *app) *cobra.Command {
	var once bool
	cmd := a.newCommand("demo [--once]", "Show the proxy at work, with everything built in", demoLong, func() error {
		ctx, cancel := interrupted()
		defer cancel()
		return a.demo(ctx, once)
	})
	cmd.Flags().BoolVar(&once, "once", false, "end after the show")
	return cmd
}

// demoTime bounds the show.
const demoTime = time.Minute

// demoMessage is what Alice writes.
const demoMessage = `From: Alice <alice@demo.example>
To: Bob <bob@demo.example>
Subject: Lunch on Friday
Message-ID: <lunch@demo.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Dear Bob, shall we meet at noon? The soup costs 5 €.
`

var errNoMessage = errors.New("the mailbox does not have the message that was sent")

func (a *app) demo(ctx context.Context, once bool) (err error) {
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err = w.start(ctx, slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		return err
	}
	if err = a.show(ctx, w); err != nil || once {
		return err
	}
	a.demoPlaces(w)
	<-ctx.Done()
	return nil
}

// show sends and shows a message.
func (a *app) show(ctx context.Context, w *world) error {
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	a.headline("Alice sends a message through the proxy, by SMTP with STARTTLS. Her client knows nothing of S/MIME.")
	message := strings.Replace(demoMessage, "Message-ID:", "Date: "+time.Now().Format(time.RFC1123Z)+"\nMessage-ID:", 1)
	if err := a.excerpt([]byte(message), demoBodyLines, "From", "To", "Subject"); err != nil {
		return err
	}
	if err := w.send(ctx, w.address(config.SMTP), message); err != nil {
		return err
	}
	a.headline("This is what the mail server holds.")
	held, err := w.fetch(ctx, w.server.imapAddress.String(), w.upstream, 1)
	if err != nil {
		return err
	}
	if err = a.excerpt(held, demoBodyLines, "From", "To", "Subject", "Content-Type"); err != nil {
		return err
	}
	a.headline("This is what Bob's client gets through the proxy, by IMAP with STARTTLS: opened, and verified.")
	seen, err := w.fetch(ctx, w.address(config.IMAP4), w.client, 1)
	if err != nil {
		return err
	}
	return a.excerpt(seen, demoBodyLines, "Authentication-Results", "X-Postseal-Status", "X-Postseal-Signer", "X-Postseal-Encryption", "X-Postseal-Problem",
		"From", "To", "Subject")
}

// demoBodyLines is how many lines of a body are shown.
const demoBodyLines = 3

func (a *app) headline(text string) { a.tell("%s\n", a.paint(a.stdout, bold, text)) }

// excerpt shows some fields and the first lines of a message.
func (a *app) excerpt(message []byte, lines int, names ...string) error {
	br := bufio.NewReader(bytes.NewReader(bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))))
	h, err := textproto.ReadHeader(br)
	if err != nil {
		return err
	}
	for _, name := range names {
		if value := h.Get(name); value != "" {
			a.tell("    %s %s", a.paint(a.stdout, dim, name+":"), shorten(printable(value), 100-len(name)))
		}
	}
	a.tell("")
	if strings.EqualFold(h.Get("Content-Transfer-Encoding"), "quoted-printable") { // as clients do
		br = bufio.NewReader(quotedprintable.NewReader(br))
	}
	size := 0
	for n := 0; ; n++ {
		line, readErr := br.ReadString('\n')
		if n < lines && line != "" {
			a.tell("    %s", printable(strings.TrimRight(line, "\r\n")))
		} else {
			size += len(line)
		}
		if readErr != nil {
			break
		}
	}
	if size > 0 {
		a.tell("    %s", a.paint(a.stdout, dim, fmt.Sprintf("(and %d octets more)", size)))
	}
	a.tell("")
	return nil
}

// shorten cuts a line for people.
func shorten(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// demoPlaces tells where everything is.
func (a *app) demoPlaces(w *world) {
	a.headline("Point a mail client of your own at the proxy. It is to use STARTTLS, and will ask about the certificate: it is the proxy's own.")
	for _, line := range [][2]string{{"Outgoing (SMTP)", config.SMTP}, {"Incoming (IMAP)", config.IMAP4}} {
		host, port, _ := net.SplitHostPort(w.address(line[1])) // it is one
		a.tell("    %s   server %s, port %s", line[0], host, port)
	}
	for _, address := range []string{demoAlice, demoBob} {
		a.tell("    User name %-18s   password %s", address, w.passwords[address])
	}
	a.tell("")
	a.headline("Or look at Bob's mail from another terminal: through the proxy, and as the mail server behind it has it.")
	for _, line := range [][2]string{{"proxy.pem", w.address(config.IMAP4)}, {"server.pem", w.server.imapAddress.String()}} {
		a.tell("    curl --ssl-reqd --cacert %s --user %s:%s 'imap://%s/INBOX;MAILINDEX=1'", w.file(line[0]), demoBob, w.passwords[demoBob], line[1])
	}
	a.tell("\nCtrl-C ends it, and removes all of it.")
}

// send sends a message as Alice's client does.
func (w *world) send(ctx context.Context, address, message string) error {
	return w.sendFrom(ctx, address, strings.NewReader(strings.ReplaceAll(message, "\n", "\r\n")))
}

func (w *world) sendFrom(ctx context.Context, address string, message io.Reader) (err error) {
	conn, err := dialClient(ctx, address)
	if err != nil {
		return err
	}
	c, err := smtp.NewClientStartTLS(conn, w.client)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err = c.Auth(sasl.NewPlainClient("", demoAlice, w.passwords[demoAlice])); err != nil {
		return err
	}
	return c.SendMail(demoAlice, []string{demoBob}, message)
}

// dialClient connects, for as long as ctx lasts.
func dialClient(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	return conn, err
}

// login opens Bob's mailbox as his client does.
func (w *world) login(ctx context.Context, address string, config *cryptotls.Config) (*imapclient.Client, error) {
	conn, err := dialClient(ctx, address)
	if err != nil {
		return nil, err
	}
	c, err := imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: config})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err = c.Login(demoBob, w.passwords[demoBob]).Wait(); err == nil {
		_, err = c.Select("INBOX", nil).Wait()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// fetch reads one of Bob's messages; the first is 1.
func (w *world) fetch(ctx context.Context, address string, config *cryptotls.Config, n uint32) ([]byte, error) {
	c, err := w.login(ctx, address, config)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // after LOGOUT it has been closed from the other side
	section := &imap.FetchItemBodySection{Peek: true}
	list, err := c.Fetch(imap.SeqSetNum(n), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, errNoMessage
	}
	return list[0].FindBodySection(section), c.Logout().Wait()
}
