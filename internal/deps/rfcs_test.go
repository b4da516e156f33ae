package deps

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	citation = regexp.MustCompile(`RFCs? ([0-9]{3,5})`)
	row      = regexp.MustCompile(`^\| ([0-9]+) \| [^|]+ \| (yes|partial|no) \|`)
)

// TestRFCs compares docs/rfcs.md with what the source cites.
func TestRFCs(t *testing.T) {
	root := filepath.Join("..", "..")
	table := readTable(t, filepath.Join(root, "docs", "rfcs.md"))
	cited := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		// A citation may be broken across lines of a comment.
		text := regexp.MustCompile(`\n\s*//\s*`).ReplaceAllString(string(data), " ")
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			cited[m[1]] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(cited) < 30 || len(table) < 30 {
		t.Fatalf("%d citations, %d rows", len(cited), len(table))
	}
	for rfc, name := range cited {
		if _, ok := table[rfc]; !ok {
			t.Errorf("RFC %s is cited in %s and not in docs/rfcs.md", rfc, name)
		}
	}
	for rfc, state := range table {
		if _, ok := cited[rfc]; !ok && state != "no" {
			t.Errorf("RFC %s is %q in docs/rfcs.md and cited nowhere", rfc, state)
		}
	}
}

func readTable(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if _, double := table[m[1]]; double {
			t.Errorf("RFC %s is in docs/rfcs.md twice", m[1])
		}
		table[m[1]] = m[2]
	}
	return table
}
