package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A run is one operation by one program.
type run struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`  // user and system
	Peak int64         `json:"peak"` // the greatest resident size in octets
}

// A command is a process: arguments, and files for its streams ("" is none).
type command struct {
	args    []string
	in, out string
}

// timeProgram tells the peak memory of a process. What a process of its own has
// resident when it starts another one counts as that one's peak, and it is small.
const timeProgram = "/usr/bin/time"

// execute runs commands one after the other, as one operation.
func execute(ctx context.Context, env []string, commands ...command) (run, error) {
	var total run
	for _, c := range commands {
		r, err := executeOne(ctx, env, c)
		if err != nil {
			return total, err
		}
		total.Wall += r.Wall
		total.CPU += r.CPU
		total.Peak = max(total.Peak, r.Peak)
	}
	return total, nil
}

func executeOne(ctx context.Context, env []string, c command) (r run, err error) {
	args, measured := c.args, filepath.Join(os.TempDir(), "bench-peak-"+strconv.Itoa(os.Getpid()))
	if _, lookErr := exec.LookPath(timeProgram); lookErr == nil {
		args = append([]string{timeProgram, "-q", "-f", "%M", "-o", measured}, args...)
		defer func() { _ = os.Remove(measured) }() // it is temporary
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if c.in != "" {
		in, openErr := os.Open(c.in)
		if openErr != nil {
			return r, openErr
		}
		defer func() { _ = in.Close() }() // it was only read
		cmd.Stdin = in
	}
	if c.out != "" {
		out, createErr := os.Create(c.out)
		if createErr != nil {
			return r, createErr
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		cmd.Stdout = out
	}
	start := time.Now()
	err = cmd.Run()
	r.Wall = time.Since(start)
	if err != nil {
		text := strings.Join(strings.Fields(stderr.String()), " ")
		return r, fmt.Errorf("%s: %w: %s", c.args[0], err, text[max(0, len(text)-300):])
	}
	r.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.Peak = peak(cmd.ProcessState)
	if data, readErr := os.ReadFile(measured); readErr == nil {
		if kib, parseErr := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); parseErr == nil {
			r.Peak = kib << 10
		}
	}
	return r, nil
}

// median returns the run with the median wall time.
func median(runs []run) run {
	runs = slices.Clone(runs)
	slices.SortFunc(runs, func(a, b run) int { return int(a.Wall - b.Wall) })
	return runs[len(runs)/2]
}

// A peerOut is what one program did in one row.
type peerOut struct {
	Name   string `json:"name"`
	Runs   []run  `json:"runs,omitempty"`
	Median *run   `json:"median,omitempty"`
	Error  string `json:"error,omitempty"` // why there is no median
}

// A rowOut is one operation at one size.
type rowOut struct {
	Name  string        `json:"name"`
	Size  int64         `json:"size"`
	Peers []*peerOut    `json:"peers"` // ours is the first
	Limit time.Duration `json:"limit"` // of the slowest stage that cannot be avoided
	Bound string        `json:"bound"` // which one that is
}

// measure does all operations at one size.
func (w *world) measure(ctx context.Context, size int64) ([]*rowOut, rates, error) {
	if err := w.writeContent(size); err != nil {
		return nil, rates{}, err
	}
	limits, err := w.measureRates(size)
	if err != nil {
		return nil, limits, err
	}
	var out []*rowOut
	for _, r := range rows {
		if !w.o.rows.MatchString(r.name) {
			continue
		}
		row, rowErr := w.measureRow(ctx, r)
		if rowErr != nil {
			return nil, limits, rowErr
		}
		row.Limit, row.Bound = limits.limit(r, size)
		out = append(out, row)
		fmt.Fprintln(w.stderr, row.line())
	}
	return out, limits, nil
}

// measureRow runs one operation with every program in turn, as often as asked.
func (w *world) measureRow(ctx context.Context, r row) (*rowOut, error) {
	row := &rowOut{Name: r.name, Size: w.size}
	remove, err := w.writeMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	defer remove()
	var able []*peer
	for _, p := range w.peers {
		if p.command(r) != nil {
			able = append(able, p)
			row.Peers = append(row.Peers, &peerOut{Name: p.name})
		}
	}
	for n := range w.o.runs {
		for i, p := range able {
			out := row.Peers[i]
			if out.Error != "" || n > 0 && out.Runs[0].Wall > w.o.patience {
				continue
			}
			got, runErr := w.runOnce(ctx, p, r)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if runErr != nil {
				out.Error = runErr.Error()
				fmt.Fprintf(w.stderr, "%s, %s: %v\n", r.name, p.name, runErr)
				continue
			}
			out.Runs = append(out.Runs, got)
		}
	}
	for _, out := range row.Peers {
		if out.Error == "" {
			m := median(out.Runs)
			out.Median = &m
		}
	}
	return row, nil
}

// runOnce runs an operation and checks its output.
func (w *world) runOnce(ctx context.Context, p *peer, r row) (run, error) {
	limited, cancel := context.WithTimeout(ctx, w.o.timeout)
	defer cancel()
	out := w.path("out")
	if err := os.RemoveAll(out); err != nil {
		return run{}, err
	}
	got, err := execute(limited, append([]string{"TMPDIR=" + w.dir}, p.env...), p.command(r)...)
	if err != nil {
		return got, err
	}
	return got, w.check(ctx, r, out)
}
