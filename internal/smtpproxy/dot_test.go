package smtpproxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// writeDots returns what a dotWriter writes, given in pieces.
func writeDots(t testing.TB, text string, piece int) string {
	t.Helper()
	var out bytes.Buffer
	w := &dotWriter{u: &upstream{conn: sink{w: &out}}}
	for rest := text; rest != ""; {
		n := min(piece, len(rest))
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// sink is a connection that takes what is written.
type sink struct {
	net.Conn
	w io.Writer
}

func (s sink) Write(p []byte) (int, error)      { return s.w.Write(p) }
func (s sink) SetWriteDeadline(time.Time) error { return nil }
func (s sink) SetReadDeadline(time.Time) error  { return nil }

func TestDots(t *testing.T) {
	for text, want := range map[string]string{
		"":                       ".\r\n",
		"a":                      "a\r\n.\r\n",
		"a\r\n":                  "a\r\n.\r\n",
		".":                      "..\r\n.\r\n",
		".\r\n..\r\na.b\r\n":     "..\r\n...\r\na.b\r\n.\r\n",
		"a\n.\nb":                "a\r\n..\r\nb\r\n.\r\n",
		"a\r.\rb":                "a\r\n..\r\nb\r\n.\r\n",
		"a\r\n.\rb":              "a\r\n..\r\nb\r\n.\r\n",
		"a\n\r.\r\nb":            "a\r\n\r\n..\r\nb\r\n.\r\n",
		"a\r\r\nb":               "a\r\n\r\nb\r\n.\r\n",
		"\x00.\r\n":              "\x00.\r\n.\r\n",
		"a\r":                    "a\r\n.\r\n",
		strings.Repeat("x", 2e5): strings.Repeat("x", 2e5) + "\r\n.\r\n",
	} {
		for _, piece := range []int{1, 2, 1 << 20} {
			if got := writeDots(t, text, piece); got != want {
				t.Errorf("%.40q in pieces of %d: %.60q, want %.60q", text, piece, got, want)
			}
		}
	}
}

// FuzzDots: whatever the text is, a server finds one end, at the end, and what
// it reads is the text with CRLF for its line ends.
func FuzzDots(f *testing.F) {
	f.Add("a\r\n.\r\nMAIL FROM:<x@y>\r\n", 1)
	f.Add(".\n.\r.\r\r\n", 3)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		got := writeDots(t, text, max(piece, 1))
		if n := strings.Index("\r\n"+got, "\r\n.\r\n"); n != len(got)-3 {
			t.Fatalf("the text ends at %d of %d: %q", n, len(got), got)
		}
		if strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\r") || strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
			t.Fatalf("a bare line end: %q", got)
		}
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(text)
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		read := strings.ReplaceAll("\r\n"+strings.TrimSuffix(got, ".\r\n"), "\r\n.", "\r\n")[2:]
		if read != want {
			t.Fatalf("%q is read as %q", text, read)
		}
	})
}
