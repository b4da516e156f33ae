package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/keystore/pkcs11"
)

// A validator collects what is wrong with a configuration.
type validator struct {
	c     *Config
	file  string
	lines map[string]int
	meta  *toml.MetaData
	errs  Errors
}

// fail notes an error about a key; its line is that of the key or, where it is
// missing, of the table it belongs to.
func (v *validator) fail(key, format string, args ...any) {
	line := 0
	for at := key; at != "" && line == 0; {
		line = v.lines[at]
		dot := strings.LastIndexByte(at, '.')
		at = at[:max(dot, 0)]
	}
	v.errs = append(v.errs, &Error{File: v.file, Line: line, Key: key, Want: fmt.Sprintf(format, args...)})
}

// need notes a key that is missing.
func (v *validator) need(key, value, what string) bool {
	if value == "" {
		v.fail(key, "%s is needed here", what)
	}
	return value != ""
}

// oneOf notes a value that is none of those that are known.
func (v *validator) oneOf(key, value string, known ...string) bool {
	ok := slices.Contains(known, value)
	if !ok {
		v.fail(key, "%q is none of its values, which are: %s", value, strings.Join(known, ", "))
	}
	return ok
}

func (v *validator) all() {
	v.server()
	if len(v.c.Listeners) == 0 && v.c.Milter.Address == "" {
		v.fail("listener", "at least one [[listener]] is needed, or [milter]")
	}
	v.milter()
	addresses := make(map[string]bool)
	for i := range v.c.Listeners {
		v.listener(fmt.Sprintf("listener[%d].", i), &v.c.Listeners[i], addresses)
	}
	v.domains()
	logins := make(map[string]bool)
	for i := range v.c.Accounts {
		v.account(fmt.Sprintf("account[%d].", i), &v.c.Accounts[i], logins)
	}
	v.rules()
	v.rest()
	v.limits()
}

func (v *validator) milter() {
	const key = "milter.address"
	m := &v.c.Milter
	name, isUnix := strings.CutPrefix(m.Address, Unix)
	switch {
	case m.Address == "" && len(m.Trusted) > 0:
		v.need(key, "", "an address")
	case isUnix:
		v.need(key, name, "the name of a socket behind "+Unix)
	case m.Address != "":
		v.address(key, m.Address)
	}
}

func (v *validator) server() {
	s := &v.c.Server
	if s.Name == "" {
		name, err := os.Hostname()
		if err != nil || !isHost(name) {
			name = "localhost"
		}
		s.Name = name
	}
	if !isHost(s.Name) {
		v.fail("server.name", "%q is not the name of a host", s.Name)
	}
	v.positive("server.drain", s.Drain, time.Hour)
	if a := v.c.Metrics.Address; a != "" {
		v.address("metrics.address", a)
	}
}

// isHost reports whether a name can stand in greetings and header fields.
func isHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func (v *validator) positive(key string, d Duration, most time.Duration) {
	if d <= 0 || time.Duration(d) > most {
		v.fail(key, "a time between 1ms and %s was expected, such as \"30s\"", most)
	}
}

func (v *validator) address(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		v.fail(key, "%q is not an address with a port, such as \"127.0.0.1:1587\" or \":587\"", address)
	}
}

func (v *validator) account(at string, a *Account, logins map[string]bool) {
	if v.need(at+"login", a.Login, "the name that the person logs in with") && logins[a.Login] {
		v.fail(at+"login", "another account has the login %q", a.Login)
	}
	logins[a.Login] = true
	if len(a.Addresses) == 0 {
		v.fail(at+"addresses", "at least one mail address is needed here")
	}
	for i, address := range a.Addresses {
		normal, err := keystore.NormalizeAddress(address)
		if err != nil {
			v.fail(at+"addresses", "%q is not a mail address", address)
		}
		a.Addresses[i] = normal
	}
	if len(a.Identities) == 0 {
		v.need(at+"store", a.Store, "the file of the store of keys, or identities,")
	}
	if a.Unlock == "" {
		a.Unlock = UnlockStart
	}
	switch {
	case !v.oneOf(at+"unlock", a.Unlock, UnlockStart, UnlockLogin):
	case a.Unlock == UnlockLogin && a.Passphrase != "":
		v.fail(at+"passphrase_file", "with unlock = %q the password of the login is the passphrase", a.Unlock)
	case a.Unlock == UnlockLogin && slices.ContainsFunc(a.Identities, pkcs11.Is):
		v.fail(at+"unlock", "a token has a PIN of its own, and locks itself after a few wrong ones: it is not unlocked by passwords")
	case a.Unlock == UnlockStart && len(a.Identities) == 0:
		v.need(at+"passphrase_file", a.Passphrase, "the file with the store's passphrase, or unlock = \"login\",")
	}
}

