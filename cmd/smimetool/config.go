package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
)

// configEnv names another configuration.
const configEnv = "SMIMETOOL_CONFIG"

// A config is the user's configuration, which all commands find by themselves.
type config struct {
	Store       string               `toml:"store"`
	Sources     []string             `toml:"sources"`
	Trust       []string             `toml:"trust"`
	Identities  []string             `toml:"identities"`
	Resolver    string               `toml:"resolver"`
	Directories map[string]directory `toml:"directory"`

	path string
	read bool // there is one
}

// A directory is one of LDAP.
type directory struct {
	URL          string `toml:"url"`
	CA           string `toml:"ca"`            // file with authorities that vouch for the server; "": the system's
	PasswordFile string `toml:"password_file"` // its first line is that of the bindname in URL
	Plaintext    bool   `toml:"insecure_plaintext"`
}

const configExample = `# The configuration of smimetool. Every line may be left out; lines that begin with
# a # show the default or an example. Relative names of files are relative to this
# folder, and ~ is the home folder.

# store = "store.db"        # identities and certificates (default: in your data folder)

# Where certificates of mail addresses are looked for, in this order: "store";
# "smimea" (the DNS, RFC 8162); a file or a folder with certificates; an LDAP URL, or
# the name of a directory below. The first certificate that can be used is used.
sources = ["store"]
# sources = ["store", "work", "~/certificates", "smimea"]

# Authorities that are trusted beside those in the store.
# trust = ["company-root.pem"]

# Identities beside those in the store: files, or tokens such as smart cards.
# identities = ["old.p12", "pkcs11:token=Alice?module-name=opensc-pkcs11"]

# The resolver for smimea, which has to validate DNSSEC (default: the system's).
# resolver = "127.0.0.1:53"

# [directory.work]
# url = "ldaps://ldap.example.org/ou=people,dc=example,dc=org"
# A filter (default: mail, proxyAddresses and the like), and a name to log in with:
# url = "ldap://ldap.example.org/dc=example,dc=org??sub?(mail={address})?bindname=cn=me%2cdc=example%2cdc=org"
# password_file = "ldap-password"
# ca = "company-root.pem"   # vouches for the server (default: the system's authorities)
# insecure_plaintext = false
`

// A configError says what is wrong with the configuration.
type configError struct {
	file    string
	line    int    // 0: of the whole
	problem string // what was expected
	hint    string
}

func (e *configError) Error() string {
	if e.line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.problem)
	}
	return e.file + ": " + e.problem
}

// maxConfig bounds it, in octets.
const maxConfig = 1 << 20

// settings returns the configuration, which is read once. Where there is none it is
// an empty one, unless it was named.
func (h *home) settings() (*config, error) {
	if h.config != nil {
		return h.config, nil
	}
	c, err := readConfig()
	if err == nil {
		h.config = c
	}
	return c, err
}

func configPath() (path string, named bool, err error) {
	if path = os.Getenv(configEnv); path != "" {
		return path, true, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false, nil // a system without one has no configuration
	}
	return filepath.Join(dir, "postseal", "smimetool.toml"), false, nil
}

func readConfig() (*config, error) {
	path, named, err := configPath()
	if err != nil || path == "" {
		return &config{}, err
	}
	file, err := os.Open(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return &config{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if err = checkOwn(file); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, &configError{file: path, problem: "has more than 1 MiB, which no configuration has"}
	}
	return parseConfig(path, string(text))
}

// checkOwn refuses what others could have written: a configuration names whom to
// trust, and modules that are run.
func checkOwn(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && writableByOthers(info) {
		return &configError{file: file.Name(), problem: "others may write to this file", hint: "chmod go-w " + file.Name()}
	}
	return nil
}

func parseConfig(path, text string) (*config, error) {
	c := &config{path: path, read: true}
	meta, err := toml.Decode(text, c)
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, &configError{file: path, line: pe.Position.Line, problem: pe.Message}
	}
	if err != nil {
		return nil, &configError{file: path, problem: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, &configError{file: path, line: lineOf(text, unknown[0]), problem: "there is no key " + quote(unknown[0].String()),
			hint: "smimetool config --example shows all keys"}
	}
	if c.Resolver != "" {
		if _, err = netip.ParseAddrPort(c.Resolver); err != nil {
			return nil, &configError{file: path, problem: "resolver: " + quote(c.Resolver) + " is not an address and a port, such as 127.0.0.1:53"}
		}
	}
	for name := range c.Directories {
		if name == storeSource || name == smimeaSource || strings.ContainsAny(name, ":/\\") {
			return nil, &configError{file: path, problem: "a directory cannot be called " + quote(name)}
		}
	}
	c.resolve()
	return c, nil
}

// lineOf finds the line of a key, 0 when it cannot be told.
func lineOf(text string, key toml.Key) int {
	for i, line := range strings.Split(text, "\n") {
		name, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(line), "[]"), "=")
		name = strings.TrimSpace(name)
		if name == key[len(key)-1] || name == key.String() {
			return i + 1
		}
	}
	return 0
}

// resolve makes names of files ones that can be opened from anywhere.
func (c *config) resolve() {
	base := filepath.Dir(c.path)
	place := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			if home, err := os.UserHomeDir(); err == nil {
				return filepath.Join(home, rest)
			}
		}
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(base, name)
	}
	c.Store = place(c.Store)
	for i, name := range c.Trust {
		c.Trust[i] = place(name)
	}
	for i, name := range c.Identities {
		if !isToken(name) {
			c.Identities[i] = place(name)
		}
	}
	for i, name := range c.Sources {
		if _, directory := c.Directories[name]; !directory && name != storeSource && name != smimeaSource && !isURL(name) {
			c.Sources[i] = place(name)
		}
	}
	for name, d := range c.Directories {
		d.CA, d.PasswordFile = place(d.CA), place(d.PasswordFile)
		c.Directories[name] = d
	}
}

const configLong = `
Shows the configuration that all commands find by themselves: where it is, and what
counts where it says nothing. It is a file in TOML; without one, everything is in
your store.

  smimetool config --example >FILE     writes one with all keys explained
`

func newConfig(a *app) *cobra.Command {
	var example bool
	cmd := a.newCommand("config [--example]", "Show the configuration", configLong, 0, func([]string) error { return a.showConfig(example) })
	cmd.Flags().BoolVar(&example, "example", false, "print a configuration with all keys explained")
	return cmd
}

func (a *app) showConfig(example bool) error {
	if example {
		_, err := io.WriteString(a.stdout, configExample)
		return err
	}
	c, err := a.home.settings()
	if err != nil {
		return err
	}
	state := "there is none; smimetool config --example shows what can be in it"
	if c.read {
		state = "read"
	}
	path, err := a.home.place()
	if err != nil {
		return err
	}
	sources, err := a.sourceNames(&sourceFlags{})
	if err != nil {
		return err
	}
	rows := [][2]string{{"configuration", c.path + " (" + state + ")"}, {"store", path}, {"sources", strings.Join(sources, ", ")},
		{"trust", cmp.Or(strings.Join(append([]string{"the store"}, c.Trust...), ", "))},
		{"identities", strings.Join(append([]string{"the store"}, c.Identities...), ", ")}}
	var names []string
	for name := range c.Directories {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		rows = append(rows, [2]string{"directory " + name, c.Directories[name].URL})
	}
	for _, row := range rows {
		if _, err = fmt.Fprintf(a.stdout, "%-14s %s\n", row[0]+":", printable(row[1])); err != nil {
			return err
		}
	}
	return nil
}
