package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A proxyRow is one figure of the proxies, by the program that it is of; more is
// better.
type proxyRow struct {
	Name  string             `json:"name"`
	Rates map[string]float64 `json:"rates"`  // medians, a second
	Ratio map[string]float64 `json:"ratios"` // of Postseal to it: the median of those of each round
	Goal  string             `json:"goal"`
}

// The programs that are compared.
const (
	ours    = "Postseal"
	ofNginx = "nginx"
	direct  = "no proxy"
	ofKeys  = "the keys alone"
)

var proxyPrograms = []string{ours, ofNginx, direct, ofKeys}

func (r *proxyRow) cells() []string {
	out := []string{r.Name}
	for _, p := range proxyPrograms {
		cell := "-"
		if rate, ok := r.Rates[p]; ok {
			cell = fmt.Sprintf("%.0f", rate)
			if ratio, there := r.Ratio[p]; there {
				cell += fmt.Sprintf(" (%.0f %%)", 100*ratio)
			}
		}
		out = append(out, cell)
	}
	return append(out, r.Goal)
}

// benchProxies measures mailproxy, nginx's mail proxy and no proxy, in turn.
func benchProxies(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	w, err := newMailWorld(ctx, o)
	defer w.close()
	var rows []*proxyRow
	if err == nil {
		err = w.attempt(func() error {
			rows, err = w.proxyRows(ctx, stderr)
			return err
		})
	}
	if err != nil {
		return err
	}
	lines := [][]string{append(append([]string{"a second"}, proxyPrograms...), "goal")}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	markdown(stdout, lines)
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o666)
}

// proxyRows measures all rows.
func (w *mailWorld) proxyRows(ctx context.Context, stderr io.Writer) ([]*proxyRow, error) {
	mail := string(smallMail(smallSize)) + ".\r\n"
	var rows []*proxyRow
	add := func(name, goal string, f map[string]func() (float64, error)) error {
		if !w.o.rows.MatchString(name) {
			return nil
		}
		r, err := w.proxyRow(ctx, name, goal, f)
		if err == nil {
			rows = append(rows, r)
			fmt.Fprintln(stderr, strings.Join(r.cells(), "; "))
		}
		return err
	}
	for _, kept := range []bool{true, false} {
		name := map[bool]string{true: "passed on, connections kept", false: "passed on, a connection each"}[kept]
		rate := func(address string, secure bool) func() (float64, error) {
			return func() (float64, error) { return w.sendRate(address, loginPlain, mail, kept, secure) }
		}
		if err := add(name, "90 % of nginx", map[string]func() (float64, error){
			ours: rate(w.proxy.smtp, true), ofNginx: rate(w.nginx, true), direct: rate(w.sink, false)}); err != nil {
			return nil, err
		}
	}
	for _, login := range []string{loginP256, loginRSA} {
		keys, err := w.keys(login, []byte(mail))
		own := strings.ReplaceAll(mail, "alice@example.test", login+mailDomain)
		if err != nil {
			return nil, err
		}
		if err = add("signed and encrypted, "+login, "80 % of the keys alone", map[string]func() (float64, error){
			ours:   func() (float64, error) { return w.sealedRate(login, own) },
			ofKeys: keys}); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// proxyRow measures one row in rounds, in each every program once.
func (w *mailWorld) proxyRow(ctx context.Context, name, goal string, f map[string]func() (float64, error)) (*proxyRow, error) {
	r := &proxyRow{Name: name, Goal: goal, Rates: make(map[string]float64), Ratio: make(map[string]float64)}
	rates, ratios := make(map[string][]float64), make(map[string][]float64)
	for range w.o.runs {
		for _, p := range proxyPrograms {
			if f[p] == nil {
				continue
			}
			rate, err := f[p]()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", name, p, err)
			}
			rates[p] = append(rates[p], rate)
			if p != ours {
				ratios[p] = append(ratios[p], rates[ours][len(rates[p])-1]/rate)
			}
		}
	}
	for p, values := range rates {
		slices.Sort(values)
		r.Rates[p] = values[len(values)/2]
	}
	for p, values := range ratios {
		slices.Sort(values)
		r.Ratio[p] = values[len(values)/2]
	}
	return r, nil
}

// keys returns the rate of the operations with keys that a message needs, on all
// cores: a signature, and an encryption for one recipient.
func (w *mailWorld) keys(login string, mail []byte) (func() (float64, error), error) {
	p := w.people[login]
	signer, ok := p.Key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s has no key to sign with", login)
	}
	sign, _ := keyJobs(signer)
	encrypt, _, err := secretJobs(p, mail)
	return func() (float64, error) {
		return repeat(w.o.small, runtime.NumCPU(), func() error {
			if signErr := sign(); signErr != nil {
				return signErr
			}
			return encrypt.key()
		})
	}, err
}

