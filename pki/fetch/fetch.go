// Package fetch gets certificates of issuers, CRLs and OCSP responses over HTTP,
// and keeps them in a cache on disk. A [Client] is a pki.Fetcher.
//
// It implements the use of HTTP by RFC 5280, Section 4.2.2.1 (issuers'
// certificates), RFC 5280, Section 4.2.1.13 (CRLs) and RFC 6960, Appendix A
// (OCSP, by POST).
//
// # Security
//
// URLs come from certificates, and so from strangers. Only http and https are
// followed; size, time and redirects are limited, and cookies and credentials
// are never sent. Nothing keeps a URL from pointing to a host of the local
// network: whoever must not let strangers make requests there sets
// [Options.Transport] to one that refuses such addresses, or fetches nothing.
// A request also tells the holder of the URL that, and from where, a
// certificate is being checked.
//
// What is fetched is not authenticated here: certificates, CRLs and responses
// have signatures, which package pki checks, also for what comes from the cache.
//
// # Compatibility
//
// Servers are known to give CRLs and certificates as PEM instead of DER; both
// are read. Content types are not looked at.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postseal/postseal/pki"
)

// Errors of a [Client], wrapped in an [*Error].
var (
	// ErrScheme says that a URL is not one of http or https with a host.
	ErrScheme = errors.New("not an http or https URL")
	// ErrTooLarge says that an answer is larger than allowed.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrRedirects says that a server redirects too often.
	ErrRedirects = errors.New("too many redirects")
)

// A StatusError says that a server did not answer with status 200.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
}

// An Error says what could not be fetched.
type Error struct {
	URL string
	Err error
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string { return fmt.Sprintf("fetch %q: %v", e.URL, e.Err) }

// Options are the limits of a [Client]. Zero values are the defaults.
type Options struct {
	// Timeout bounds one request from the first to the last octet; default 20
	// seconds. The context of a call may end it earlier.
	Timeout time.Duration
	// MaxCRL, MaxIssuers and MaxOCSP bound answers, in octets: 64 MiB for CRLs, 1
	// MiB for certificates and 256 KiB for OCSP responses.
	MaxCRL, MaxIssuers, MaxOCSP int64
	// MaxRedirects is how often one request may be redirected; default 3, a
	// negative number for not at all.
	MaxRedirects int
	// Transport makes the requests; nil means one of the Client's own, which
	// uses the proxy of the environment.
	Transport http.RoundTripper
	// Cache keeps what was fetched; nil means that nothing is kept.
	Cache *Cache
}

// A Client fetches over HTTP. It may be used by several goroutines.
type Client struct {
	opts Options
	http *http.Client
}

var _ pki.Fetcher = (*Client)(nil)

// maxHeader bounds the header of an answer, in octets.
const maxHeader = 64 << 10

// New returns a Client. opts may be nil and is copied.
func New(opts *Options) *Client {
	c := &Client{}
	if opts != nil {
		c.opts = *opts
	}
	setDefault(&c.opts.Timeout, 20*time.Second)
	setDefault(&c.opts.MaxCRL, 64<<20)
	setDefault(&c.opts.MaxIssuers, 1<<20)
	setDefault(&c.opts.MaxOCSP, 256<<10)
	setDefault(&c.opts.MaxRedirects, 3)
	if c.opts.Transport == nil {
		c.opts.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2: true, MaxIdleConns: 8, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		}
	}
	c.http = &http.Client{Transport: c.opts.Transport, Timeout: c.opts.Timeout, CheckRedirect: c.redirect}
	return c
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// CloseIdle closes connections that are kept for later requests.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > c.opts.MaxRedirects {
		return ErrRedirects
	}
	req.Header.Del("Referer")
	return clean(req.URL)
}

// clean checks a URL and takes away what is not for strangers to set.
func clean(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ErrScheme
	}
	u.User = nil
	return nil
}

// do makes a request and returns the body of its answer, at most limit octets.
// A nil body means GET.
func (c *Client) do(ctx context.Context, address, accept, contentType string, body []byte, limit int64) ([]byte, error) {
	data, err := c.try(ctx, address, accept, contentType, body, limit)
	if err != nil {
		// The error of net/http says the URL again.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, &Error{URL: address, Err: err}
	}
	return data, nil
}

func (c *Client) try(ctx context.Context, address, accept, contentType string, body []byte, limit int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, ErrScheme
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if err = clean(u); err != nil {
		return nil, err
	}
	method, reader := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		method, reader = http.MethodPost, bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Code: resp.StatusCode}
	}
	if resp.ContentLength > limit {
		return nil, ErrTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, ErrTooLarge
	}
	return data, nil
}
