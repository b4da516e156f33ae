package smime

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// randomBody returns text that may or may not survive its way through mail
// servers.
func randomBody(rng *rand.Rand) string {
	lines := []string{"plain", "gr\xc3\xbc\xc3\x9fe", "latin \xe4", "trailing ", "From here", strings.Repeat("long", 300), "--b", "nul\x00", "cr\rin", ""}
	var b strings.Builder
	for range rng.IntN(6) {
		line := lines[0]
		if rng.IntN(3) == 0 {
			line = lines[rng.IntN(len(lines))]
		}
		b.WriteString(line + []string{"\r\n", "\n"}[rng.IntN(2)])
	}
	return b.String()
}

// randomEntity returns header and body of an entity, of at most depth levels.
func randomEntity(rng *rand.Rand, depth int) string {
	if depth > 0 && rng.IntN(2) == 0 {
		boundary := "b" + strings.Repeat("x", depth)
		var b strings.Builder
		b.WriteString("Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n")
		for range 1 + rng.IntN(4) {
			b.WriteString("--" + boundary + "\r\n" + randomEntity(rng, depth-1) + "\r\n")
		}
		b.WriteString("--" + boundary + "--\r\n")
		return b.String()
	}
	fields := []string{"", "Content-Type: text/plain\r\n", "Content-Type: application/x-data\r\nContent-Transfer-Encoding: 8bit\r\n",
		"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n", "Content-Transfer-Encoding: binary\r\n"}
	return fields[rng.IntN(len(fields))] + "\r\n" + randomBody(rng)
}

// surveyed protects a message with a survey. It returns how often it had to.
func surveyed(t *testing.T, message string, protect func(io.Writer, *Survey) (io.WriteCloser, error)) (string, int) {
	t.Helper()
	survey := &Survey{}
	for times := 1; ; times++ {
		var out bytes.Buffer
		w, err := protect(&out, survey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(w, message); err != nil {
			t.Fatal(err)
		}
		err = w.Close()
		if errors.Is(err, ErrSurvey) {
			if strings.Contains(out.String(), "smime.p7s") {
				t.Error("what has to be thrown away was signed")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), times
	}
}

// With a survey a message becomes what it becomes without, after two times at
// most.
func TestSurvey(t *testing.T) {
	twice := 0
	rng := rand.New(rand.NewPCG(88, 51))
	for range 300 {
		message := "From: alice@example.test\r\n" + randomEntity(rng, 3)
		seal := &EncryptOptions{Cipher: cms.AES128CBC}
		for name, protectWith := range map[string]func(w io.Writer, s *Survey) (io.WriteCloser, error){
			"signed": func(w io.Writer, s *Survey) (io.WriteCloser, error) { return signed(&SignOptions{Survey: s})(w) },
			"opaque": func(w io.Writer, s *Survey) (io.WriteCloser, error) {
				return signed(&SignOptions{Survey: s, Opaque: true})(w)
			},
			"encrypted": func(w io.Writer, s *Survey) (io.WriteCloser, error) {
				o := *seal
				o.Survey = s
				return encrypted(&o)(w)
			},
		} {
			got, times := surveyed(t, message, protectWith)
			want := protect(t, message, func(w io.Writer) (io.WriteCloser, error) { return protectWith(w, nil) })
			a, b := mustRead(t, got, readOptions()), mustRead(t, want, readOptions())
			if text(t, a.Content()) != text(t, b.Content()) {
				t.Fatalf("%s: %q became\n%q, want\n%q", name, message, text(t, a.Content()), text(t, b.Content()))
			}
			if times > 2 {
				t.Errorf("%s: %q was written %d times", name, message, times)
			}
			if times == 2 {
				twice++
			}
		}
	}
	if twice < 50 || twice > 800 {
		t.Errorf("%d messages of 900 had to be written twice", twice)
	}
}

// A message that changes between the times is written, or told to be another one.
func TestSurveyOfAnother(t *testing.T) {
	survey := &Survey{}
	for i, message := range []string{"\r\ngr\xc3\xbc\xc3\x9fe\r\n", "\r\nplain\r\n", "\r\nlatin \xe4\r\n", "\r\nlatin \xe4\r\n"} {
		w, err := signed(&SignOptions{Survey: survey})(io.Discard)
		if err == nil {
			_, err = io.WriteString(w, message)
		}
		if err == nil {
			err = w.Close()
		}
		if want := i < 3; errors.Is(err, ErrSurvey) != want || (err == nil) == want {
			t.Errorf("%d: %v", i, err)
		}
	}
}
