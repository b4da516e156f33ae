package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigExample holds the example and the document together, and reads both it
// and what its comments show.
func TestConfigExample(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "smimetool.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(document) != configExample {
		t.Error("docs/smimetool.toml is not what smimetool config --example prints")
	}
	if _, err = parseConfig("smimetool.toml", configExample); err != nil {
		t.Error(err)
	}
	var shown strings.Builder
	keys := map[string]bool{}
	for line := range strings.Lines(configExample) {
		text := strings.TrimPrefix(line, "# ")
		key, _, isPair := strings.Cut(text, " = ")
		switch {
		case strings.HasPrefix(text, "["):
			keys = map[string]bool{}
			shown.WriteString(text)
		case isPair && !strings.Contains(key, " ") && !keys[key] && (line != text || key != "sources"):
			keys[key] = true
			shown.WriteString(text)
		}
	}
	c, err := parseConfig("/etc/smimetool.toml", shown.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, shown.String())
	}
	if c.Store != "/etc/store.db" || len(c.Sources) != 4 || len(c.Identities) != 2 || len(c.Directories) != 1 || c.Directories["work"].PasswordFile != "/etc/ldap-password" || c.Trust[0] != "/etc/company-root.pem" {
		t.Errorf("%+v", c)
	}
}

// TestConfigNames has names of files in it, and what is none.
func TestConfigNames(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Skip("there is no home folder")
	}
	c, err := parseConfig("/x/smimetool.toml", `
sources = ["store", "smimea", "work", "LDAPS://h/o=x", "team", "~/certs", "/abs"]
identities = ["a.p12", "pkcs11:token=A", "~/b.p12"]
[directory.work]
url = "ldap://h/o=x"
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.Sources, " "), "store smimea work LDAPS://h/o=x /x/team "+filepath.Join(home, "certs")+" /abs"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := strings.Join(c.Identities, " "), "/x/a.p12 pkcs11:token=A "+filepath.Join(home, "b.p12"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for text, line := range map[string]int{"store = 1": 0, "x = 1": 1, "\n[directory.store]\nurl = \"\"": 0, "\n\nstore =": 3, "[directory.a]\nurl = \"x\"\npassword = \"x\"": 3,
		"resolver = \"x\"": 0, "[directory.\"a/b\"]\nurl = \"x\"": 0} {
		var wrong *configError
		if _, err = parseConfig("c", text); !errors.As(err, &wrong) || line > 0 && wrong.line != line {
			t.Errorf("%q: %v", text, err)
		}
	}
}
