package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/smime"
)

// A small is a figure of small mail.
type small struct {
	Name    string  `json:"name"`
	Rate    float64 `json:"rate"`     // messages a second on one core
	KeyRate float64 `json:"key_rate"` // of the bare operations with keys
	Bare    float64 `json:"bare"`     // of these with the digest, or the cipher, of the content
	All     float64 `json:"all"`      // messages a second on all cores
	BareAll float64 `json:"bare_all"` // Bare on all cores: what they can do
	Allocs  float64 `json:"allocs"`   // per message
	Octets  float64 `json:"octets"`   // allocated per message
}

var smallHeads = []string{
	"operation", "one core", "the key alone", "cost above it", "key and digest or cipher alone", "left for S/MIME",
	"all cores", "times one core (without S/MIME)", "allocations", "KiB allocated",
}

func (s *small) cells() []string {
	whole := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	left := 1/s.Rate - 1/s.Bare // seconds
	return []string{
		s.Name, whole(s.Rate), whole(s.KeyRate), fmt.Sprintf("%.0f %%", 100*(s.KeyRate/s.Rate-1)), whole(s.Bare),
		fmt.Sprintf("%.0f µs, %.0f %%", left*1e6, 100*left*s.Rate), whole(s.All),
		fmt.Sprintf("%.1f (%.1f)", s.All/s.Rate, s.BareAll/s.Bare), whole(s.Allocs), whole(s.Octets / 1024),
	}
}

const smallSize = 10 << 10

// smallKinds are the keys that are measured.
var smallKinds = []testpki.KeyType{testpki.RSA2048, testpki.P256, testpki.Ed25519}

// A job is what a figure is made of: one message, the bare key operation, and what
// has to be done with the content.
type job struct {
	name    string
	message func() error
	key     func() error
	content func()
}

// bare does what cannot be avoided.
func (j *job) bare() error {
	j.content()
	return j.key()
}

// gcPercent lets a small heap grow to 16 MiB before garbage is collected, as
// mailproxy does. By default that is 4 MiB, which are a few hundred messages.
const gcPercent = 400

