package smtpproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-smtp"
)

// A given is a connection from which octets come in pieces, and then its end.
type given struct {
	net.Conn
	text  string
	piece int
}

func (g *given) Read(p []byte) (int, error) {
	if g.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), g.piece)], g.text)
	g.text = g.text[n:]
	return n, nil
}
func (g *given) SetReadDeadline(time.Time) error { return nil }

// after354 is a front from which text comes after a reply of 354.
func after354(text string, piece int) *front {
	f := newFront(&given{text: text, piece: piece}, time.Minute, 1000, false, nil)
	f.what, f.due = readText, time.Now().Add(time.Hour)
	return f
}

// errFull is that of a writer.
var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestMessage: what is read of a message is its text, whatever becomes of it, and
// what follows is the next command.
func TestMessage(t *testing.T) {
	const long = "a line of text\r\n"
	for text, want := range map[string]string{
		".\r\n":                              "",
		"a\r\n.\r\n":                         "a\r\n",
		"..\r\n...\r\n.a\r\na.\r\n.\r\n":     ".\r\n..\r\na\r\na.\r\n",
		"a\n.\nMAIL\r\n.\r\n":                "a\r\n.\r\nMAIL\r\n",
		"a\r.\rMAIL\r\n.\r\n":                "a\r\n.\r\nMAIL\r\n",
		"a\r\n.\nMAIL\r\n.\r\n":              "a\r\n\r\nMAIL\r\n",
		strings.Repeat(long, 5000) + ".\r\n": strings.Repeat(long, 5000),
	} {
		for _, piece := range []int{1, 3, 1 << 20} {
			for name, test := range map[string]struct {
				most int64
				dst  io.Writer
				err  error
			}{
				"taken":     {int64(len(want)), nil, nil},
				"too large": {int64(len(want)) - 1, nil, smtp.ErrDataTooLarge},
				"failed":    {int64(len(want)), full{}, errFull},
			} {
				f := after354(text+"NOOP\r\n", piece)
				f.max = 1 << 20
				var out bytes.Buffer
				dst := io.Writer(&out)
				if test.dst != nil {
					dst = test.dst
				}
				err := f.message(dst, test.most)
				if want == "" && test.dst != nil {
					test.err = nil // nothing was written
				}
				if !errors.Is(err, test.err) || err == nil != (test.err == nil) || test.err == nil && test.dst == nil && out.String() != want || int64(out.Len()) > max(test.most, 0) {
					t.Errorf("%.30q in pieces of %d, %s: %v, %d octets", text, piece, name, err, out.Len())
				}
				// go-smtp finds an empty text, and then the command.
				rest, readErr := io.ReadAll(f)
				if string(rest) != ".\r\nNOOP\r\n" || !errors.Is(readErr, io.ErrUnexpectedEOF) {
					t.Errorf("%.30q in pieces of %d, %s: then %.40q, %v", text, piece, name, rest, readErr)
				}
			}
		}
	}
}

// TestMessageEnds: the end of the connection is not that of the message, and one
// that does not end is not read for ever.
func TestMessageEnds(t *testing.T) {
	for text, want := range map[string]error{
		"":                             io.ErrUnexpectedEOF,
		"a\r\n":                        io.ErrUnexpectedEOF,
		"a\r\n.":                       io.ErrUnexpectedEOF,
		"a\r\n.\r":                     io.ErrUnexpectedEOF,
		strings.Repeat("x", 2<<20):     errSurplus,
		strings.Repeat("x\r\n", 1<<20): errSurplus,
	} {
		f := after354(text, 1<<20)
		if err := f.message(io.Discard, 1000); !errors.Is(err, want) {
			t.Errorf("%.30q: %v", text, err)
		}
		if _, err := f.Read(make([]byte, 10)); !errors.Is(err, want) {
			t.Errorf("%.30q: then %v", text, err)
		}
	}
}

// TestBuffers: nobody finds in a buffer what was in it before.
func TestBuffers(t *testing.T) {
	secret := strings.Repeat("secret\r\n", 30000) // more than a buffer takes
	for _, text := range []string{"secret\r\n", secret} {
		for name, use := range map[string]func() error{
			"in":    func() error { return after354(text+".\r\n", 1<<20).message(io.Discard, 1<<20) },
			"out":   func() error { return sends(io.MultiReader(strings.NewReader(text)), len(text), nil) },
			"self":  func() error { return sends(strings.NewReader(text), len(text), nil) }, // it writes itself
			"chunk": func() error { return sends(strings.NewReader(text), len(text), map[string]string{"CHUNKING": ""}) },
		} {
			if err := use(); err != nil {
				t.Fatal(name, err)
			}
			b := getBuffer()
			if len(b.out) > 0 || len(bytes.Trim(b.in, "\x00")) > 0 || len(bytes.Trim(b.out[:cap(b.out)], "\x00")) > 0 {
				t.Errorf("%s: something of %d octets is in it", name, len(text))
			}
			b.free()
		}
	}
}

// sends sends a message to an upstream that takes it.
func sends(src io.Reader, size int, extensions map[string]string) error {
	replies := "354 go on\r\n250 taken\r\n"
	if extensions != nil {
		replies = "250 taken\r\n"
	}
	u := &upstream{conn: talker{sink{w: io.Discard}, iotest.OneByteReader(strings.NewReader(replies))}, extensions: extensions}
	_, err := u.message(src, int64(size))
	return err
}

// A talker is a connection to somebody who talks.
type talker struct {
	sink
	says io.Reader
}

func (t talker) Read(p []byte) (int, error) { return t.says.Read(p) }
