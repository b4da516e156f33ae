package main

import (
	"os"
	"strings"
	"testing"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

func TestCheck(t *testing.T) {
	w := testWorld(t)
	file := w.file(demoConfig)
	code, out, errs := run(t, "check", "--config", file)
	if code != exitOK || strings.Count(out, "ok     ") != 7 || strings.Contains(out, "failed") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(w.file("proxy.pem")); err == nil {
		t.Error("check has made a file")
	}
	t.Run("certificate", func(t *testing.T) {
		if err := os.WriteFile(w.file("proxy.pem"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "\nfailed ") != 2 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if err := os.Remove(w.file("proxy.pem")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("name of the server", func(t *testing.T) {
		w.edit(t, `name = "`+demoServerName+`"`, `name = "other.example"`)
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "\nfailed ") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		w.edit(t, `name = "other.example"`, `name = "`+demoServerName+`"`)
	})
	t.Run("address without identity", func(t *testing.T) {
		w.edit(t, `addresses = ["bob@demo.example"]`, `addresses = ["bob@demo.example", "robert@demo.example"]`)
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "\nfailed ") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("sources", func(t *testing.T) {
		w.edit(t, "[trust]", "[certificates]\nsources = [\"store\", \"ldap\", \"folder\"]\nfolder = \".\"\n[[ldap]]\nurl = \"ldaps://127.0.0.1:1/dc=x\"\n\n[trust]")
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "\nfailed certificates from ldaps://127.0.0.1") != 1 || strings.Count(out, "\nok     certificates from /") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("xclient", func(t *testing.T) {
		w.edit(t, "[listener.upstream]\n", "[listener.upstream]\nclient_address = \"xclient\"\n")
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "smtpd_authorized_xclient_hosts") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		w.edit(t, "client_address = \"xclient\"\n", "")
	})
	t.Run("milter", func(t *testing.T) {
		const before = "\n[[rule]]"
		for _, c := range []struct{ section, want string }{
			{"address = \"unix:m.sock\"\ntrusted = [\"192.0.2.0/24\"]", "ok     milter at unix:" + w.file("m.sock") + ": seals the mail of those who have logged in, and of 192.0.2.0/24; only"},
			{"address = \"unix:nowhere/m.sock\"", "failed milter at unix:" + w.file("nowhere/m.sock") + ": cannot listen"},
			{"address = \"unix:" + demoConfig + "\"", "something else than a socket"},
			{"address = \"127.0.0.1:1\"", "have logged in\n"},
			{"address = \"0.0.0.0:1\"", "only the mail server may"},
		} {
			add := "\n[milter]\n" + c.section + "\n"
			w.edit(t, before, add+before)
			if _, out, _ = run(t, "check", "--config", file); strings.Count(out, c.want) != 1 {
				t.Errorf("%s\n%s", c.section, out)
			}
			w.edit(t, add, "")
		}
	})
	t.Run("passphrase", func(t *testing.T) {
		if err := os.WriteFile(w.file("passphrase"), []byte("wrong\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, _ = run(t, "check", "--config", file); code != exitCheck || strings.Count(out, "\nfailed ") != 1 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if code, _, _ = run(t, "run", "--config", file); code != exitConfig {
			t.Errorf("run: exit code %d", code)
		}
	})
	t.Run("configuration", func(t *testing.T) {
		w.edit(t, "[trust]", "[trust]\nfriends = 1")
		if code, out, _ = run(t, "check", "--config", file); code != exitConfig || out != "" {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("missing", func(t *testing.T) {
		if code, out, _ = run(t, "check", "--config", file+"x"); code != exitFailure || out != "" {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
}

func TestInit(t *testing.T) {
	t.Chdir(t.TempDir())
	args := []string{"init", "--server", "mail.example.org", "--address", "a@example.org", "--store", `C:\x "y"`}
	if code, _, errs := run(t, args...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	info, err := os.Stat("mailproxy.toml")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	before, err := os.ReadFile("mailproxy.toml")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, _ := run(t, append(args, "--login", "other")...); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	after, err := os.ReadFile("mailproxy.toml")
	if err != nil || string(after) != string(before) {
		t.Errorf("overwritten: %v", err)
	}
	if code, out, errs := run(t, "init", "--output", "c", "--address", "a@example.org", "--unlock", "login"); code != exitOK || !strings.Contains(out, "smimetool id new --store store.db a@example.org") {
		t.Errorf("by SRV records: exit code %d: %s%s", code, out, errs)
	}
	conf, err := config.Read("c")
	if err != nil || conf.Listeners[1].Upstream.Domain != "example.org" || conf.Accounts[0].Unlock != config.UnlockLogin || conf.Accounts[0].Login != "a@example.org" {
		t.Errorf("%+v %v", conf, err)
	}
	if code, _, _ := run(t, "init", "--output", "b", "--server", "mail.example.org"); code != exitUsage {
		t.Errorf("without an address: exit code %d", code)
	}
	if code, _, _ := run(t, "init", "--output", "b", "--server", "not a host", "--address", "a@example.org"); code != exitUsage {
		t.Errorf("with a wrong host: exit code %d", code)
	}
	left, err := os.ReadDir(".")
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"x"}, {"run"}, {"check"}, {"run", "--config", "a", "b"}, {"demo", "--twice"}} {
		if code, _, _ := run(t, args...); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
