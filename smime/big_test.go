package smime

import (
	"crypto/sha256"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/postseal/postseal/cms"
)

// A watcher passes octets and keeps the greatest heap it has seen.
type watcher struct {
	io.Reader
	left int64
	peak uint64
}

func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.left -= int64(n); w.left < 0 {
		w.left = 1 << 20
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.peak = max(w.peak, m.HeapInuse)
	}
	return n, err
}

// TestBig: memory does not grow with the message.
func TestBig(t *testing.T) {
	size := int64(48 << 20)
	if testing.Short() {
		size = 8 << 20
	}
	const part = "From: alice@example.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--b\r\n"
	for _, tc := range []struct {
		name, head string
		form       writerFunc
	}{
		{"attachment, clear", part + "Content-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n", signed(nil)},
		{"text, opaque", "From: alice@example.test\r\nContent-Type: text/plain\r\n\r\n", signed(&SignOptions{Opaque: true})},
		{"binary, all", part + "Content-Type: x/y\r\nContent-Transfer-Encoding: binary\r\n\r\n", signedEncrypted(&SignOptions{Opaque: true}, true)},
		{"cbc", part + "\r\n", encrypted(&EncryptOptions{Cipher: cms.AES128CBC})},
	} {
		pr, pw := io.Pipe()
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		src := &watcher{Reader: io.LimitReader(repeating("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n"), size)}
		sent := sha256.New()
		go func() {
			w, err := tc.form(pw)
			if err == nil {
				_, err = io.WriteString(w, tc.head)
			}
			if err == nil {
				_, err = io.Copy(io.MultiWriter(w, sent), src)
			}
			if err == nil {
				err = w.Close()
			}
			_ = pw.CloseWithError(err)
		}()
		arriving := &watcher{Reader: pr}
		m, err := Read(arriving, readOptions())
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		got := sha256.New()
		shown := &watcher{Reader: m.Content()}
		skip := int64(len(tc.head) - len("From: alice@example.test\r\n"))
		if _, err = io.CopyN(io.Discard, shown, skip); err == nil {
			_, err = io.Copy(got, shown)
		}
		if err != nil || string(got.Sum(nil)) != string(sent.Sum(nil)) {
			t.Errorf("%s: the content has changed: %v", tc.name, err)
		}
		peak := max(src.peak, arriving.peak, shown.peak) - before.HeapInuse
		t.Logf("%s: %d MiB, heap %.1f MiB", tc.name, size>>20, float64(peak)/(1<<20))
		if int64(peak) > 32<<20 && int64(peak) < 1<<50 {
			t.Errorf("%s: %d octets of heap", tc.name, peak)
		}
		if err = m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	message := "From: alice@example.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(strings.Repeat("A", 76)+"\r\n", 100000) + "--b--\r\n"
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		w, err := signed(nil)(io.Discard)
		if err == nil {
			_, err = io.WriteString(w, message)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	body := "From: alice@example.test\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat(strings.Repeat("A", 76)+"\r\n", 100000)
	for _, bench := range []struct {
		name string
		form writerFunc
	}{{"clear", signed(nil)}, {"opaque", signed(&SignOptions{Opaque: true})}, {"gcm", encrypted(nil)}} {
		message := protect(b, body, bench.form)
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				m, err := Read(strings.NewReader(message), readOptions())
				if err == nil {
					err = m.Close()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
