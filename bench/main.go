// Bench measures Postseal beside its peers: whole processes on big messages,
// from file to file in memory, and the packages themselves on small ones.
//
//	go run ./bench [--size 100MiB,1GiB] [--rows REGEXP] [--peers REGEXP] [--json FILE] [--quick]
//	go run ./bench --proxies [--json FILE]
//	go run ./bench --mailboxes [--messages N] [--json FILE]
//	go run ./bench --idle 5000 [--json FILE]
//
// It makes its data in a temporary folder (on /dev/shm, where there is one),
// runs each operation with each program in turn, checks what every one of them
// wrote, and prints the medians of five rounds. A peer that is not installed, or
// cannot do an operation, has an empty place in the table. docs/performance.md
// tells how to read it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	sizes    []int64
	rows     *regexp.Regexp
	peers    *regexp.Regexp
	json     string
	runs     int
	patience time.Duration // what takes longer is run once only
	timeout  time.Duration // and longer than this not at all
	small    time.Duration // how long each figure of small mail is measured; 0: none
	quick    bool
	tool     string
	proxies  bool // these, and nothing else
	boxes    bool // mailboxes behind them, and nothing else
	messages int  // in a mailbox
	idle     int  // connections that are held, and nothing else; 0: not asked for
	settle   time.Duration
}

func main() {
	o, err := parse(os.Args[1:])
	if err == flag.ErrHelp {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err == nil {
		err = bench(ctx, o, os.Stdout, os.Stderr)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := fs.String("size", "100MiB,1GiB", "sizes of the content, with commas: 64KiB, 100MiB, 1GiB")
	rows := fs.String("rows", "", "only the operations whose name matches this `REGEXP`")
	peers := fs.String("peers", "", "only the peers whose name matches this `REGEXP`")
	fs.StringVar(&o.json, "json", "", "write all figures to this `FILE`")
	fs.IntVar(&o.runs, "runs", 5, "how often each program is run")
	fs.DurationVar(&o.patience, "patience", 20*time.Second, "a program that takes longer is run once")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "a program that takes longer is stopped")
	fs.DurationVar(&o.small, "small", time.Second, "how long to measure each figure of small mail; 0: not at all")
	fs.BoolVar(&o.quick, "quick", false, "one round, small sizes: to see that everything works")
	fs.StringVar(&o.tool, "tool", "", "measure this smimetool, or mailproxy, in place of that of the source")
	fs.BoolVar(&o.proxies, "proxies", false, "measure mailproxy beside nginx's mail proxy, and nothing else; --rows, --runs, --small and --json count")
	fs.BoolVar(&o.boxes, "mailboxes", false, "measure FETCH through mailproxy and nginx's mail proxy, and nothing else; --rows, --runs, --small, --messages and --json count")
	fs.IntVar(&o.messages, "messages", 1000, "how many messages are in a mailbox")
	fs.IntVar(&o.idle, "idle", 0, "measure the memory of so many idle connections, and nothing else; --rows, --settle and --json count")
	fs.DurationVar(&o.settle, "settle", 12*time.Second, "how long a program may take to free what it needed to accept connections")
	if err := fs.Parse(args); err != nil {
		return nil, flag.ErrHelp // it has told already
	}
	if o.quick {
		given := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"size": "300KiB", "runs": "1", "small": "20ms"} {
			if !given[name] {
				_ = fs.Set(name, value) // they are good values
			}
		}
	}
	var err error
	for _, s := range strings.Split(*sizes, ",") {
		n, sizeErr := parseSize(s)
		if sizeErr != nil {
			return nil, sizeErr
		}
		o.sizes = append(o.sizes, n)
	}
	if o.rows, err = regexp.Compile(*rows); err != nil {
		return nil, err
	}
	o.peers, err = regexp.Compile(*peers)
	if err == nil && o.runs < 1 {
		err = fmt.Errorf("--runs %d: there is nothing to do", o.runs)
	}
	return o, err
}

// parseSize reads a size such as 100MiB.
func parseSize(s string) (int64, error) {
	number, shift := strings.TrimSpace(s), 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, shift = n, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is no size: 64KiB, 100MiB and 1GiB are", s)
	}
	return n << shift, nil
}

// showSize writes a size as parseSize reads it.
func showSize(n int64) string {
	for i, unit := range []string{"GiB", "MiB", "KiB"} {
		if shift := 10 * (3 - i); n >= 1<<shift && n%(1<<shift) == 0 {
			return strconv.FormatInt(n>>shift, 10) + " " + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// A result is all that was measured.
type result struct {
	Machine machine   `json:"machine"`
	Peers   []string  `json:"peers"`
	Rates   rates     `json:"rates"`
	Rows    []*rowOut `json:"rows"`
	Small   []*small  `json:"small,omitempty"`
}

// bench measures, and prints.
func bench(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	if o.proxies {
		return benchProxies(ctx, o, stdout, stderr)
	}
	if o.idle > 0 {
		return benchIdle(ctx, o, stdout, stderr)
	}
	if o.boxes {
		return benchMailboxes(ctx, o, stdout, stderr)
	}
	w, err := newWorld(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer w.close()
	res := &result{Machine: describe()}
	for _, p := range w.peers {
		res.Peers = append(res.Peers, p.version)
	}
	if o.small > 0 {
		if res.Small, err = measureSmall(ctx, o, stderr); err != nil {
			return err
		}
	}
	for _, size := range o.sizes {
		rows, atSize, sizeErr := w.measure(ctx, size)
		if sizeErr != nil {
			return sizeErr
		}
		res.Rows, res.Rates = append(res.Rows, rows...), atSize
	}
	res.print(stdout)
	if o.json != "" {
		data, jsonErr := json.MarshalIndent(res, "", "  ")
		if jsonErr != nil {
			return jsonErr
		}
		if err = os.WriteFile(o.json, append(data, '\n'), 0o666); err != nil {
			return err
		}
	}
	if bad := res.failures(); bad > 0 {
		return fmt.Errorf("%d outputs of Postseal were wrong", bad)
	}
	return nil
}
