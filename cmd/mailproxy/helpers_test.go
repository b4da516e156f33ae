package main

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// beMain makes the test program the real one.
const beMain = "MAILPROXY_TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// run executes a command line in this process.
func run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	code = a.run(args)
	return code, out.String(), errs.String()
}

// testWorld returns the world of the demonstration, without its proxy.
func testWorld(t testing.TB) *world {
	t.Helper()
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := w.close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return w
}

// edit changes the configuration of a world.
func (w *world) edit(t testing.TB, old, changed string) {
	t.Helper()
	name := w.file(demoConfig)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Replace(string(data), old, changed, 1)
	if after == string(data) {
		t.Fatalf("%q is not in the configuration", old)
	}
	if err = os.WriteFile(name, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// plain is the response of PLAIN (RFC 4616) in base64.
func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}
