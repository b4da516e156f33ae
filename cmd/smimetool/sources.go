package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/internal/recipients"
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

// find asks the sources for an address and judges what they have.
func (a *app) find(f *sourceFlags, t *trustFlags, address string) ([]recipients.Candidate, error) {
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
	judge := &recipients.Judge{Trust: opts.Trust, Time: opts.Time, Allow: opts.Allow, Certificates: opts.Certificates}
	return judge.Find(a.context(), chain, address)
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
