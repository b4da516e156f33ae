package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/tls"
)

// good is a small configuration; its lines are counted from 1.
const good = `[[listener]]
protocol = "smtp"
address = "127.0.0.1:1587"
mode = "starttls"
self_made = "tls.pem"
[listener.upstream]
host = "mail.example.org"
[[account]]
login = "alice"
addresses = ["Alice@Example.ORG"]
store = "alice.store"
passphrase_file = "/etc/pass"
[[rule]]
recipient = "example.org"
encrypt = "require"
`

func TestParse(t *testing.T) {
	c, err := Parse("/conf/mailproxy.toml", good)
	if err != nil {
		t.Fatal(err)
	}
	l, a := c.Listeners[0], c.Accounts[0]
	if l.Mode != tls.StartTLS || l.SelfMade != "/conf/tls.pem" || l.Upstream.Mode != tls.Implicit || l.Upstream.Port != 465 || l.Upstream.Name != "mail.example.org" {
		t.Errorf("listener %+v", l)
	}
	if a.Store != "/conf/alice.store" || a.Passphrase != "/etc/pass" || a.Addresses[0] != "Alice@example.org" && a.Addresses[0] != "alice@example.org" {
		t.Errorf("account %+v", a)
	}
	if got := c.Policy.For("a@b.example", "x@example.org").Encrypt; got != policy.EncryptRequire {
		t.Errorf("encrypt %v", got)
	}
	if c.IMAP.Service != c.Server.Name || c.Server.Name == "" || c.Limits.Connections != 1000 || time.Duration(c.Server.Drain) != 30*time.Second {
		t.Errorf("defaults %+v %+v", c.Server, c.Limits)
	}
}

// TestExample holds the annotated example to what is true.
func TestExample(t *testing.T) {
	name := filepath.Join("..", "..", "..", "..", "docs", "mailproxy.toml")
	c, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// What is commented out is the default, and all of it can be said.
	var said strings.Builder
	n := 0
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(line, " = ") {
			line = rest
			n++
		}
		said.WriteString(line)
	}
	if n < 20 {
		t.Fatalf("%d defaults", n)
	}
	all, err := Parse(name, said.String())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Trust.Authorities) == 0 {
		c.Trust.Authorities, all.Trust.Authorities = nil, nil
	}
	if !reflect.DeepEqual(c, all) {
		t.Errorf("the defaults are\n%+v\nand not\n%+v", c, all)
	}
}

