package certs

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/postseal/postseal/pki"
)

// Limits of stapling.
const (
	// maxStaple bounds a response, in octets: every handshake carries it.
	maxStaple = 16 << 10
	// maxResponders bounds how many responders of one certificate are asked.
	maxResponders = 3
	// stapleTimeout bounds one attempt.
	stapleTimeout = 20 * time.Second
	// endless is how long a response counts that does not say.
	endless = 24 * time.Hour
	// minRefresh and maxRefresh bound when a response is asked for again.
	minRefresh = time.Minute
	maxRefresh = 24 * time.Hour
	// maxRetry bounds the pause after failures.
	maxRetry = time.Hour
	// staplers is how many certificates are asked for at a time.
	staplers = 4
)

// stapling asks for responses when they are due.
func (m *Manager) stapling() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		timer.Reset(m.stapleDue())
	}
}

// stapleDue asks for all responses that are due, and returns how long there is
// nothing to do.
func (m *Manager) stapleDue() time.Duration {
	slots := make(chan struct{}, staplers)
	var group sync.WaitGroup
	entries := m.set.Load().entries
	for _, e := range entries {
		if !m.canStaple(e) || time.Until(e.status.Load().next) > 0 {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			_ = m.staple(e) // it was reported
		})
	}
	group.Wait()
	wait := maxRefresh
	for _, e := range entries {
		if m.canStaple(e) {
			wait = min(wait, time.Until(e.status.Load().next))
		}
	}
	return max(wait, time.Second)
}

// canStaple reports whether there is somebody to ask.
func (m *Manager) canStaple(e *entry) bool {
	return m.opts.OCSP != nil && len(responders(e.leaf)) > 0
}

// responders are the URLs of the responders that can be asked.
func responders(c *pki.Certificate) []string {
	var out []string
	for _, url := range pki.OCSPServers(c) {
		lower := strings.ToLower(url)
		if len(out) < maxResponders && (strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")) {
			out = append(out, url)
		}
	}
	return out
}

// demandStaple gets the first response for a certificate that is not served yet.
// The error wraps [ErrNoStaple].
func (m *Manager) demandStaple(e *entry) error {
	if !m.canStaple(e) {
		return ErrNoStaple
	}
	if err := m.staple(e); err != nil {
		return fmt.Errorf("%w: %w", ErrNoStaple, err)
	}
	return nil
}

// staple asks for a response, and notes and reports what came of it.
func (m *Manager) staple(e *entry) error {
	old, now := e.status.Load(), time.Now()
	single, raw, err := m.ask(e)
	event := Event{Kind: Stapled, File: e.file, Names: e.names}
	next := *old
	switch {
	case err == nil:
		until := single.NextUpdate
		if until.IsZero() {
			until = single.ThisUpdate.Add(endless)
		}
		next = status{stapled: e.with(raw), until: until, next: now.Add(refresh(until.Sub(now)))}
		event.Until = until
	case errors.As(err, new(*pki.RevokedError)):
		// A certificate on hold can become good again.
		next = status{revoked: true, next: now.Add(jitter(maxRetry))}
		event.Kind, event.Err = Revoked, err
	case m.ctx.Err() != nil:
		return err
	default:
		next.failures++
		next.next = now.Add(retry(next.failures))
		event.Kind, event.Err = StapleFailed, err
	}
	e.status.Store(&next)
	if event.Kind != Revoked || !old.revoked {
		m.report(event)
	}
	return err
}

// with returns the certificate with a response.
func (e *entry) with(response []byte) *cryptotls.Certificate {
	c := e.cert
	c.OCSPStaple = response
	return &c
}

// refresh says when to ask again for what counts for a time: about half of it.
func refresh(left time.Duration) time.Duration {
	return min(max(jitter(left/2), minRefresh), maxRefresh)
}

// retry says when to try again after a number of failures.
func retry(failures int) time.Duration {
	return jitter(min(minRefresh<<min(failures-1, 10), maxRetry))
}

// jitter returns a time from 3/4 to 5/4 of d.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(max(d/2, 1))))
}

// ask asks the responders of a certificate until one gives a response that says
// "good" and can be stapled. The error is a *StapleError.
func (m *Manager) ask(e *entry) (*pki.OCSPSingle, []byte, error) {
	ctx, cancel := context.WithTimeout(m.ctx, stapleTimeout)
	defer cancel()
	issuer, err := m.issuerOf(ctx, e)
	if err != nil {
		return nil, nil, &StapleError{Err: err}
	}
	var last error
	for _, url := range responders(e.leaf) {
		single, raw, askErr := m.askOne(ctx, url, e.leaf, issuer)
		if askErr == nil {
			return single, raw, nil
		}
		last = &StapleError{url, askErr}
		if errors.As(askErr, new(*pki.RevokedError)) {
			break
		}
	}
	return nil, nil, last
}

func (m *Manager) askOne(ctx context.Context, url string, leaf, issuer *pki.Certificate) (*pki.OCSPSingle, []byte, error) {
	// What many clients are to get has no nonce: RFC 6960, Section 4.4.1.
	request, err := pki.NewOCSPRequest(leaf, issuer, pki.OCSPRequestOptions{NoNonce: true})
	if err != nil {
		return nil, nil, err
	}
	raw, err := m.opts.OCSP.FetchOCSP(ctx, url, request)
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxStaple {
		return nil, nil, ErrTooLarge
	}
	response, err := pki.ParseOCSPResponse(raw)
	if err != nil {
		return nil, nil, err
	}
	check := pki.Revocation{OCSP: []*pki.OCSPResponse{response}, LeafOnly: true}
	if _, err = check.Check(ctx, []*pki.Certificate{leaf, issuer}); err != nil {
		return nil, nil, err
	}
	single, ok := response.Find(leaf, issuer)
	if !ok || single.Status != pki.RevocationGood {
		return nil, nil, errors.New("the response is not about the certificate")
	}
	return single, response.Raw, nil
}

// An issuerFetcher gets the certificates of issuers, as a fetch.Client does.
type issuerFetcher interface {
	FetchIssuers(ctx context.Context, url string) ([]*pki.Certificate, error)
}

// issuerOf returns the issuer's certificate: from the file, or from where the
// certificate says.
func (m *Manager) issuerOf(ctx context.Context, e *entry) (*pki.Certificate, error) {
	if e.issuer != nil {
		return e.issuer, nil
	}
	fetcher, ok := m.opts.OCSP.(issuerFetcher)
	err := errors.New("the issuer's certificate is not in the file")
	if !ok {
		return nil, err
	}
	for i, url := range pki.IssuerURLs(e.leaf) {
		if i == maxResponders {
			break
		}
		certs, fetchErr := fetcher.FetchIssuers(ctx, url)
		if fetchErr != nil {
			err = fetchErr
			continue
		}
		for _, c := range certs {
			// The signature is needed: what comes over HTTP may be anybody's.
			if c.X509 != nil && issued(c, e.leaf) {
				return c, nil
			}
		}
	}
	return nil, err
}
