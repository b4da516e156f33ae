package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestMan checks that each command has a page that names all of its flags and the
// commands below it, and that no line of text is a request.
func TestMan(t *testing.T) {
	folder := t.TempDir()
	root := newRoot(newApp(), nil)
	if err := writeMan(root, folder); err != nil {
		t.Fatal(err)
	}
	pages := 0
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		data, err := os.ReadFile(filepath.Join(folder, manName(c)+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		pages++
		page := string(data)
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(page, "\\fB\\-\\-"+roff(f.Name)+"\\fR") {
				t.Errorf("%s: no --%s", c.CommandPath(), f.Name)
			}
		})
		for line := range strings.Lines(page) {
			if request, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(line, ".") &&
				!strings.Contains(" .TH .nh .SH .PP .TP .nf .fi ", " "+request+" ") {
				t.Errorf("%s: the request %q", c.CommandPath(), line)
			}
		}
		for _, below := range c.Commands() {
			if !below.IsAvailableCommand() {
				continue
			}
			if !strings.Contains(page, roff(manName(below))) {
				t.Errorf("%s: no %s", c.CommandPath(), below.Name())
			}
			check(below)
		}
	}
	check(root)
	if pages < 30 {
		t.Errorf("there are %d pages", pages)
	}
}

// A command line builds the command that it names, and all if it names none.
func TestNewRoot(t *testing.T) {
	all := entries()
	for _, e := range all {
		root := newRoot(newApp(), []string{e.name, "--help"})
		if got := root.Commands(); len(got) != 1 || got[0].Name() != e.name {
			t.Errorf("%s: %d commands", e.name, len(got))
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"help", "sign"}, {"sing"}, {"__complete", "s"}} {
		if got := newRoot(newApp(), args).Commands(); len(got) != len(all) {
			t.Errorf("%q: %d commands", args, len(got))
		}
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a-b":          "a\\-b",
		".TH x\n'y\nz": "\\&.TH x\n\\&'y\nz",
		`C:\new`:       `C:\enew`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
