package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/postseal/postseal/internal/peers"
	"github.com/postseal/postseal/internal/testpki"
)

// A boxWorld is mailproxy and nginx, each in front of the same Dovecot. Clients
// come to both by STARTTLS; behind them, and without a proxy, is no TLS.
type boxWorld struct {
	*mailWorld // its data; nothing of what sends mail is started
	dovecot    *peers.Dovecot
	imap       string // address of mailproxy
	nginxIMAP  string
	sizes      map[boxSize]int
}

// newBoxWorld makes the mailboxes, and starts everything. close ends it, also after
// an error.
func newBoxWorld(ctx context.Context, o *options) (b *boxWorld, err error) {
	b = &boxWorld{mailWorld: &mailWorld{host: &host{}, o: o, people: make(map[string]*testpki.Person)}, sizes: make(map[boxSize]int)}
	if b.dir, err = os.MkdirTemp("", "bench-box-*"); err != nil {
		return b, err
	}
	b.Cleanup(func() { _ = os.RemoveAll(b.dir) }) // it is temporary
	return b, b.attempt(func() error { return b.start(ctx) })
}

// dovecotUsers lets everybody log in. Nothing is kept when the machine fails.
const dovecotUsers = `
disable_plaintext_auth = no
mail_fsync = never
passdb {
  driver = static
  args = password=` + mailSecret + `
}
`

func (b *boxWorld) start(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	server, err := b.identities(ctx)
	if err != nil {
		return err
	}
	b.dovecot = peers.StartDovecot(b, server.Cert, server.Key, dovecotUsers)
	if err = b.fill(); err != nil {
		return err
	}
	b.nginxIMAP = net.JoinHostPort(loopback, peers.FreePort(b))
	if err = b.nginxFor(server, []nginxServer{{"imap", b.nginxIMAP, b.dovecot.IMAP, ""}}); err != nil {
		return err
	}
	b.imap = net.JoinHostPort(loopback, peers.FreePort(b))
	text := b.proxyConfig(server, 1000, []proxyListener{{"imap", b.imap, b.dovecot.IMAP, unprotected, ""}}) + fmt.Sprintf("\n[imap]\nfacts = %q\n", b.file("facts"))
	if err = os.WriteFile(b.file("mailproxy.toml"), []byte(text), 0o600); err != nil {
		return err
	}
	b.startProxy()
	return waitFor(ctx, b.nginxIMAP)
}

// fill stores the messages.
func (b *boxWorld) fill() error {
	for _, login := range []string{loginP256, loginRSA} {
		c, err := dialIMAP(b.dovecot.IMAP, login, nil)
		if err != nil {
			return err
		}
		err = c.store(boxSealed, b.o.messages, func(i int) ([]byte, error) { return b.sealed(login, boxMessage(i)) })
		if err == nil && login == loginP256 {
			err = c.store(boxPlain, b.o.messages, func(i int) ([]byte, error) { return boxMessage(i), nil })
		}
		if c.close(); err != nil {
			return err
		}
	}
	return nil
}

// config is that of clients of a program; nil: no TLS.
func (b *boxWorld) config(program string) *tls.Config {
	if program == direct {
		return nil
	}
	return b.client
}

// startProxy starts mailproxy, or starts it again: it then knows what it has
// written down, and nothing else.
func (b *boxWorld) startProxy() {
	if b.proxy.Process != nil {
		b.proxy.Stop()
	}
	b.proxy.Process = peers.StartProcess(b, "mailproxy", b.program, "run", "--config", b.file("mailproxy.toml"))
	if err := waitFor(context.Background(), b.imap); err != nil {
		b.Fatalf("mailproxy: %v\n%s", err, b.proxy.Log())
	}
}

// forget has the proxy, which is started again, and Dovecot know nothing of a
// mailbox. UIDs and UIDVALIDITY stay.
func (b *boxWorld) forget(l *boxLook) error {
	b.proxy.Stop()
	for _, pattern := range []string{b.file("facts*"), filepath.Join(filepath.Dir(b.dovecot.Config), "mail", l.login, "Maildir", "."+l.box, "dovecot.index*")} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err = os.Remove(name); err != nil {
				return err
			}
		}
	}
	b.startProxy()
	return nil
}

// writeRows prints rows, and writes them to where they are wanted.
func writeRows(o *options, rows []*proxyRow, stdout io.Writer) error {
	heads := append([]string{"a second"}, proxyPrograms...)
	cpu := slices.ContainsFunc(rows, func(r *proxyRow) bool { return r.CPU[ours] > 0 })
	for i := 0; cpu && i < len(proxyPrograms); i++ {
		heads = append(heads, "CPU of "+proxyPrograms[i])
	}
	if cpu {
		heads = append(heads, "CPU of clients and server", "of what they leave")
	}
	lines := [][]string{append(heads, "goal")}
	for _, r := range rows {
		lines = append(lines, r.cells(cpu))
	}
	markdown(stdout, lines)
	return writeJSON(o, rows)
}

// writeJSON writes figures to where they are wanted.
func writeJSON(o *options, rows any) error {
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o666)
}