func TestErrors(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	tests := []struct {
		name, text, key string
		line            int
	}{
		{"syntax", "[[listener]]\nprotocol = \n", "listener[0].protocol", 2},
		{"unknown key", replace("host =", "hosts = \"x\"\nhost ="), "listener[0].upstream.hosts", 7},
		{"unknown table", good + "[nothing]\nx = 1\n", "nothing", 16},
		{"type", replace(`"mail.example.org"`, "3"), "listener[0].upstream.host", 7},
		{"milter's address", good + "[milter]\naddress = \"nowhere\"\n", "milter.address", 17},
		{"milter's socket", good + "[milter]\naddress = \"unix:\"\n", "milter.address", 17},
		{"milter without an address", good + "[milter]\ntrusted = [\"127.0.0.1\"]\n", "milter.address", 16},
		{"no listener", "[log]\nlevel = \"INFO\"\n", "listener", 0},
		{"protocol", replace(`"smtp"`, `"pop3"`), "listener[0].protocol", 2},
		{"address", replace("127.0.0.1:1587", "127.0.0.1"), "listener[0].address", 3},
		{"no address", replace("address = \"127.0.0.1:1587\"\n", ""), "listener[0].address", 1},
		{"mode", replace(`"starttls"`, `"tls"`), "listener[0].mode", 4},
		{"no mode", replace("mode = \"starttls\"\n", ""), "listener[0].mode", 1},
		{"opportunistic", replace(`"starttls"`, `"opportunistic-starttls"`), "listener[0].mode", 4},
		{"opportunistic upstream", replace("host =", "mode = \"opportunistic-starttls\"\nhost ="), "listener[0].upstream.mode", 7},
		{"no certificate", replace("self_made = \"tls.pem\"\n", ""), "listener[0].certificate", 1},
		{"no key", replace("self_made =", "certificate ="), "listener[0].key", 1},
		{"both", replace("self_made =", "certificate = \"a\"\nkey = \"b\"\nself_made ="), "listener[0].self_made", 7},
		{"plaintext with certificate", replace(`"starttls"`, `"insecure-plaintext"`), "listener[0].mode", 4},
		{"no host", replace("host = \"mail.example.org\"\n", ""), "listener[0].upstream.host", 6},
		{"host", replace("mail.example.org", "mail example"), "listener[0].upstream.host", 7},
		{"port", replace("host =", "port = 70000\nhost ="), "listener[0].upstream.port", 7},
		{"login", replace(`login = "alice"`, ""), "account[0].login", 8},
		{"mail address", replace("Alice@Example.ORG", "Alice"), "account[0].addresses", 10},
		{"no addresses", replace(`["Alice@Example.ORG"]`, "[]"), "account[0].addresses", 10},
		{"store", replace(`"alice.store"`, `""`), "account[0].store", 11},
		{"passphrase", replace("passphrase_file = \"/etc/pass\"\n", ""), "account[0].passphrase_file", 8},
		{"login twice", good + "[[account]]\nlogin = \"alice\"\naddresses = [\"b@example.org\"]\nstore = \"b\"\npassphrase_file = \"c\"\n", "account[1].login", 17},
		{"pattern", replace(`"example.org"`, `"exa mple"`), "rule[0].recipient", 14},
		{"encrypt", replace(`"require"`, `"always"`), "rule[0].encrypt", 15},
		{"first of two", replace(`"require"`, `"always"`) + "[[rule]]\nencrypt = \"never\"\n", "rule[0].encrypt", 15},
		{"second of two", good + "[[rule]]\nencrypt = \"always\"\n", "rule[1].encrypt", 17},
		{"empty rule", replace("encrypt = \"require\"\n", ""), "rule[0]", 13},
		{"server name", good + "[server]\nname = \"a b\"\n", "server.name", 17},
		{"drain", good + "[server]\ndrain = \"0s\"\n", "server.drain", 17},
		{"duration", good + "[server]\ndrain = \"soon\"\n", "server.drain", 17},
		{"metrics", good + "[metrics]\naddress = \"x\"\n", "metrics.address", 17},
		{"level", good + "[log]\nlevel = \"loud\"\n", "log.level", 17},
		{"tags", good + "[tags]\nfield = \"X Y\"\n", "tags.field", 17},
		{"headers", good + "[sending]\nheaders = \"hidden\"\n", "sending.headers", 17},
		{"replies", good + "[sending]\nreplies = \"never\"\n", "sending.replies", 17},
		{"revocation", good + "[revocation]\nmode = \"maybe\"\n", "revocation.mode", 17},
		{"source", good + "[certificates]\nsources = [\n  \"store\",\n  \"ldap\"]\n", "certificates.sources", 17},
		{"folder", good + "[certificates]\nfolder = \"x\"\n", "certificates.folder", 17},
		{"no folder", good + "[certificates]\nsources = [\"folder\"]\n", "certificates.folder", 16},
		{"source unknown", good + "[certificates]\nsources = [\"finger\"]\n", "certificates.sources", 17},
		{"resolver", good + "[dns]\nresolver = \"x\"\n", "dns.resolver", 17},
		{"who may send", replace("self_made =", "login = \"never\"\nself_made ="), "listener[0].login", 5},
		{"imap without login", strings.Replace(replace("self_made =", "login = \"optional\"\nself_made ="), "smtp", "imap", 1), "listener[0].login", 5},
		{"network", replace("self_made =", "proxy_from = [\"192.0.2\"]\nself_made ="), "listener[0].proxy_from", 5},
		{"staple", replace("self_made =", "staple = true\nself_made ="), "listener[0].staple", 5},
		{"authority and certificate", replace("self_made =", "authority = \"x\"\nself_made ="), "listener[0].authority", 5},
		{"transparent", replace("self_made =", "transparent = \"yes\"\ndestinations = [\"::/0\"]\nself_made ="), "listener[0].transparent", 5},
		{"no destinations", replace("self_made =", "transparent = \"redirect\"\nself_made ="), "listener[0].destinations", 1},
		{"destinations of an ordinary one", replace("self_made =", "destinations = [\"192.0.2.1\"]\nself_made ="), "listener[0].destinations", 5},
		{"transparent behind a proxy", replace("self_made =", "transparent = \"tproxy\"\ndestinations = [\"192.0.2.1\"]\nproxy_from = [\"192.0.2.1\"]\nself_made ="), "listener[0].proxy_from", 7},
		{"find", replace("host =", "find = \"dns\"\nhost ="), "listener[0].upstream.find", 7},
		{"srv with host", replace("host =", "find = \"srv\"\ndomain = \"example.org\"\nhost ="), "listener[0].upstream.find", 7},
		{"srv without domain", replace("host = \"mail.example.org\"", "find = \"srv\""), "listener[0].upstream.domain", 6},
		{"host with domain", replace("host =", "domain = \"example.org\"\nhost ="), "listener[0].upstream.find", 6},
		{"login without domains", replace("host = \"mail.example.org\"", "find = \"login\""), "listener[0].upstream.find", 7},
		{"destination without transparent", replace("host = \"mail.example.org\"", "find = \"destination\""), "listener[0].upstream.find", 7},
		{"client address", replace("host =", "client_address = \"id\"\nhost ="), "listener[0].upstream.client_address", 7},
		{"policy", replace("host =", "policy = \"some\"\nhost ="), "listener[0].upstream.policy", 7},
		{"mta-sts", replace("host =", "policy = \"mta-sts required\"\nhost ="), "listener[0].upstream.policy", 7},
		{"opportunistic policy", replace("host =", "policy = \"opportunistic\"\nhost ="), "listener[0].upstream.policy", 7},
		{"pinned without pins", replace("host =", "policy = \"pinned\"\nhost ="), "listener[0].upstream.pins", 6},
		{"pin", replace("host =", "pins = [\"sha1:00\"]\nhost ="), "listener[0].upstream.pins", 7},
		{"policy of a domain", good + "[[domain]]\nname = \"a.example\"\npolicy = \"pinned\"\n", "domain[0].pins", 16},
		{"policy for plaintext", replace("host =", "mode = \"insecure-plaintext\"\npolicy = \"required\"\nhost ="), "listener[0].upstream.policy", 8},
		{"domain", good + "[[domain]]\nname = \"a b\"\n", "domain[0].name", 17},
		{"domain twice", good + "[[domain]]\nname = \"a.example\"\n[[domain]]\nname = \"A.example\"\n", "domain[1].name", 19},
		{"domain's host", good + "[[domain]]\nname = \"a.example\"\n[domain.smtp]\nport = 1\n", "domain[0].smtp.host", 18},
		{"unlock", replace("store =", "unlock = \"never\"\nstore ="), "account[0].unlock", 11},
		{"unlock with passphrase", replace("store =", "unlock = \"login\"\nstore ="), "account[0].passphrase_file", 13},
		{"token with login", replace("passphrase_file = \"/etc/pass\"", "unlock = \"login\"\nidentities = [\"pkcs11:token=x\"]"), "account[0].unlock", 12},
		{"ldap without directory", good + "[certificates]\nsources = [\"ldap\"]\n", "certificates.sources", 17},
		{"ldap not asked", good + "[[ldap]]\nurl = \"ldaps://x/dc=x\"\n", "ldap[0].url", 17},
		{"ldap url", good + "[certificates]\nsources = [\"ldap\"]\n[[ldap]]\nurl = \"http://x/\"\n", "ldap[0].url", 19},
		{"ldap password", good + "[certificates]\nsources = [\"ldap\"]\n[[ldap]]\nurl = \"ldaps://x/dc=x????bindname=cn=a\"\n", "ldap[0].password_file", 18},
		{"sent", good + "[imap]\nsent = \"shredded\"\n", "imap.sent", 17},
		{"drafts", good + "[imap]\ndrafts = \"\"\n", "imap.drafts", 17},
		{"service", good + "[imap]\nservice = \"a;b\"\n", "imap.service", 17},
		{"connections", good + "[limits]\nconnections = 0\n", "limits.connections", 17},
		{"message", good + "[limits]\nmessage = 1\n", "limits.message", 17},
		{"recipients", good + "[limits]\nrecipients = -1\n", "limits.recipients", 17},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f.toml", test.text)
			errs, ok := errors.AsType[Errors](err)
			if !ok || len(errs) == 0 {
				t.Fatalf("error %v", err)
			}
			if e := errs[0]; e.Key != test.key || e.Line != test.line || e.File != "f.toml" || e.Want == "" {
				t.Errorf("%q in line %d, want %q in %d: %v", e.Key, e.Line, test.key, test.line, err)
			}
		})
	}
}