func (v *validator) rules() {
	list := make([]policy.Rule, len(v.c.Rules))
	for i, r := range v.c.Rules {
		list[i] = policy.Rule{Sender: r.Sender, Recipient: r.Recipient, Sign: r.Sign, Encrypt: r.Encrypt}
		if r.Sign == nil && r.Encrypt == nil {
			v.fail(fmt.Sprintf("rule[%d]", i), "sign, encrypt or both are needed here")
		}
	}
	var err error
	if v.c.Policy, err = policy.New(list); err == nil {
		return
	}
	key := "rule"
	if pe, ok := errors.AsType[*policy.PatternError](err); ok {
		key = fmt.Sprintf("rule[%d].recipient", pe.Rule)
		if pe.Pattern == list[pe.Rule].Sender {
			key = fmt.Sprintf("rule[%d].sender", pe.Rule)
		}
		v.fail(key, "%q is neither a mail address nor a domain", pe.Pattern)
		return
	}
	v.fail(key, "%s", err)
}

func (v *validator) rest() {
	c := v.c
	if f := c.Tags.Field; f != "" && strings.Trim(f, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		v.fail("tags.field", "%q is not the name of a header field", f)
	}
	if v.oneOf("revocation.mode", c.Revocation.Mode, RevocationOff, RevocationSoft, RevocationHard) &&
		c.Revocation.Mode == RevocationOff && c.Revocation.Cache != "" && !c.Revocation.Fetch {
		v.fail("revocation.cache", "there is no use for it when nothing is fetched")
	}
	for _, s := range c.Certificates.Sources {
		v.oneOf("certificates.sources", s, SourceStore, SourceSMIMEA, SourceLDAP, SourceFolder)
	}
	if folder := slices.Contains(c.Certificates.Sources, SourceFolder); folder != (c.Certificates.Folder != "") {
		v.fail("certificates.folder", "this and the source %q belong together", SourceFolder)
	}
	v.ldap()
	v.oneOf("imap.sent", c.IMAP.Sent, KeepAsIs, KeepSigned, KeepSealed, KeepBoth)
	v.oneOf("imap.drafts", c.IMAP.Drafts, KeepAsIs, KeepSigned, KeepSealed, KeepBoth)
	v.positive("certificates.timeout", c.Certificates.Timeout, 10*time.Minute)
	if c.IMAP.Service == "" {
		c.IMAP.Service = c.Server.Name
	} else if !isHost(c.IMAP.Service) {
		v.fail("imap.service", "%q is not a name such as that of a host", c.IMAP.Service)
	}
}

// ldap wants directories to be asked that are there, and the other way round.
func (v *validator) ldap() {
	asked := slices.Contains(v.c.Certificates.Sources, SourceLDAP)
	if asked && len(v.c.LDAP) == 0 {
		v.fail("certificates.sources", "there is no [[ldap]] to ask")
	}
	for i, l := range v.c.LDAP {
		at := fmt.Sprintf("ldap[%d].", i)
		if !asked {
			v.fail(at+"url", "it is not asked: certificates.sources has no %q", SourceLDAP)
		}
		if !v.need(at+"url", l.URL, "the URL of the directory") {
			continue
		}
		o, err := ldap.ParseURL(l.URL)
		if err != nil {
			v.fail(at+"url", "%s", err)
			continue
		}
		if o.BindDN != "" {
			v.need(at+"password_file", l.Password, "the file with the password of the bindname")
		} else if l.Password != "" {
			v.fail(at+"password_file", "the URL has no bindname that it could be of")
		}
	}
}

func (v *validator) limits() {
	l := &v.c.Limits
	between := func(key string, n, least, most int64) {
		if n < least || n > most {
			v.fail("limits."+key, "a number between %d and %d was expected", least, most)
		}
	}
	between("connections", int64(l.Connections), 1, 1_000_000)
	between("connections_per_address", int64(l.PerAddress), 0, 1_000_000)
	between("message", l.Message, 64<<10, 1<<40)
	between("recipients", int64(l.Recipients), 1, 100_000)
	v.positive("limits.idle_smtp", l.IdleSMTP, 24*time.Hour)
	v.positive("limits.idle_imap", l.IdleIMAP, 24*time.Hour)
	v.positive("limits.handshake", l.Handshake, 10*time.Minute)
	v.positive("limits.login", l.Login, 24*time.Hour)
}
