// Testlines reads the output of "go test -json" and prints what a person wants
// to know of it: the result of every package, all output of what failed, a line
// for what was skipped and why, and a count at the end.
//
// It exits with status 1 if something failed, if nothing ran, or if the input
// is not what it should be.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	ok, err := filter(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlines:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// An event is a line of input; see "go doc test2json".
type event struct {
	Action     string
	Package    string
	ImportPath string // instead of Package when building
	Test       string
	Output     string
}

// A name is that of a test, or of a package if test is empty.
type name struct{ pkg, test string }

// A skip is a reason for which tests of a package were skipped.
type skip struct{ pkg, reason string }

type report struct {
	out                     *bufio.Writer
	output                  map[name][]string // kept until the result is known
	skips                   map[skip][]string // the names of tests
	passed, failed, skipped int
	broken                  bool // something failed that is not a test
}

// filter copies what matters from in to out and reports whether all went well.
func filter(in io.Reader, out io.Writer) (ok bool, err error) {
	r := &report{
		out:    bufio.NewWriter(out),
		output: make(map[name][]string),
		skips:  make(map[skip][]string),
	}
	dec := json.NewDecoder(in)
	for {
		var e event
		if err = dec.Decode(&e); err != nil {
			break
		}
		r.event(e)
		if err = r.out.Flush(); err != nil {
			return false, err
		}
	}
	if !errors.Is(err, io.EOF) {
		return false, err
	}
	r.finish()
	return r.failed == 0 && !r.broken && r.passed > 0, r.out.Flush()
}

func (r *report) event(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[n] = append(r.output[n], e.Output)
	case "build-output":
		r.broken = true
		r.print(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, n)
		} else {
			r.endTest(e, n)
		}
		delete(r.output, n)
	}
}

func (r *report) print(text string) { _, _ = r.out.WriteString(text) } // the error stays until Flush

// endPackage prints the line with the result, and all output if it failed.
func (r *report) endPackage(e event, n name) {
	if e.Action == "fail" {
		r.broken = true
		// A test that was running when its package ended has no result.
		for left, lines := range r.output {
			if left.pkg == n.pkg && left.test != "" {
				r.print(strings.Join(lines, ""))
				delete(r.output, left)
			}
		}
		r.print(strings.Join(r.output[n], ""))
		return
	}
	for _, line := range r.output[n] {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") || strings.Contains(line, "[no test files]") {
			r.print(line)
		}
	}
}

func (r *report) endTest(e event, n name) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		r.print(strings.Join(r.output[n], ""))
	case "skip":
		r.skipped++
		s := skip{n.pkg, reason(r.output[n])}
		r.skips[s] = append(r.skips[s], n.test)
	}
}

// reason finds in a skipped test's output why it was skipped: the last of its
// log, after the place in the source.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, text, ok := strings.Cut(line, ": "); ok {
			return text
		}
		return line
	}
	return "no reason given"
}

// finish prints what was skipped and the counts.
func (r *report) finish() {
	var lines []string
	for s, tests := range r.skips {
		line := fmt.Sprintf("skip: %s %s: %s", s.pkg, tests[0], s.reason)
		if len(tests) > 1 {
			line += fmt.Sprintf(" (and %d more tests)", len(tests)-1)
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	r.print(strings.Join(lines, ""))
	r.print(fmt.Sprintf("tests: %d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped))
}