// proxyClients is how many clients send at once.
const proxyClients = 8

// sendRate returns how many messages a second go through, from a login to
// itself.
func (w *mailWorld) sendRate(address, login, mail string, kept, secure bool) (float64, error) {
	config := w.client
	if !secure {
		config = nil
	}
	var mu sync.Mutex
	free := make([]*mailClient, 0, proxyClients)
	defer func() {
		for _, c := range free {
			_ = c.conn.Close() // all was acknowledged
		}
	}()
	for i := 0; kept && i < proxyClients; i++ {
		c, err := dialSMTP(address, login, config)
		if err != nil {
			return 0, err
		}
		free = append(free, c)
	}
	return repeat(w.o.small, proxyClients, func() error {
		if !kept {
			c, err := dialSMTP(address, login, config)
			if err != nil {
				return err
			}
			defer func() { _ = c.conn.Close() }() // all was acknowledged
			if err = c.send(login+mailDomain, mail); err != nil {
				return err
			}
			return c.say("QUIT\r\n", "221")
		}
		mu.Lock()
		c := free[len(free)-1]
		free = free[:len(free)-1]
		mu.Unlock()
		err := c.send(login+mailDomain, mail)
		mu.Lock()
		free = append(free, c)
		mu.Unlock()
		return err
	})
}

// sealedRate is sendRate through the proxy, for one whose messages it encrypts:
// one that came to the sink in the clear is an error.
func (w *mailWorld) sealedRate(login, mail string) (float64, error) {
	plain := w.plain.Load()
	rate, err := w.sendRate(w.proxy.smtp, login, mail, true, true)
	if n := w.plain.Load() - plain; err == nil && n > 0 {
		err = fmt.Errorf("%d messages were not encrypted", n)
	}
	return rate, err
}

// A sink is a mail server that takes everything, in place of Postfix's
// smtp-sink, which answers 250 to a login where RFC 4954, Section 6 has 235: a
// proxy that looks at it takes that for a failure. check sees each message.
type sink struct {
	l     net.Listener
	check func(message []byte)
}

func (s *sink) serve() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return // it was closed
		}
		go s.talk(conn)
	}
}

func (s *sink) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client is gone
	br := bufio.NewReaderSize(conn, 32<<10)
	answer := "220 sink.example ESMTP\r\n"
	for {
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			answer = "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n"
		case "AUTH":
			answer = "235 2.7.0 Welcome\r\n"
		case "QUIT":
			_, _ = io.WriteString(conn, "221 2.0.0 Bye\r\n") // the client is going
			return
		case "DATA":
			if _, err = io.WriteString(conn, "354 Go on\r\n"); err != nil {
				return
			}
			var message bytes.Buffer
			for {
				text, readErr := br.ReadSlice('\n')
				if readErr != nil {
					return
				}
				if string(text) == ".\r\n" {
					break
				}
				message.Write(text)
			}
			s.check(message.Bytes())
			answer = "250 2.0.0 Ok\r\n"
		default:
			answer = "250 2.0.0 Ok\r\n"
		}
	}
}
