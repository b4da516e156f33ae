package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// fastest returns the fastest peer of a row; nil when there is none.
func (r *rowOut) fastest() *peerOut {
	var best *peerOut
	for _, p := range r.Peers[1:] {
		if p.Median != nil && (best == nil || p.Median.Wall < best.Median.Wall) {
			best = p
		}
	}
	return best
}

func seconds(d time.Duration) string {
	if d < 20*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func mebi(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// cells are a row of the table: operation, size, ours, ratio, limit, memory, and
// all peers.
func (r *rowOut) cells() []string {
	ours := r.Peers[0]
	out := []string{r.Name, showSize(r.Size)}
	if ours.Median == nil {
		out = append(out, "failed", "", "", "", "")
	} else {
		ratio, best := "-", r.fastest()
		if best != nil {
			ratio = fmt.Sprintf("%.1f", float64(best.Median.Wall)/float64(ours.Median.Wall))
		}
		out = append(out, seconds(ours.Median.Wall), ratio,
			fmt.Sprintf("%.0f %% (%s)", 100*float64(r.Limit)/float64(ours.Median.Wall), r.Bound),
			seconds(ours.Median.CPU), mebi(ours.Median.Peak))
	}
	var others []string
	for _, p := range r.Peers[1:] {
		if p.Median != nil {
			others = append(others, fmt.Sprintf("%s %s (%s)", p.Name, seconds(p.Median.Wall), mebi(p.Median.Peak)))
		} else {
			others = append(others, p.Name+" fails")
		}
	}
	return append(out, strings.Join(others, ", "))
}

// line tells about a row as soon as it is there.
func (r *rowOut) line() string { return strings.Join(r.cells(), "; ") }

var heads = []string{"operation", "size", "Postseal", "times as fast", "of the limit", "CPU", "memory", "peers (memory)"}

// print writes the tables, as Markdown.
func (res *result) print(out io.Writer) {
	m := res.Machine
	fmt.Fprintf(out, "%d cores of %s, %s, %s\n", m.Cores, m.CPU, m.OS, m.Go)
	for _, p := range res.Peers {
		fmt.Fprintln(out, "-", p)
	}
	var names []string
	for name := range res.Rates {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprint(out, "\nLimits on one core, GB/s of content:")
	for _, name := range names {
		fmt.Fprintf(out, " %s %.2f", name, res.Rates[name]/1e9)
	}
	fmt.Fprint(out, "\n\n")
	lines := [][]string{heads}
	for _, r := range res.Rows {
		lines = append(lines, r.cells())
	}
	markdown(out, lines)
	if len(res.Small) > 0 {
		fmt.Fprint(out, "\nSmall mail, messages of 10 KiB per second:\n\n")
		lines = [][]string{smallHeads}
		for _, s := range res.Small {
			lines = append(lines, s.cells())
		}
		markdown(out, lines)
	}
}

// markdown writes a table.
func markdown(out io.Writer, lines [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	for i, cells := range lines {
		fmt.Fprintln(w, "| "+strings.Join(cells, "\t| ")+"\t|")
		if i == 0 {
			fmt.Fprintln(w, "| "+strings.Repeat("---\t| ", len(cells)-1)+"---\t|")
		}
	}
	_ = w.Flush() // what out does not take is lost
}

// failures counts the rows in which Postseal was wrong.
func (res *result) failures() int {
	n := 0
	for _, r := range res.Rows {
		if r.Peers[0].Median == nil {
			n++
		}
	}
	return n
}
