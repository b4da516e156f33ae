package mimetree

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postseal/postseal/internal/mimeraw"
)

func parse(t testing.TB, text string) *Part {
	t.Helper()
	p, err := Parse(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func cut(text string, s Span) string { return text[s.Start:s.End] }

// show writes a tree down: types, and the bodies of leaves.
func show(text string, p *Part) string {
	switch {
	case p.Multipart():
		var parts []string
		for _, c := range p.Parts {
			parts = append(parts, show(text, c))
		}
		return p.Type + "(" + strings.Join(parts, " ") + ")"
	case p.Message != nil:
		return p.Type + "{" + show(text, p.Message) + "}"
	}
	return fmt.Sprintf("%s%q", p.Type, cut(text, p.Body))
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

func TestParse(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"plain", "A: b\n\nhello\n", `text/plain"hello\r\n"`},
		{"no header", "\nhello", `text/plain"hello"`},
		{"empty", "", `text/plain""`},
		{"multipart", "Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n\n--x--\nepilogue\n",
			`multipart/mixed(text/plain"one" text/html"two\r\n")`},
		{"empty parts", "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x--\n", `multipart/mixed(text/plain"" text/plain"")`},
		{"cut off", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo\n", `multipart/mixed(text/plain"one" text/plain"two\r\n")`},
		{"no delimiter", "Content-Type: multipart/mixed; boundary=x\n\nhello\n", `multipart/mixed"hello\r\n"`},
		{"nested", "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=\"x y\"\n\n--x y\n\na\n--x y\n\nb\n--x y--\n--x\n\nc\n--x--\n",
			`multipart/mixed(multipart/alternative(text/plain"a" text/plain"b") text/plain"c")`},
		{"the outer delimiter ends the inner", "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\na\n--x\n\nc\n--x--\n",
			`multipart/mixed(multipart/alternative(text/plain"a") text/plain"c")`},
		{"a longer boundary", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--xy\n--x--y\n", `multipart/mixed(text/plain"--xy")`},
		{"message", "Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\nhello\n", `message/rfc822{text/html"hello\r\n"}`},
		{"message in base64", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n", `message/rfc822"QQ==\r\n"`},
		{"digest", "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nb\n--x--\n", `multipart/digest(message/rfc822{text/plain"b"})`},
		{"a type that is none", "Content-Type: what\n\nhello\n", `text/plain"hello\r\n"`},
	} {
		for _, text := range []string{crlf(tc.text), tc.text} {
			p := parse(t, text)
			want := tc.want
			if text == tc.text {
				want = strings.ReplaceAll(want, `\r\n`, `\n`)
			}
			if got := show(text, p); got != want {
				t.Errorf("%s: %s, want %s", tc.name, got, want)
			}
			if got := cut(text, p.Header) + cut(text, p.Body); got != text {
				t.Errorf("%s: header and body are %q", tc.name, got)
			}
			if p.Lines != int64(strings.Count(cut(text, p.Body), "\n")) {
				t.Errorf("%s: %d lines", tc.name, p.Lines)
			}
		}
	}
}

func TestFind(t *testing.T) {
	text := crlf("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=y\n\n" +
		"--y\n\ntwo-one\n--y\n\ntwo-two\n--y--\n--x\nContent-Type: message/rfc822\n\nSubject: s\n\nthree\n--x--\n")
	p := parse(t, text)
	for path, want := range map[string]string{
		"1": "one", "2.1": "two-one", "2.2": "two-two", "3.1": "three", "3": "Subject: s\r\n\r\nthree",
	} {
		found := p.Find(numbers(path))
		if found == nil || cut(text, found.Body) != want {
			t.Errorf("%s: %v", path, found)
		}
	}
	for _, path := range []string{"0", "4", "1.1", "2.3", "3.2", "3.1.1", "1.2"} {
		if found := p.Find(numbers(path)); found != nil {
			t.Errorf("%s: %s", path, show(text, found))
		}
	}
	single := "A: b\r\n\r\nbody"
	if found := parse(t, single).Find([]int{1}); found == nil || cut(single, found.Body) != "body" {
		t.Errorf("the body of a message: %v", found)
	}
	if parse(t, single).Find([]int{1, 1}) != nil || parse(t, single).Find([]int{2}) != nil {
		t.Error("there is more than one part")
	}
}

func numbers(path string) []int {
	var out []int
	for s := range strings.SplitSeq(path, ".") {
		n := 0
		for _, c := range s {
			n = n*10 + int(c-'0')
		}
		out = append(out, n)
	}
	return out
}

func count(p *Part) (parts, depth int) {
	parts = 1
	for _, c := range append(p.Parts, p.Message) {
		if c == nil {
			continue
		}
		n, d := count(c)
		parts, depth = parts+n, max(depth, d+1)
	}
	return parts, depth
}

// TestLimits has messages that are deep and wide.
func TestLimits(t *testing.T) {
	var deep strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	if _, depth := count(parse(t, deep.String())); depth != MaxDepth {
		t.Errorf("depth %d", depth)
	}
	if _, depth := count(parse(t, strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 1000))); depth != MaxDepth {
		t.Errorf("depth %d of messages", depth)
	}
	wide := "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n", 3*MaxParts)
	if parts, _ := count(parse(t, wide)); parts > MaxParts+2 || parts < MaxParts {
		t.Errorf("%d parts", parts)
	}
	long := "A: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"
	if _, err := Parse(strings.NewReader(long), int64(len(long))); !errors.Is(err, mimeraw.ErrHeaderTooLong) {
		t.Errorf("a long header: %v", err)
	}
	inner := parse(t, "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"+long+"text\r\n--x--\r\n")
	if len(inner.Parts) != 1 || inner.Parts[0].Header.Size() != 0 {
		t.Errorf("a long header inside: %d parts", len(inner.Parts))
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--\r\n")
	f.Add("Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=\"\"\r\n\r\n--\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(strings.NewReader(text), int64(len(text)))
		if err != nil {
			return
		}
		check(t, text, p, Span{0, int64(len(text))})
	})
}

// check: parts lie in their parent, in order, and do not overlap.
func check(t *testing.T, text string, p *Part, within Span) {
	if p.Header.Start < within.Start || p.Header.End != p.Body.Start || p.Body.End > within.End || p.Body.Size() < 0 || p.Header.Size() < 0 {
		t.Fatalf("%v %v in %v", p.Header, p.Body, within)
	}
	if p.Lines != int64(strings.Count(cut(text, p.Body), "\n")) {
		t.Fatalf("%d lines in %q", p.Lines, cut(text, p.Body))
	}
	at := p.Body.Start
	for _, c := range p.Parts {
		if c.Header.Start < at {
			t.Fatal("parts overlap")
		}
		check(t, text, c, p.Body)
		at = c.Body.End
	}
	if p.Message != nil {
		check(t, text, p.Message, p.Body)
	}
}
