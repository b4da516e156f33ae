package smtpproxy

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// BenchmarkText is what becomes of the text of DATA on its way in and out, less
// what is in between.
func BenchmarkText(b *testing.B) {
	for name, text := range map[string][]byte{
		"lines":    []byte(strings.Repeat("A line of text that is as long as lines of base64 are in mail, no more.....\r\n", 400)),
		"no lines": bytes.Repeat([]byte("x"), 32<<10), // nor does this take long
		"CRs":      bytes.Repeat([]byte("\r"), 32<<10),
	} {
		b.Run("in/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			var f textFilter
			for b.Loop() {
				f.filter(text)
			}
		})
		b.Run("out/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			w := &dotWriter{u: &upstream{conn: sink{w: io.Discard}}, text: dotted{out: make([]byte, 0, dotBuffer)}}
			for b.Loop() {
				if _, err := io.Copy(w, bytes.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
