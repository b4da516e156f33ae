package certs

import (
	"context"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// When a server is asked for its suggestion again.
const (
	suggestTimeout  = time.Minute
	minSuggestAgain = 10 * time.Minute
	maxSuggestAgain = 24 * time.Hour
	// suggestAgain is where it does not say.
	suggestAgain = 6 * time.Hour
)

// A suggestion is when a server wants a certificate to be renewed (RFC 9773).
type suggestion struct {
	leaf  []byte // the certificate; nil if there is none, or the server does not say
	info  acme.RenewalInfo
	again time.Time // when to ask again
}

// suggest asks the server when it wants what is served to be renewed. A server that
// does not say is no failure: then only the certificate counts.
func (a *issuer) suggest(o *order) {
	e := a.current(o)
	if e == nil || time.Now().Before(o.suggestion.again) && slices.Equal(o.suggestion.leaf, e.leaf.Raw) {
		return
	}
	ctx, cancel := context.WithTimeout(a.m.ctx, suggestTimeout)
	defer cancel()
	old := o.suggestion
	o.suggestion = suggestion{leaf: e.leaf.Raw, again: time.Now().Add(jitter(suggestAgain))}
	info, err := a.client.GetRenewalInfo(ctx, e.cert.Leaf)
	if err != nil {
		if slices.Equal(old.leaf, e.leaf.Raw) {
			o.suggestion.info = old.info
		}
		return
	}
	if slices.Equal(old.leaf, e.leaf.Raw) && info.SameWindow(old.info) {
		info.SelectedTime = old.info.SelectedTime // one time is chosen for a window
	}
	o.suggestion.info = info
	if info.RetryAfter != nil {
		// RFC 9773, Section 4.3.2: reasonable limits for what it says.
		wait := min(max(time.Until(*info.RetryAfter), minSuggestAgain), maxSuggestAgain)
		o.suggestion.again = time.Now().Add(wait)
	}
}

// suggested returns when the server wants a certificate to be renewed; ok is false
// if it does not say.
func (o *order) suggested(e *entry) (at time.Time, ok bool) {
	at = o.suggestion.info.SelectedTime
	return at, !at.IsZero() && slices.Equal(o.suggestion.leaf, e.leaf.Raw)
}
