package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDemoOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	code, out, errs := run(t, "demo", "--once")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	parts := strings.Split(out, "This is what ")
	if len(parts) != 3 {
		t.Fatalf("%s", out)
	}
	for i, want := range []string{
		"Dear Bob, shall we meet at noon? The soup costs 5 €.",
		"Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data",
		"X-Postseal-Status: encrypted+signed/verified\n",
	} {
		if !strings.Contains(parts[i], want) {
			t.Errorf("%q is missing in part %d:\n%s", want, i+1, parts[i])
		}
	}
	if strings.Contains(parts[1], "noon") || !strings.Contains(parts[2], "Dear Bob, shall we meet at noon? The soup costs 5 €.") {
		t.Errorf("%s", out)
	}
	if lines := strings.Count(out, "\n"); lines > 40 {
		t.Errorf("%d lines are too many for a first look", lines)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestDemoStays ends the demonstration as Ctrl-C does.
func TestDemoStays(t *testing.T) {
	var out, errs strings.Builder
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &watcher{text: "Ctrl-C", seen: cancel, dst: &out}
	a.stdout = said
	done := make(chan error, 1)
	go func() { done <- a.demo(ctx, false) }()
	select {
	case err := <-done:
		if err != nil || strings.Count(out.String(), "server 127.0.0.1, port ") != 2 || strings.Count(out.String(), "curl ") != 2 {
			t.Errorf("%v\n%s%s", err, &out, &errs)
		}
	case <-time.After(time.Minute):
		t.Fatal("it did not end")
	}
}

// A watcher calls seen when a text was written.
type watcher struct {
	text string
	seen func()
	dst  *strings.Builder
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.dst.Write(p)
	if strings.Contains(string(p), w.text) {
		w.seen()
	}
	return n, err
}
