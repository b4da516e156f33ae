package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/cmd/mailproxy/internal/origdst"
	"github.com/postseal/postseal/cmd/mailproxy/internal/upstream"
	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls"
)

const checkLong = `
Reads the configuration, opens the stores of the accounts, tries their keys, loads
certificates, and connects to the mail servers as mailproxy run would; it looks at
where mailproxy milter would listen. It tells what works, and what does not and why.
It does not listen, and does not log in.
`

func newCheck(a *app) *cobra.Command {
	var file string
	cmd := a.newCommand("check --config FILE", "Try everything that a configuration names", checkLong, func() error {
		ctx, cancel := interrupted()
		defer cancel()
		return a.check(ctx, file)
	})
	configFlag(cmd, &file)
	return cmd
}

// checkTime bounds one conversation with a mail server.
const checkTime = 30 * time.Second

// A checker tells and counts.
type checker struct {
	a      *app
	failed int
	of     int
}

// result tells the outcome of one check.
func (c *checker) result(what, good string, err error) {
	c.of++
	if err == nil {
		c.a.tell("%s %s: %s", c.a.paint(c.a.stdout, green, "ok    "), what, printable(good))
		return
	}
	c.failed++
	e := explain(err)
	c.a.tell("%s %s: %s", c.a.paint(c.a.stdout, red, "failed"), what, e.message)
	for _, h := range e.hints {
		c.a.tell("       %s", c.a.paint(c.a.stdout, yellow, h))
	}
}

func (a *app) check(ctx context.Context, file string) error {
	conf, err := config.Read(file)
	if err != nil {
		return err
	}
	c := &checker{a: a}
	c.result("configuration", fmt.Sprintf("%s, with %s, %s and %s", file, many(len(conf.Listeners), "listener"), many(len(conf.Accounts), "account"), many(len(conf.Rules), "rule")), nil)
	c.accounts(ctx, conf)
	for i := range conf.Listeners {
		c.listener(ctx, conf, &conf.Listeners[i])
	}
	c.milter(&conf.Milter)
	if c.failed > 0 {
		return &checkError{c.failed, c.of}
	}
	return nil
}

// many returns a number of things.
func many(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func (c *checker) accounts(ctx context.Context, conf *config.Config) {
	set, err := account.Open(ctx, conf)
	if err != nil {
		c.result("accounts", "", err)
		return
	}
	defer func() { _ = set.Close() }() // nothing was written
	defer c.sources(ctx, set)
	problems := make(map[string]error)
	for _, p := range set.Check(ctx) {
		problems[p.Login+" "+p.Address] = p
	}
	for _, one := range conf.Accounts {
		if one.Unlock == config.UnlockLogin {
			c.result("account "+one.Login, "its keys are unlocked by the password of each login, which is not known here", nil)
			continue
		}
		for _, address := range one.Addresses {
			c.result("account "+one.Login, "can sign as "+address, problems[one.Login+" "+address])
		}
	}
}

// sources asks the sources of certificates.
func (c *checker) sources(ctx context.Context, set *account.Set) {
	for _, s := range set.Sources(ctx) {
		c.result("certificates from "+s.Name, "it answers", s.Err)
	}
}

func (c *checker) listener(ctx context.Context, conf *config.Config, l *config.Listener) {
	what := fmt.Sprintf("%s at %s", l.Protocol, l.Address)
	c.identity(what, conf, l)
	if l.Transparent != "" {
		c.result(what, fmt.Sprintf("takes connections that %s leads here, to %s, ports %s", strings.ToUpper(l.Transparent), list(l.Destinations), list(l.Ports)), c.transparent(l))
	}
	d, err := newDialer(conf, l, sync.OnceValues(func() (dane.Resolver, error) { return conf.Resolver() }))
	if err != nil {
		c.result(what, "", err)
		return
	}
	switch l.Upstream.Find {
	case config.FindDestination:
		return // nobody is on the way yet
	case config.FindLogin:
		for i := range conf.Domains {
			places, findErr := d.OfDomain(ctx, &conf.Domains[i])
			c.places(ctx, d, "mail server of "+conf.Domains[i].Name, places, findErr)
		}
		return
	}
	places, err := d.Find(ctx, nil, "")
	c.places(ctx, d, "mail server", places, err)
}

// identity looks at what a listener shows its clients.
func (c *checker) identity(what string, conf *config.Config, l *config.Listener) {
	made := l.SelfMade + l.Authority // one of both
	_, statErr := os.Stat(made)
	switch {
	case l.Mode == tls.InsecurePlaintext:
		c.result(what, "without TLS: anybody on the way can read passwords and mail", nil)
		return
	case made != "" && errors.Is(statErr, fs.ErrNotExist):
		c.result(what, made+" is made when the proxy starts", nil)
		return
	}
	id, err := newIdentity(l, conf.Server.Name, slog.New(slog.DiscardHandler))
	good := ""
	switch {
	case err != nil:
	case id.issuer != nil:
		leaf := id.issuer.authority
		good = fmt.Sprintf("%s, with certificates of the authority %q, which ends %s: clients have to trust it", l.Mode, leaf.Subject.CommonName, leaf.NotAfter.Format(time.DateOnly))
	default:
		for _, s := range id.manager.Status() {
			good = fmt.Sprintf("%s, with a certificate for %s until %s", l.Mode, strings.Join(s.Names, ", "), s.NotAfter.Format(time.DateOnly))
		}
		id.close()
	}
	c.result(what, good, err)
}

// milter looks at where mail servers will ask the filter.
func (c *checker) milter(m *config.Milter) {
	if m.Address == "" {
		return
	}
	whose := "seals the mail of those who have logged in"
	if len(m.Trusted) > 0 {
		whose += ", and of " + list(m.Trusted)
	}
	network, address := "tcp", m.Address
	if name, ok := strings.CutPrefix(m.Address, config.Unix); ok {
		network, address = "unix", name
		whose += "; only its own user and group reach it"
	} else if host, err := netip.ParseAddrPort(address); err != nil || !host.Addr().IsLoopback() {
		whose += "; whoever reaches it can have mail signed, so only the mail server may"
	}
	if conn, err := net.DialTimeout(network, address, checkTime); err == nil {
		_ = conn.Close() // nothing was said
		whose += "; somebody listens there already"
	}
	c.result("milter at "+m.Address, whose, socketPlace(m.Address))
}

// socketPlace tells why a socket in the file system cannot be made.
func socketPlace(address string) error {
	name, ok := strings.CutPrefix(address, config.Unix)
	if !ok {
		return nil
	}
	if info, err := os.Lstat(name); err == nil && info.Mode().Type() != fs.ModeSocket {
		return &listenError{address, errors.New("there is something else than a socket")}
	}
	info, err := os.Stat(filepath.Dir(name))
	switch {
	case err != nil:
		return &listenError{address, err}
	case !info.IsDir():
		return &listenError{address, fmt.Errorf("%s is no folder", filepath.Dir(name))}
	}
	return nil
}

// transparent tries whether sockets of a kind can be had.
func (c *checker) transparent(l *config.Listener) error {
	if l.Transparent != config.TProxy {
		return nil
	}
	socket, err := origdst.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return &listenError{l.Address, err}
	}
	return socket.Close()
}

