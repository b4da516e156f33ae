package ldap_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postseal/postseal/keystore/ldap"
	"github.com/postseal/postseal/tls"
)

func TestNew(t *testing.T) {
	password := func() ([]byte, error) { return []byte("x"), nil }
	good := ldap.Options{Address: "ldap.example.org:636", Base: "ou=people,dc=example,dc=org"}
	for field, edit := range map[string]func(*ldap.Options){
		"":           func(*ldap.Options) {},
		"Address":    func(o *ldap.Options) { o.Address = "ldap.example.org" },
		"Address ":   func(o *ldap.Options) { o.Address = ":636" },
		"Base":       func(o *ldap.Options) { o.Base = " " },
		"Base ":      func(o *ldap.Options) { o.Base = "example.org" },
		"Mode":       func(o *ldap.Options) { o.Mode = tls.OpportunisticStartTLS },
		"Mode ":      func(o *ldap.Options) { o.Mode, o.BindDN, o.Password = tls.InsecurePlaintext, "cn=x", password },
		"Scope":      func(o *ldap.Options) { o.Scope = 3 },
		"BindDN":     func(o *ldap.Options) { o.Password = password },
		"Password":   func(o *ldap.Options) { o.BindDN = "cn=x" },
		"Timeout, O": func(o *ldap.Options) { o.Timeout = -time.Second },
		"Filter":     func(o *ldap.Options) { o.Filter = "(mail=*)" },
		"Filter ":    func(o *ldap.Options) { o.Filter = "({address}=x)" },
		"Filter  ":   func(o *ldap.Options) { o.Filter = "(mail={adress})" },
		"Filter   ":  func(o *ldap.Options) { o.Filter = "(mail={address}" },
		"Filter:":    func(o *ldap.Options) { o.Filter = "(mail=x){address}" },
		"Filter: ":   func(o *ldap.Options) { o.Filter = "(&(mail=x){address}(a=b))" },
		"Filter:  ":  func(o *ldap.Options) { o.Filter = "{address}" },
		"Filter;":    func(o *ldap.Options) { o.Filter = "(dc={domain})" },
		"Filter; ":   func(o *ldap.Options) { o.Filter = "(mail={address})" + strings.Repeat(" ", 5000) },
	} {
		o := good
		edit(&o)
		_, err := ldap.New(&o)
		var config *ldap.ConfigError
		if field == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.As(err, &config) || !strings.HasPrefix(config.Field, strings.TrimRight(field, " :;")) {
			t.Errorf("%q: %v", field, err)
		}
	}
	if _, err := ldap.New(nil); !errors.As(err, new(*ldap.ConfigError)) {
		t.Error(err)
	}
	for _, filter := range []string{ldap.DefaultFilter, "(mail=*{address}*)", "(&(objectClass=person)(|(mail={address})(uid={local})))",
		"(mail:caseExactMatch:={address})", "(!(mail={local}@{domain}))", "(mail= {address})"} {
		o := good
		o.Filter = filter
		if _, err := ldap.New(&o); err != nil {
			t.Errorf("%q: %v", filter, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]ldap.Options{
		"ldaps://ldap.example.org/dc=example,dc=org":                       {Address: "ldap.example.org:636", Base: "dc=example,dc=org"},
		"LDAP://ldap.example.org:3890/ou=p%20q,o=x":                        {Address: "ldap.example.org:3890", Mode: tls.StartTLS, Base: "ou=p q,o=x"},
		"ldap://[::1]/o=x??one":                                            {Address: "[::1]:389", Mode: tls.StartTLS, Base: "o=x", Scope: ldap.OneLevel},
		"ldaps://h/o=x??BASE?(mail={address})":                             {Address: "h:636", Base: "o=x", Scope: ldap.BaseOnly, Filter: "(mail={address})"},
		"ldaps://h/o=x???(%7cmail={local}%3f)?bindname=cn=a%2co=x,x-other": {Address: "h:636", Base: "o=x", Filter: "(|mail={local}?)", BindDN: "cn=a,o=x"},
		"ldaps://h/o=a%3fb??sub?":                                          {Address: "h:636", Base: "o=a?b"},
		"ldaps://h/o=x????!bindname=cn=%C3%BC":                             {Address: "h:636", Base: "o=x", BindDN: "cn=ü"},
		"ldaps://ldap.example.org/":                                        {Address: "ldap.example.org:636"},
	} {
		o, err := ldap.ParseURL(text)
		if err != nil || o.Address != want.Address || o.Mode != want.Mode || o.Base != want.Base || o.Scope != want.Scope || o.Filter != want.Filter || o.BindDN != want.BindDN {
			t.Errorf("%q: %+v, %v", text, o, err)
		}
	}
	for _, text := range []string{"", "ldap.example.org", "http://h/o=x", "ldap:///o=x", "ldaps:o=x", "ldaps://user:secret@h/o=x", "ldaps://h/o=x?cn", "ldaps://h/o=x??all",
		"ldaps://h/o=x????!x-other", "ldaps://h/o=x?????", "ldaps://h/o=x#y", "ldaps://h/o=%zz", "ldaps://h/o=x???%zz", "ldaps://h/o=x????bindname=%zz", "ldaps://h:port/o=x"} {
		_, err := ldap.ParseURL(text)
		if !errors.As(err, new(*ldap.ConfigError)) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSource(t *testing.T) {
	for text, want := range map[string]string{
		"ldaps://ldap.example.org:636/dc=example??one?(uid={local})": "ldaps://ldap.example.org/dc=example",
		"ldap://ldap.example.org:389/dc=example":                     "ldap://ldap.example.org/dc=example",
		"ldap://[::1]:389/o=x":                                       "ldap://[::1]/o=x",
		"ldap://[::1]:636/o=x":                                       "ldap://[::1]:636/o=x",
	} {
		o, err := ldap.ParseURL(text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ldap.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if f.Source() != want {
			t.Errorf("%q: %q", text, f.Source())
		}
	}
}
