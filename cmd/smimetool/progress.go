package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A progress shows how far long work has come, on a terminal alone. A nil
// progress shows nothing.
type progress struct {
	w     io.Writer
	total int64 // in octets; -1 when it is not known
	done  atomic.Int64
	start time.Time

	mu    sync.Mutex
	shown bool
	quit  chan struct{}
}

// Work that takes less than progressAfter is not worth showing.
const (
	progressAfter = time.Second
	progressEvery = 250 * time.Millisecond
)

func (a *app) startProgress(total int64) *progress {
	if a.progress != nil {
		a.progress.stop()
	}
	if !isTerminal(a.stderr) || isTerminal(a.stdin) && total < 0 {
		return nil
	}
	p := &progress{w: a.stderr, total: total, start: time.Now(), quit: make(chan struct{})}
	go p.run()
	return p
}

func (p *progress) run() {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-tick.C:
			if now.Sub(p.start) >= progressAfter {
				p.show(now)
			}
		}
	}
}

func (p *progress) show(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.done.Load()
	text := octets(done)
	if p.total > 0 {
		text += fmt.Sprintf(" of %s (%d%%)", octets(p.total), min(done*100/p.total, 100))
	}
	rate := float64(done) / now.Sub(p.start).Seconds()
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s, %s/s", text, octets(int64(rate)))
	p.shown = true
}

func (p *progress) add(n int) {
	if p != nil {
		p.done.Add(int64(n))
	}
}

// clear removes the line, so that something else can be said.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// stop ends the showing. It may be called more than once.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	p.mu.Unlock()
	p.clear()
}

// octets returns a size for people.
func octets(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return fmt.Sprintf("%d octets", n)
	}
	f := float64(n)
	unit := ""
	for _, u := range units {
		f, unit = f/1024, u
		if f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