// measureSmall measures the packages themselves.
func measureSmall(ctx context.Context, o *options, stderr io.Writer) ([]*small, error) {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	ca, err := testpki.NewCA("Small CA")
	if err != nil {
		return nil, err
	}
	var out []*small
	for _, kind := range smallKinds {
		jobs, jobErr := smallJobs(ca, kind)
		if jobErr != nil {
			return nil, jobErr
		}
		for _, j := range jobs {
			if !o.rows.MatchString(j.name) {
				continue
			}
			s, runErr := j.run(o.small)
			if runErr != nil {
				return nil, fmt.Errorf("%s: %w", j.name, runErr)
			}
			out = append(out, s)
			fmt.Fprintln(stderr, strings.Join(s.cells(), "; "))
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return out, nil
}

// run measures a job. The message and the key take turns, so that what else
// the machine does strikes both. On one core means that garbage is collected there,
// too.
func (j *job) run(d time.Duration) (*small, error) {
	s := &small{Name: j.name}
	const turns = 5
	cores := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(cores)
	var err error
	for range turns {
		for _, m := range []struct {
			out   *float64
			cores int
			f     func() error
		}{{&s.Rate, 1, j.message}, {&s.KeyRate, 1, j.key}, {&s.Bare, 1, j.bare}, {&s.All, cores, j.message}, {&s.BareAll, cores, j.bare}} {
			runtime.GOMAXPROCS(m.cores)
			rate, runErr := repeat(d/turns, m.cores, m.f)
			if runErr != nil {
				return nil, runErr
			}
			*m.out = max(*m.out, rate)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const count = 50
	for range count {
		if err = j.message(); err != nil {
			return nil, err
		}
	}
	runtime.ReadMemStats(&after)
	s.Allocs = float64(after.Mallocs-before.Mallocs) / count
	s.Octets = float64(after.TotalAlloc-before.TotalAlloc) / count
	return s, nil
}

// repeat calls f again and again on some cores, and returns the rate.
func repeat(d time.Duration, cores int, f func() error) (float64, error) {
	type done struct {
		n   int
		err error
	}
	results := make(chan done, cores)
	start := time.Now()
	for range cores {
		go func() {
			var r done
			for r.err == nil && (r.n == 0 || time.Since(start) < d) {
				r.err = f()
				r.n++
			}
			results <- r
		}()
	}
	total := 0
	var err error
	for range cores {
		r := <-results
		total += r.n
		if r.err != nil {
			err = r.err
		}
	}
	return float64(total) / time.Since(start).Seconds(), err
}

// smallMail returns a message of 10 KiB.
func smallMail(size int) []byte {
	var b bytes.Buffer
	b.WriteString(header + "Content-Transfer-Encoding: 7bit\r\n\r\n")
	for n := 0; b.Len() < size; n++ {
		b.WriteString("line " + strconv.Itoa(100000+n) + " of a message of the usual size, with lines of the usual size\r\n")
	}
	return b.Bytes()
}

// smallJobs returns the jobs with keys of one kind.
func smallJobs(ca *testpki.CA, kind testpki.KeyType) ([]job, error) {
	p, err := ca.Issue(testpki.Profile{Name: "Alice", Email: "alice@example.test", Key: kind})
	if err != nil {
		return nil, err
	}
	signer, ok := p.Key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%v is no key to sign with", kind)
	}
	mail := smallMail(smallSize)
	signers := []cms.Signer{cms.NewSigner(p.Cert, signer)}
	roots := cms.TrustRoots(p.Chain[len(p.Chain)-1])
	sign := func(dst io.Writer) error { return pour(mail)(smime.Sign(dst, signers, nil)) }
	signKey, verifyKey := keyJobs(signer)
	digest := digestJob(signer, mail)
	var signed bytes.Buffer
	if err = sign(&signed); err != nil {
		return nil, err
	}
	jobs := []job{
		{fmt.Sprintf("sign, %v", kind), func() error { return sign(io.Discard) }, signKey, digest},
		{fmt.Sprintf("verify, %v", kind), func() error { return read(signed.Bytes(), &smime.ReadOptions{Trust: roots}) }, verifyKey, digest},
	}
	if kind == testpki.Ed25519 {
		return jobs, nil // nobody encrypts to such keys
	}
	encrypt, decrypt, err := secretJobs(p, mail)
	if err != nil {
		return nil, err
	}
	encrypt.name, decrypt.name = fmt.Sprintf("encrypt, %v", kind), fmt.Sprintf("decrypt, %v", kind)
	return append(jobs, encrypt, decrypt), nil
}

// pour returns a function that writes a message to a writer, and ends it.
func pour(mail []byte) func(io.WriteCloser, error) error {
	return func(w io.WriteCloser, err error) error {
		if err != nil {
			return err
		}
		if _, err = w.Write(mail); err != nil {
			return err
		}
		return w.Close()
	}
}

// read opens a message to its end.
func read(message []byte, opts *smime.ReadOptions) error {
	m, err := smime.Read(bytes.NewReader(message), opts)
	if err != nil {
		return err
	}
	if _, err = m.WriteTo(io.Discard); err != nil {
		return err
	}
	return m.Close()
}

// keyJobs are the bare signature of a digest, and its verification.
func keyJobs(key crypto.Signer) (sign, verify func() error) {
	digest := sha256.Sum256([]byte("content"))
	message, opts := digest[:], crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		long := sha512.Sum512([]byte("content"))
		message, opts = long[:], crypto.Hash(0)
	}
	sign = func() error {
		_, err := key.Sign(rand.Reader, message, opts)
		return err
	}
	signature, err := key.Sign(rand.Reader, message, opts)
	verify = func() error {
		switch pub := key.Public().(type) {
		case *rsa.PublicKey:
			return rsa.VerifyPKCS1v15(pub, crypto.SHA256, message, signature)
		case *ecdsa.PublicKey:
			if !ecdsa.VerifyASN1(pub, message, signature) {
				return rsa.ErrVerification
			}
		case ed25519.PublicKey:
			if !ed25519.Verify(pub, message, signature) {
				return rsa.ErrVerification
			}
		}
		return err
	}
	return sign, verify
}

// digestJob is the digest of a message that is signed with key.
func digestJob(key crypto.Signer, mail []byte) func() {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return func() { sha512.Sum512(mail) }
	}
	return func() { sha256.Sum256(mail) }
}

// secretJobs encrypt and decrypt. The bare operation on a curve is one new key
// and one agreement to encrypt, and one agreement to decrypt.
func secretJobs(p *testpki.Person, mail []byte) (encrypt, decrypt job, err error) {
	id := cms.NewIdentity(p.Cert, p.Key)
	to := []cms.Recipient{cms.NewRecipient(p.Cert)}
	seal := func(dst io.Writer) error { return pour(mail)(smime.Encrypt(dst, to, nil)) }
	var sealed bytes.Buffer
	if err = seal(&sealed); err != nil {
		return encrypt, decrypt, err
	}
	if encrypt.content, decrypt.content, err = cipherJobs(mail); err != nil {
		return encrypt, decrypt, err
	}
	encrypt.message = func() error { return seal(io.Discard) }
	opts := &smime.ReadOptions{Trust: cms.InsecureTrustAnySigner, Identities: []cms.Identity{id}}
	decrypt.message = func() error { return read(sealed.Bytes(), opts) }
	switch key := p.Key.(type) {
	case *rsa.PrivateKey:
		secret := make([]byte, 32)
		wrapped, wrapErr := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, secret, nil)
		if wrapErr != nil {
			return encrypt, decrypt, wrapErr
		}
		encrypt.key = func() error {
			_, keyErr := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, secret, nil)
			return keyErr
		}
		decrypt.key = func() error {
			_, keyErr := rsa.DecryptOAEP(sha256.New(), nil, key, wrapped, nil)
			return keyErr
		}
	case *ecdsa.PrivateKey:
		own, keyErr := key.ECDH()
		if keyErr != nil {
			return encrypt, decrypt, keyErr
		}
		decrypt.key = func() error {
			_, agreeErr := own.ECDH(own.PublicKey())
			return agreeErr
		}
		encrypt.key = func() error {
			fresh, agreeErr := ecdh.P256().GenerateKey(rand.Reader)
			if agreeErr == nil {
				_, agreeErr = fresh.ECDH(own.PublicKey())
			}
			return agreeErr
		}
	}
	return encrypt, decrypt, nil
}

// cipherJobs are the bare cipher over a message, which is AES-256-GCM where nothing
// else is said.
func cipherJobs(mail []byte) (encrypt, decrypt func(), err error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	sealed := gcm.Seal(nil, nonce, mail, nil)
	rooms := sync.Pool{New: func() any { room := make([]byte, 0, len(sealed)); return &room }}
	use := func(f func(room []byte)) func() {
		return func() {
			room, _ := rooms.Get().(*[]byte) // nothing else is in there
			f(*room)
			rooms.Put(room)
		}
	}
	encrypt = use(func(room []byte) { gcm.Seal(room, nonce, mail, nil) })
	decrypt = use(func(room []byte) { _, _ = gcm.Open(room, nonce, sealed, nil) }) // it is what was sealed
	return encrypt, decrypt, nil
}
