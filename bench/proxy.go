package main

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A proxyRow is one figure of the proxies, by the program that it is of; more is
// better.
type proxyRow struct {
	Name  string             `json:"name"`
	Rates map[string]float64 `json:"rates"`  // medians, a second
	Ratio map[string]float64 `json:"ratios"` // of Postseal to it: the median of those of each round
	// CPU is the time of all cores that the program takes for a message, in
	// microseconds: the median. That of no proxy is what clients and server take.
	CPU map[string]float64 `json:"cpu"`
	// Around is what clients and server take for a message through Postseal. Left is
	// the share, of what the cores could do with that and the operations with keys
	// alone, that Postseal does; 0 where there are no keys.
	Around float64 `json:"around"`
	Left   float64 `json:"left"`
	Goal   string  `json:"goal"`
}

// A sample is what was measured once.
type sample struct {
	rate   float64       // messages a second
	cpu    time.Duration // of a message
	around time.Duration // of this process for it
}

// The programs that are compared.
const (
	ours    = "Postseal"
	ofNginx = "nginx"
	direct  = "no proxy"
	ofKeys  = "the keys alone"
)

var proxyPrograms = []string{ours, ofNginx, direct, ofKeys}

// cells are the rates and, with cpu, what the programs take for them.
func (r *proxyRow) cells(cpu bool) []string {
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
	for i := 0; cpu && i < len(proxyPrograms); i++ {
		cell, p := "-", proxyPrograms[i]
		if took := r.CPU[p]; took > 0 {
			cell = fmt.Sprintf("%.0f µs", took)
			if p != ours {
				cell += fmt.Sprintf(" (%.0f %%)", 100*took/r.CPU[ours])
			}
		}
		out = append(out, cell)
	}
	if cpu {
		out = append(out, fmt.Sprintf("%.0f µs", r.Around))
		cell := "-"
		if r.Left > 0 {
			cell = fmt.Sprintf("%.0f %%", 100*r.Left)
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
	return writeRows(o, rows, stdout)
}

// A measuring is how each program is measured for a row.
type measuring map[string]func() (sample, error)

// proxyRows measures all rows.
func (w *mailWorld) proxyRows(ctx context.Context, stderr io.Writer) ([]*proxyRow, error) {
	var rows []*proxyRow
	add := func(name, goal string, f measuring) error {
		if !w.o.rows.MatchString(name) {
			return nil
		}
		r, err := w.proxyRow(ctx, name, goal, f)
		if err == nil {
			rows = append(rows, r)
			fmt.Fprintln(stderr, strings.Join(r.cells(true), "; "))
		}
		return err
	}
	for _, kept := range []bool{true, false} {
		if err := w.passedRows(kept, add); err != nil {
			return nil, err
		}
	}
	for _, login := range []string{loginP256, loginRSA} {
		if err := w.sealedRows(login, add); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// passedRows are those of mail that is passed on.
func (w *mailWorld) passedRows(kept bool, add func(name, goal string, f measuring) error) error {
	end := map[bool]string{true: ", connections kept", false: ", a connection each"}[kept]
	mail := w.mail(loginPlain)
	for _, row := range []struct {
		name, goal          string
		proxy, beside, sink string
		login               string
		secure              bool // the sink has TLS
	}{
		{"passed on", "90 % of nginx", w.proxy.smtp, w.nginx.smtp, w.sink, loginPlain, false},
		{"passed on to smtp-sink", "90 % of nginx", w.proxy.open, w.nginx.open, w.postfix, "", false},
		{"passed on with TLS", "", w.proxy.secure, "", w.sink, loginPlain, true},
	} {
		f := measuring{
			ours:   func() (sample, error) { return w.send(row.proxy, row.login, mail, kept, true, w.proxyPIDs) },
			direct: func() (sample, error) { return w.send(row.sink, row.login, mail, kept, row.secure, self) },
		}
		if row.beside != "" {
			f[ofNginx] = func() (sample, error) { return w.send(row.beside, row.login, mail, kept, true, w.nginxPIDs) }
		}
		if err := add(row.name+end, row.goal, f); err != nil {
			return err
		}
	}
	return nil
}

// sealedRows are those of mail that is signed and encrypted for somebody.
func (w *mailWorld) sealedRows(login string, add func(name, goal string, f measuring) error) error {
	mail := w.mail(login)
	keys, err := w.keys(login, []byte(mail))
	for _, row := range [][2]string{{"signed and encrypted, ", w.proxy.smtp}, {"signed and encrypted, with TLS, ", w.proxy.secure}} {
		if err == nil {
			err = add(row[0]+login, "80 % of the keys alone", measuring{
				ours:   func() (sample, error) { return w.send(row[1], login, mail, true, true, w.proxyPIDs) },
				ofKeys: keys})
		}
	}
	return err
}

// mail returns a message of somebody, and the dot that ends it.
func (w *mailWorld) mail(login string) string {
	text := string(smallMail(smallSize))
	text = strings.Replace(text, "From: alice@example.test", "From: "+login+mailDomain, 1)
	return strings.Replace(text, "To: alice@example.test", "To: "+recipientOf(login), 1) + ".\r\n"
}

// proxyRow measures one row in rounds, in each every program once.
func (w *mailWorld) proxyRow(ctx context.Context, name, goal string, f measuring) (*proxyRow, error) {
	r := &proxyRow{Name: name, Goal: goal, Rates: make(map[string]float64), Ratio: make(map[string]float64), CPU: make(map[string]float64)}
	rates, ratios, cpu := make(map[string][]float64), make(map[string][]float64), make(map[string][]float64)
	var around []float64
	for range w.o.runs {
		for _, p := range proxyPrograms {
			if f[p] == nil {
				continue
			}
			one, err := f[p]()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", name, p, err)
			}
			rates[p], cpu[p] = append(rates[p], one.rate), append(cpu[p], float64(one.cpu)/float64(time.Microsecond))
			if p == ours {
				around = append(around, float64(one.around)/float64(time.Microsecond))
			} else {
				ratios[p] = append(ratios[p], rates[ours][len(rates[p])-1]/one.rate)
			}
		}
	}
	for _, of := range []struct {
		all map[string][]float64
		out map[string]float64
	}{{rates, r.Rates}, {ratios, r.Ratio}, {cpu, r.CPU}} {
		for p, values := range of.all {
			slices.Sort(values)
			of.out[p] = values[len(values)/2]
		}
	}
	slices.Sort(around)
	r.Around = around[len(around)/2]
	if keys := r.CPU[ofKeys]; keys > 0 && r.Around > 0 {
		r.Left = r.Rates[ours] * (r.Around + keys) / 1e6 / float64(runtime.NumCPU())
	}
	return r, nil
}

// rated makes samples of rates alone.
func rated(f map[string]func() (float64, error)) measuring {
	out := make(measuring)
	for p, measure := range f {
		out[p] = func() (sample, error) {
			rate, err := measure()
			return sample{rate: rate}, err
		}
	}
	return out
}

// metered is repeat, with the CPU that processes take meanwhile.
func (w *mailWorld) metered(cores int, pids func() []string, f func() error) (sample, error) {
	list := pids()
	before, own, begin := cpuOf(list), cpuOf(self()), time.Now()
	rate, err := repeat(w.o.small, cores, f)
	count := max(rate*time.Since(begin).Seconds(), 1)
	return sample{rate, time.Duration(float64(cpuOf(list)-before) / count), time.Duration(float64(cpuOf(self())-own) / count)}, err
}

// keys returns the rate of the operations with keys that a message needs, on all
// cores: a signature, and an encryption for one recipient.
func (w *mailWorld) keys(login string, mail []byte) (func() (sample, error), error) {
	signer, ok := w.people[login].Key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s has no key to sign with", login)
	}
	sign, _ := keyJobs(signer)
	encrypt, _, err := secretJobs(w.people[recipientOf(login)], mail)
	return func() (sample, error) {
		return w.metered(runtime.NumCPU(), self, func() error {
			if signErr := sign(); signErr != nil {
				return signErr
			}
			return encrypt.key()
		})
	}, err
}

// proxyClients is how many clients send at once.
const proxyClients = 8

// send measures how many messages a second go through from a login, "" for nobody's,
// to its recipient. Some of what arrives is looked at, when the time is over.
func (w *mailWorld) send(address, login, mail string, kept, secure bool, pids func() []string) (sample, error) {
	config := w.client
	if !secure {
		config = nil
	}
	from := login
	if login == "" {
		from = loginPlain
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
			return sample{}, err
		}
		free = append(free, c)
	}
	w.seen.reset()
	out, err := w.metered(proxyClients, pids, func() error {
		if !kept {
			c, err := dialSMTP(address, login, config)
			if err != nil {
				return err
			}
			defer func() { _ = c.conn.Close() }() // all was acknowledged
			if err = c.send(from+mailDomain, recipientOf(from), mail); err != nil {
				return err
			}
			return c.say("QUIT\r\n", "221")
		}
		mu.Lock()
		c := free[len(free)-1]
		free = free[:len(free)-1]
		mu.Unlock()
		err := c.send(from+mailDomain, recipientOf(from), mail)
		mu.Lock()
		free = append(free, c)
		mu.Unlock()
		return err
	})
	if err == nil && address != w.proxy.open && address != w.nginx.open && address != w.postfix {
		err = w.verify(from, mail)
	}
	return out, err
}
