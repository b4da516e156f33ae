package main

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/internal/recipients"
	"github.com/postseal/postseal/keystore"
	certfiles "github.com/postseal/postseal/keystore/files"
	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/keystore/smimea"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane/dnsclient"
	"github.com/postseal/postseal/tls"
)

// sourceTimeout bounds the time of each source of certificates.
const sourceTimeout = 20 * time.Second

// The sources that have names.
const (
	storeSource  = "store"
	smimeaSource = "smimea"
)

// sourceFlags say where certificates of correspondents come from.
type sourceFlags struct {
	names        []string
	all          bool // ask every source
	ldapCA       string
	ldapPassword secret
	resolver     string
}

const sourceUsage = "look for certificates of mail addresses in `SOURCE` (repeatable, in this order; default: $" + sourcesEnv +
	", the configuration, or store): store, smimea (DNS), an LDAP URL, a directory of the configuration, or a file or folder"

func (f *sourceFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.names, "source", nil, sourceUsage)
	flags.StringVar(&f.ldapCA, "ldap-ca", "", "authorities in `FILE` vouch for the servers of LDAP URLs (default: the system's)")
	f.ldapPassword.a = a
	flags.StringVar(&f.ldapPassword.file, "ldap-password-file", "", "the password for the bindname in LDAP URLs is the first line of `FILE`")
	flags.StringVar(&f.resolver, "resolver", "", "`ADDRESS:PORT` of the DNS resolver for smimea, which has to validate DNSSEC (default: the system's)")
	complete(cmd, "source", []string{storeSource, smimeaSource})
	markFiles(cmd, "ldap-ca", "ldap-password-file")
}

// sourceNames returns the names of the sources, in the order of the user's policy.
func (a *app) sourceNames(f *sourceFlags) ([]string, error) {
	if len(f.names) > 0 {
		return f.names, nil
	}
	if env := strings.Fields(os.Getenv(sourcesEnv)); len(env) > 0 {
		return env, nil
	}
	c, err := a.home.settings()
	if err == nil && len(c.Sources) > 0 {
		return c.Sources, nil
	}
	return []string{storeSource}, err
}

// finders opens the sources. A store that is not there has no certificates,
// when nobody named one.
func (a *app) finders(f *sourceFlags) (*keystore.Chain, error) {
	names, err := a.sourceNames(f)
	if err != nil {
		return nil, err
	}
	chain := &keystore.Chain{All: f.all, Timeout: sourceTimeout}
	for _, name := range names {
		if name == smimeaSource {
			chain.Finders = append(chain.Finders, nil) // when the others are known
			continue
		}
		finder, openErr := a.finder(f, name)
		if openErr != nil {
			return nil, openErr
		}
		if finder != nil {
			chain.Finders = append(chain.Finders, finder)
		}
	}
	return chain, a.addSMIMEA(f, chain)
}

// finder opens one source; nil is one that is not there and was not named.
func (a *app) finder(f *sourceFlags, name string) (keystore.Finder, error) {
	c, err := a.home.settings()
	if err != nil {
		return nil, err
	}
	d, isDirectory := c.Directories[name]
	switch {
	case name == storeSource:
		s, storeErr := a.home.there(a.context())
		if s == nil {
			return nil, storeErr
		}
		return s, nil
	case isDirectory:
		return a.directory("directory."+name, &d, &secret{a: a, file: d.PasswordFile})
	case isURL(name):
		return a.directory("--source", &directory{URL: name, CA: f.ldapCA}, &f.ldapPassword)
	}
	if _, err = os.Stat(name); err != nil && !slices.Contains(c.Sources, name) && !strings.ContainsRune(name, os.PathSeparator) {
		return nil, &usageError{"--source: there is no source " + quote(name), []string{
			"the sources are: store, smimea, LDAP URLs (ldaps://HOST/BASE), files and folders with certificates" + directoryNames(c)}}
	}
	return certfiles.New(name, nil), nil
}

func directoryNames(c *config) string {
	var names []string
	for name := range c.Directories {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; and from the configuration " + strings.Join(names, ", ")
}

// isURL tells the URLs of directories from names of files.
func isURL(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && (strings.EqualFold(scheme, "ldap") || strings.EqualFold(scheme, "ldaps"))
}

// directory makes the source of an LDAP directory. where is for errors.
func (a *app) directory(where string, d *directory, password *secret) (keystore.Finder, error) {
	wrong := func(err error) error {
		return &usageError{where + ": " + strings.TrimPrefix(err.Error(), "ldap: "), []string{
			"a directory is named by an URL such as ldaps://ldap.example.org/ou=people,dc=example,dc=org"}}
	}
	opts, err := ldap.ParseURL(d.URL)
	if err != nil {
		return nil, wrong(err)
	}
	if d.Plaintext {
		opts.Mode = tls.InsecurePlaintext
	}
	if opts.BindDN != "" {
		if password.file == "" {
			return nil, &usageError{where + ": the password for the bindname is missing", []string{
				"it is the first line of a file: --ldap-password-file FILE, or password_file in the configuration"}}
		}
		opts.Password = func() ([]byte, error) { return password.ask(d.URL) }
	}
	if d.CA != "" {
		certs, readErr := a.readCerts([]string{d.CA})
		if readErr != nil {
			return nil, readErr
		}
		opts.TLS = &cryptotls.Config{RootCAs: pool(certs)}
	}
	opts.Timeout = sourceTimeout
	finder, err := ldap.New(opts)
	if err != nil {
		return nil, wrong(err)
	}
	return finder, nil
}

// pool has the certificates that crypto/x509 can read.
func pool(certs []*pki.Certificate) *x509.CertPool {
	out := x509.NewCertPool()
	for _, c := range certs {
		if c.X509 != nil {
			out.AddCert(c.X509)
		}
	}
	return out
}

// addSMIMEA puts the DNS where a nil stands. Where its records have hashes alone,
// the certificates come from the other sources.
func (a *app) addSMIMEA(f *sourceFlags, chain *keystore.Chain) error {
	at := slices.Index(chain.Finders, nil)
	if at < 0 {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(chain.Finders), func(one keystore.Finder) bool { return one == nil })
	client, err := a.resolver(f)
	if err != nil {
		return err
	}
	finder, err := smimea.New(client, &smimea.Options{Candidates: &keystore.Chain{Finders: others, All: true}})
	if err != nil {
		return err
	}
	chain.Finders[at] = finder
	chain.Finders = slices.DeleteFunc(chain.Finders, func(one keystore.Finder) bool { return one == nil })
	return nil
}

func (a *app) resolver(f *sourceFlags) (*dnsclient.Client, error) {
	c, err := a.home.settings()
	if err != nil {
		return nil, err
	}
	address := f.resolver
	if address == "" {
		address = c.Resolver
	}
	opts := &dnsclient.Options{}
	if address == "" {
		opts.Servers, err = dnsclient.SystemServers(dnsclient.ResolvConf)
	} else {
		var server netip.AddrPort
		if server, err = netip.ParseAddrPort(address); err != nil {
			return nil, &usageError{"--resolver: " + quote(address) + " is not an address and a port", []string{"such as 127.0.0.1:53"}}
		}
		opts.Servers = []netip.AddrPort{server}
	}
	if err != nil {
		return nil, err
	}
	return dnsclient.New(opts)
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
