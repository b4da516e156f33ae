package mtasts

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/postseal/postseal/pki/dane"
)

// Fault says, for a program, why a policy was not to be had.
type Fault int

// The faults.
const (
	NotReached     Fault = iota + 1 // no connection, or no answer
	BadCertificate                  // the certificate is not one for the host
	BadStatus                       // the answer is an error, or a redirect
	BadType                         // the answer is not plain text
	BadPolicy                       // the answer is not a policy
)

// String returns the fault in words.
func (f Fault) String() string {
	words := [...]string{NotReached: "the web server cannot be reached", BadCertificate: "the web server's certificate is not good",
		BadStatus: "the web server does not have it", BadType: "it is not plain text", BadPolicy: "it is malformed"}
	if f < 1 || int(f) >= len(words) {
		return fmt.Sprintf("fault %d", int(f))
	}
	return words[f]
}

// A FetchError says why a policy was not to be had.
type FetchError struct {
	URL   string
	Fault Fault
	// Status is the code of the answer, or 0 if there was none.
	Status int
	Err    error // the cause, or nil
}

// Error returns a sentence.
func (e *FetchError) Error() string {
	s := fmt.Sprintf("the policy at %s could not be had: %v", e.URL, e.Fault)
	if e.Fault == BadStatus {
		s += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// URL returns where the policy of a domain is (RFC 8461, Section 3.3).
func URL(domain string) string { return "https://" + hostOf(domain) + "/.well-known/mta-sts.txt" }

func hostOf(domain string) string { return "mta-sts." + domain }

// Fetch gets the policy of a domain from the web, without a look at its record and
// the cache. The error is a *FetchError, or a *dane.LookupError with Reason BadName.
func (c *Client) Fetch(ctx context.Context, domain string) (*Policy, error) {
	domain, err := clean(domain)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	text, err := c.get(ctx, URL(domain), hostOf(domain))
	if err != nil {
		return nil, err
	}
	p, err := ParsePolicy(text)
	if err != nil {
		return nil, &FetchError{URL: URL(domain), Fault: BadPolicy, Status: http.StatusOK, Err: err}
	}
	return p, nil
}

// get is an HTTPS GET by the rules of RFC 8461, Section 3.3. Each one has a
// connection of its own, which is closed.
func (c *Client) get(ctx context.Context, url, host string) ([]byte, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return c.dial(ctx, host, address) },
		TLSClientConfig: &cryptotls.Config{
			ServerName: host, RootCAs: c.opts.Roots, MinVersion: cryptotls.VersionTLS12, Time: c.opts.Time,
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // Section 3.3: redirects must not be followed
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, &FetchError{URL: url, Fault: NotReached, Err: err}
	}
	request.Header.Set("User-Agent", "postseal")
	response, err := client.Do(request)
	if err != nil {
		fault := NotReached
		if errors.As(err, new(*cryptotls.CertificateVerificationError)) {
			fault = BadCertificate
		}
		return nil, &FetchError{URL: url, Fault: fault, Err: errors.Unwrap(err)}
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, &FetchError{URL: url, Fault: BadStatus, Status: response.StatusCode}
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || !strings.EqualFold(kind, "text/plain") {
		return nil, &FetchError{URL: url, Fault: BadType, Status: response.StatusCode}
	}
	// One octet more than allowed, so that ParsePolicy sees that it is too long.
	text, err := io.ReadAll(io.LimitReader(response.Body, MaxSize+1))
	if err != nil {
		return nil, &FetchError{URL: url, Fault: NotReached, Status: response.StatusCode, Err: err}
	}
	return text, nil
}

// maxAddresses is how many addresses of the web server are tried.
const maxAddresses = 8

// dial connects to a host whose addresses our own resolver knows.
func (c *Client) dial(ctx context.Context, host, address string) (net.Conn, error) {
	if c.opts.Dial != nil {
		return c.opts.Dial(ctx, "tcp", address)
	}
	var addrs []netip.Addr
	var first error
	for _, lookup := range []func(context.Context, string) (*dane.Answer[netip.Addr], error){c.opts.Resolver.LookupAAAA, c.opts.Resolver.LookupA} {
		answer, err := lookup(ctx, host)
		if err == nil {
			addrs = append(addrs, answer.Records...)
		} else if first == nil {
			first = err
		}
	}
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(a, 443).String())
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errNoAddress
	}
	return nil, first
}

var errNoAddress = errors.New("the host has no address")
