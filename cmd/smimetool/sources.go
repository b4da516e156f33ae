package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/pki"
)

// sourceTimeout bounds the time of each source of certificates.
const sourceTimeout = 20 * time.Second

// storeSource names the store among the sources.
const storeSource = "store"

// sourceFlags say where certificates of correspondents come from.
type sourceFlags struct {
	names []string
	all   bool // ask every source
}

const sourceUsage = "look for certificates of mail addresses in `SOURCE` (repeatable, in this order; default: $" + sourcesEnv + ", or store): store"

func (f *sourceFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.names, "source", nil, sourceUsage)
	complete(cmd, "source", []string{storeSource})
}

// list returns the names of the sources.
func (f *sourceFlags) list() []string {
	if len(f.names) > 0 {
		return f.names
	}
	if env := strings.Fields(os.Getenv(sourcesEnv)); len(env) > 0 {
		return env
	}
	return []string{storeSource}
}

// finders opens the sources. A store that is not there has no certificates,
// when nobody named one.
func (a *app) finders(f *sourceFlags) (*keystore.Chain, error) {
	chain := &keystore.Chain{All: f.all, Timeout: sourceTimeout}
	for _, name := range f.list() {
		switch {
		case name == storeSource:
			s, err := a.home.there(a.context())
			if err != nil {
				return nil, err
			}
			if s != nil {
				chain.Finders = append(chain.Finders, s)
			}
		default:
			return nil, &usageError{"--source: there is no source " + quote(name), []string{"the sources are: " + storeSource}}
		}
	}
	return chain, nil
}

// A candidate is a certificate that was found, with the verdict on it.
type candidate struct {
	keystore.Found
	err       error // why it is not used; nil for one that can be
	untrusted bool  // nobody says that it is the one of its holder, and nothing else is wrong
}

// find asks the sources for an address and judges what they have: a
// certificate is used when its source vouches for it, or a path leads to an
// authority that is trusted.
func (a *app) find(f *sourceFlags, t *trustFlags, address string) ([]candidate, error) {
	if _, err := keystore.NormalizeAddress(address); err != nil {
		return nil, usagef("not a mail address: %s", quote(address))
	}
	chain, err := a.finders(f)
	if err != nil {
		return nil, err
	}
	opts, err := a.verifyOptions(t)
	if err != nil {
		return nil, err
	}
	found, err := chain.Find(a.context(), address)
	out := make([]candidate, len(found))
	for i, one := range found {
		out[i] = candidate{Found: one, err: one.Err}
		if one.Err == nil && !one.Vouched {
			out[i].err = opts.Trust.TrustSigner(&cms.TrustRequest{Certificate: one.Certificate, Time: opts.Time, Allow: opts.Allow,
				Intermediates: append(one.Chain[:len(one.Chain):len(one.Chain)], opts.Certificates...)})
			out[i].untrusted = out[i].err != nil
		}
	}
	return out, err
}

// choose returns the certificate that is used, or nil.
func choose(found []candidate) *candidate {
	for i := range found {
		if found[i].err == nil {
			return &found[i]
		}
	}
	return nil
}

// issuerOf names the issuer of a certificate for people.
func issuerOf(c *pki.Certificate) string {
	switch {
	case pki.NamesEqual(c.RawIssuer, c.RawSubject):
		return "itself"
	case c.Issuer() == "":
		return "nobody"
	}
	return c.Issuer()
}
