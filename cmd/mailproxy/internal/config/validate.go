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
	"github.com/postseal/postseal/tls"
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
	if len(v.c.Listeners) == 0 {
		v.fail("listener", "at least one [[listener]] is needed")
	}
	addresses := make(map[string]bool)
	for i := range v.c.Listeners {
		v.listener(fmt.Sprintf("listener[%d].", i), &v.c.Listeners[i], addresses)
	}
	logins := make(map[string]bool)
	for i := range v.c.Accounts {
		v.account(fmt.Sprintf("account[%d].", i), &v.c.Accounts[i], logins)
	}
	v.rules()
	v.rest()
	v.limits()
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

func (v *validator) listener(at string, l *Listener, addresses map[string]bool) {
	v.oneOf(at+"protocol", l.Protocol, SMTP, IMAP4)
	if v.need(at+"address", l.Address, "the address to listen at") {
		v.address(at+"address", l.Address)
		if addresses[l.Address] && !strings.HasSuffix(l.Address, ":0") {
			v.fail(at+"address", "another listener has the address %s", l.Address)
		}
		addresses[l.Address] = true
	}
	v.mode(at, l.Mode)
	files := l.Certificate != "" || l.Key != ""
	switch {
	case l.Mode == tls.InsecurePlaintext:
		if files || l.SelfMade != "" {
			v.fail(at+"mode", "%s has no use for a certificate", l.Mode)
		}
	case files && l.SelfMade != "":
		v.fail(at+"self_made", "certificate and key are there, too; one of both is enough")
	case files:
		v.need(at+"certificate", l.Certificate, "the file of the certificate")
		v.need(at+"key", l.Key, "the file of the certificate's key")
	default:
		v.need(at+"certificate", l.SelfMade, "the file of a certificate, with key, or self_made,")
	}
	v.upstream(at, l)
}

// mode wants the mode to be said, so that nobody gets one by accident.
func (v *validator) mode(at string, m tls.Mode) {
	if v.lines[at+"mode"] == 0 && !strings.Contains(at, "upstream") {
		v.fail(at+"mode", "one is needed here: %s, %s or %s", tls.Implicit, tls.StartTLS, tls.InsecurePlaintext)
	}
	if m == tls.OpportunisticStartTLS {
		v.fail(at+"mode", "%s would let anybody on the way read along; its values are: %s, %s, %s", m, tls.Implicit, tls.StartTLS, tls.InsecurePlaintext)
	}
}

func (v *validator) upstream(at string, l *Listener) {
	u := &l.Upstream
	at += "upstream."
	if v.need(at+"host", u.Host, "the name of the mail server") && !isHost(u.Host) && net.ParseIP(u.Host) == nil {
		v.fail(at+"host", "%q is not the name of a host", u.Host)
	}
	v.mode(at, u.Mode)
	if u.Port == 0 {
		u.Port = standardPort(l.Protocol, u.Mode)
	}
	if u.Port < 1 || u.Port > 65535 {
		v.fail(at+"port", "a port between 1 and 65535 was expected")
	}
	if u.Name == "" {
		u.Name = u.Host
	}
	if u.CA != "" && u.Mode == tls.InsecurePlaintext {
		v.fail(at+"ca", "there is no use for it with %s", u.Mode)
	}
}

// standardPort returns that of RFC 8314 and RFC 6409.
func standardPort(protocol string, m tls.Mode) int {
	switch {
	case protocol == IMAP4 && m == tls.Implicit:
		return 993
	case protocol == IMAP4:
		return 143
	case m == tls.Implicit:
		return 465
	}
	return 587
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
	v.need(at+"store", a.Store, "the file of the store of keys")
	v.need(at+"passphrase_file", a.Passphrase, "the file with the store's passphrase")
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
		v.oneOf("certificates.sources", s, SourceStore, SourceSMIMEA)
	}
	v.positive("certificates.timeout", c.Certificates.Timeout, 10*time.Minute)
	if c.IMAP.Service == "" {
		c.IMAP.Service = c.Server.Name
	} else if !isHost(c.IMAP.Service) {
		v.fail("imap.service", "%q is not a name such as that of a host", c.IMAP.Service)
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
}