func TestErrorsTogether(t *testing.T) {
	_, err := Parse("f.toml", "[tags]\nfield = \"a b\"\n[limits]\nconnections = -1\nnothing = 1\n")
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) != 4 {
		t.Fatalf("%v", err)
	}
	for i, line := range []int{0, 2, 4, 5} {
		if errs[i].Line != line {
			t.Errorf("line %d, want %d: %v", errs[i].Line, line, errs[i])
		}
	}
}

func TestReadMissing(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestLines(t *testing.T) {
	text := "a = 1\n[b]\nc = [\n  \"x = 1\", # ]\n]\nd = \"\"\"\ne = 1\n\"\"\"\n'f' = '[' \n[[g]]\nh = 1\n[g.i]\nj = 1\n[[g]]\nh = 2\n"
	want := map[string]int{"a": 1, "b": 2, "b.c": 3, "b.d": 6, "b.f": 9, "g[0]": 10, "g[0].h": 11, "g[0].i": 12, "g[0].i.j": 13, "g[1]": 14, "g[1].h": 15}
	if got := lines(text); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f.toml", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v %v", c, err)
		}
		if err != nil && !errors.As(err, new(Errors)) {
			t.Fatalf("%T", err)
		}
	})
}

// TestFound fills in how mail servers are found.
func TestFound(t *testing.T) {
	text := strings.Replace(good, "self_made = \"tls.pem\"", "authority = \"ca.pem\"\ntransparent = \"redirect\"\ndestinations = [\"192.0.2.7/24\", \"::ffff:198.51.100.1\", \"2001:db8::1\"]", 1)
	text = strings.Replace(text, "host = \"mail.example.org\"\n", "", 1) + "[[domain]]\nname = \"Example.ORG\"\nca = \"ca2.pem\"\n[domain.imap]\nhost = \"imap.example.org\"\n"
	c, err := Parse("/conf/x", text)
	if err != nil {
		t.Fatal(err)
	}
	l, d := c.Listeners[0], c.Domains[0]
	if l.Upstream.Find != FindDestination || l.Upstream.Mode != tls.StartTLS || len(l.Ports) != 1 || l.Ports[0] != 587 || l.Authority != "/conf/ca.pem" || l.Login != LoginRequired {
		t.Errorf("%+v", l)
	}
	if d.Name != "example.org" || d.SMTP != nil || d.IMAP.Port != 993 || d.IMAP.Name != "imap.example.org" || d.CA != "/conf/ca2.pem" {
		t.Errorf("%+v", d)
	}
	for address, want := range map[string]bool{"192.0.2.200": true, "192.0.3.1": false, "198.51.100.1": true, "::ffff:198.51.100.1": true, "2001:db8::1": true, "2001:db8::2": false} {
		if got := Contains(l.Destinations, netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
