package config

import (
	"errors"
	"io/fs"
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
		if rest, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(line, " = ") && !strings.Contains(rest, "resolver") {
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
		{"revocation", good + "[revocation]\nmode = \"maybe\"\n", "revocation.mode", 17},
		{"source", good + "[certificates]\nsources = [\n  \"store\",\n  \"ldap\"]\n", "certificates.sources", 17},
		{"resolver", good + "[certificates]\nresolver = \"x\"\n", "certificates.resolver", 17},
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