// list tells things with commas between them.
func list[T any](things []T) string {
	words := make([]string, len(things))
	for i, t := range things {
		words[i] = fmt.Sprint(t)
	}
	return strings.Join(words, ", ")
}

// places connects to mail servers.
func (c *checker) places(ctx context.Context, d *upstream.Dialer, what string, places []upstream.Place, err error) {
	if err != nil {
		c.result(what, "", err)
		return
	}
	for _, p := range places {
		good, talkErr := converse(ctx, d, p)
		c.result(what+" "+p.String(), good, talkErr)
	}
}

// converse says hello to a mail server, and returns what is to be told of it.
func converse(ctx context.Context, d *upstream.Dialer, p upstream.Place) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	s, err := d.Session(ctx, p, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }() // the conversation is over
	if err = s.Conn.SetDeadline(time.Now().Add(checkTime)); err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	about := "no TLS: anybody on the way can read passwords and mail"
	if s.Encrypted() {
		about = s.Describe().String() + ", by " + s.Verdict.Rule.String()
	}
	tp := textproto.NewReader(bufio.NewReader(io.LimitReader(s.Conn, maxHello)))
	var says string
	if s.Protocol == tls.IMAP {
		says, err = helloIMAP(s.Session, tp)
	} else {
		says, err = helloSMTP(s.Session, tp, d)
	}
	return about + "; " + says, err
}

// maxHello bounds what a server says to hello, in octets.
const maxHello = 64 << 10

func helloSMTP(s *tls.Session, tp *textproto.Reader, d *upstream.Dialer) (string, error) {
	if s.Next == tls.NextGreeting {
		if _, _, err := tp.ReadResponse(220); err != nil {
			return "", err
		}
	}
	if _, err := fmt.Fprintf(s.Conn, "EHLO %s\r\n", d.Name); err != nil {
		return "", err
	}
	_, text, err := tp.ReadResponse(250)
	if err != nil {
		return "", err
	}
	if d.Tells() == config.TellXCLIENT && !strings.Contains(strings.ToUpper(text), "\nXCLIENT ") {
		return "", upstream.ErrNotTold
	}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && strings.EqualFold(words[0], "AUTH") {
			return "it lets people log in by " + strings.Join(words[1:], ", "), nil
		}
	}
	return "it lets nobody log in", nil
}

// A greetingError says that an IMAP server does not want to talk.
type greetingError struct{ line string }

func (e *greetingError) Error() string { return "the server answers " + e.line }

func helloIMAP(s *tls.Session, tp *textproto.Reader) (string, error) {
	if s.Next == tls.NextGreeting {
		line, err := tp.ReadLine()
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(strings.ToUpper(line), "* OK") {
			return "", &greetingError{shorten(line, 200)}
		}
	}
	if _, err := io.WriteString(s.Conn, "c CAPABILITY\r\n"); err != nil {
		return "", err
	}
	says := "it tells no capabilities"
	for {
		line, err := tp.ReadLine()
		if err != nil {
			return "", err
		}
		words := strings.Fields(strings.ToUpper(line))
		switch {
		case len(words) > 2 && words[0] == "*" && words[1] == "CAPABILITY":
			says = fmt.Sprintf("it speaks %s, with %d extensions", words[2], len(words)-3)
		case len(words) > 1 && words[0] == "C" && words[1] == "OK":
			return says, nil
		case len(words) > 1 && (words[0] == "C" || words[1] == "BYE"):
			return "", &greetingError{shorten(line, 200)}
		}
	}
}
