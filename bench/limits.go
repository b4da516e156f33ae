package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/segmentio/asm/base64"
)

// rates are what this machine does on one core, in octets of content each
// second, with the library's code and nothing around it.
type rates map[string]float64

// measureRates finds the physical limits. File operations take the size at
// hand, since page faults cost what they cost.
func (w *world) measureRates(size int64) (rates, error) {
	const block = 256 << 10
	buf, out := make([]byte, block), make([]byte, 2*block)
	key, iv := make([]byte, 32), make([]byte, 16)
	aesBlock, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(aesBlock)
	if err != nil {
		return nil, err
	}
	enc, dec := cipher.NewCBCEncrypter(aesBlock, iv), cipher.NewCBCDecrypter(aesBlock, iv)
	hash := sha256.New()
	text := make([]byte, base64.StdEncoding.EncodedLen(block))
	base64.StdEncoding.Encode(text, buf)
	out2 := make([]byte, block+64)
	r := rates{
		"sha256":   rate(block, func() { hash.Write(buf) }),
		"gcm":      rate(block, func() { gcm.Seal(out[:0], iv[:12], buf, nil) }),
		"cbc":      rate(block, func() { enc.CryptBlocks(out, buf) }),
		"uncbc":    rate(block, func() { dec.CryptBlocks(out, buf) }),
		"base64":   rate(block, func() { base64.StdEncoding.Encode(out, buf) }),
		"unbase64": rate(block, func() { _, _ = base64.StdEncoding.Decode(out2, text) }),
	}
	for name, grow := range map[string]int64{"copy": 0, "grow": 1, "read": -1} {
		if r[name], err = w.copyRate(size, grow); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// rate returns how many octets a second f gets through, n at a time: the best
// of five tries, since this is a limit.
func rate(n int, f func()) float64 {
	best := 0.0
	for range 5 {
		start, done := time.Now(), 0
		for time.Since(start) < 10*time.Millisecond {
			f()
			done += n
		}
		best = max(best, float64(done)/time.Since(start).Seconds())
	}
	return best
}

// copyRate copies the content from tmpfs to tmpfs. grow is 1 for a copy that
// is longer by what base64 and its line ends take, and -1 for reading alone.
func (w *world) copyRate(size, grow int64) (float64, error) {
	best := 0.0
	for range 2 {
		in, err := os.Open(w.path("body"))
		if err != nil {
			return 0, err
		}
		out, err := os.Create(w.path("copy"))
		if err != nil {
			_ = in.Close() // the first error counts
			return 0, err
		}
		start := time.Now()
		err = copyGrown(out, in, grow)
		took := time.Since(start)
		_, _ = in.Close(), out.Close() // nothing depends on them
		if err != nil {
			return 0, err
		}
		if err = os.Remove(out.Name()); err != nil {
			return 0, err
		}
		best = max(best, float64(size)/took.Seconds())
	}
	return best, nil
}

func copyGrown(out io.Writer, in io.Reader, grow int64) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 && grow >= 0 {
			p := buf[:n]
			if grow > 0 {
				p = buf[:min(len(buf), n*78/57)]
			}
			if _, writeErr := out.Write(p); writeErr != nil {
				return writeErr
			}
			if over := n*78/57 - len(p); grow > 0 && over > 0 {
				if _, writeErr := out.Write(buf[:over]); writeErr != nil {
					return writeErr
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// limit is the least time that a row can take: that of its slowest stage, or
// of all stages on the cores there are when that is more.
func (r rates) limit(row row, size int64) (time.Duration, string) {
	total, slowest, bound := 0.0, 0.0, ""
	for _, stage := range row.stages {
		took := float64(size) / r[stage]
		total += took
		if took > slowest {
			slowest, bound = took, stage
		}
	}
	if share := total / float64(runtime.NumCPU()); share > slowest {
		slowest, bound = share, "all stages"
	}
	return time.Duration(slowest * float64(time.Second)), bound
}

// A machine is what a table was made on.
type machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
}

func describe() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
		}
	}
	return m
}

// MarshalJSON writes whole numbers.
func (r rates) MarshalJSON() ([]byte, error) {
	out := make(map[string]int64)
	for name, v := range r {
		out[name] = int64(v)
	}
	return json.Marshal(out)
}
