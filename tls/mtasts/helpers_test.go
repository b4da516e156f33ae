package mtasts

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki/dane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"

var theCA = sync.OnceValues(func() (*testpki.CA, error) { return testpki.NewCA("Web root") })

// A web is an HTTPS server for mta-sts.example.org, which answers as it is told.
type web struct {
	addr  string
	roots *x509.CertPool
	hits  atomic.Int32

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newWeb(tb testing.TB, edit func(*x509.Certificate)) *web {
	tb.Helper()
	ca, err := theCA()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := ca.Issue(testpki.Profile{Name: "web", NoEmail: true, Key: testpki.P256, Edit: func(c *x509.Certificate) {
		c.DNSNames = []string{"mta-sts.example.org"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if edit != nil {
			edit(c)
		}
	}})
	if err != nil {
		tb.Fatal(err)
	}
	w := &web{roots: x509.NewCertPool()}
	w.roots.AddCert(ca.Cert)
	w.says(good)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.hits.Add(1)
		w.mu.Lock()
		answer := w.answer
		w.mu.Unlock()
		answer(rw, r)
	}))
	s.TLS = &cryptotls.Config{Certificates: []cryptotls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	tb.Cleanup(s.Close)
	w.addr = s.Listener.Addr().String()
	return w
}

func (w *web) set(answer http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// says has it answer with a policy, if it is asked for the right thing.
func (w *web) says(text string) {
	w.set(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host != "mta-sts.example.org" || r.URL.Path != "/.well-known/mta-sts.txt" || r.Method != http.MethodGet {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(rw, text)
	})
}

func (w *web) fails() {
	w.set(func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, "no", http.StatusInternalServerError) })
}

func (w *web) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if address != "mta-sts.example.org:443" {
		return nil, errors.New("connects to " + address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", w.addr)
}

// A zone answers for TXT records alone.
type zone struct {
	dane.Resolver
	mu  sync.Mutex
	txt []string
	err error
}

func (z *zone) set(err error, txt ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.txt, z.err = txt, err
}

func (z *zone) LookupTXT(ctx context.Context, name string) (*dane.Answer[string], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, &dane.LookupError{Name: name, Type: "TXT", Reason: dane.Canceled, Err: ctx.Err()}
	case z.err != nil:
		return nil, z.err
	case name != "_mta-sts.example.org":
		return &dane.Answer[string]{NXDomain: true, Name: name}, nil
	}
	return &dane.Answer[string]{Records: z.txt, Name: name}, nil
}

// A clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A stage has all that a client needs. The clock of certificates is that of the
// client, so they live for ten years.
type stage struct {
	*Client
	web   *web
	zone  *zone
	clock *clock
}

func newStage(tb testing.TB, cache *Cache) *stage {
	tb.Helper()
	s := &stage{zone: &zone{}, clock: &clock{now: time.Now()}}
	s.web = newWeb(tb, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(10, 0, 0) })
	s.zone.set(nil, "v=STSv1; id=1;")
	if cache == nil {
		cache = NewMemoryCache(nil)
	}
	s.restart(tb, cache)
	return s
}

// restart makes a new client.
func (s *stage) restart(tb testing.TB, cache *Cache) {
	tb.Helper()
	var err error
	s.Client, err = New(&Options{Resolver: s.zone, Cache: cache, Roots: s.web.roots, Dial: s.web.dial, Time: s.clock.Now, Timeout: 5 * time.Second})
	if err != nil {
		tb.Fatal(err)
	}
}

// look looks example.org up and compares what comes of it: the mode or "", and how
// often the web was asked since the last time.
func (s *stage) look(t *testing.T, mode Mode, hits int32, trouble func(error) bool) *Result {
	t.Helper()
	s.web.hits.Store(0)
	r, err := s.Lookup(t.Context(), "Example.ORG.")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	got := Mode("")
	if r.Policy != nil {
		got = r.Policy.Mode
	}
	if got != mode || s.web.hits.Load() != hits || r.Domain != "example.org" || r.Policy != nil && r.Expires != r.Fetched.Add(r.Policy.MaxAge) {
		t.Errorf("mode %q after %d requests: %+v", got, s.web.hits.Load(), r)
	}
	if !trouble(r.Trouble) {
		t.Errorf("trouble: %v", r.Trouble)
	}
	return r
}

func no(err error) bool { return err == nil }

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

func faulty(f Fault) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*FetchError](err)
		return ok && e.Fault == f
	}
}
