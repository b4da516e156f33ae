// Package deps holds the house rules that a compiler does not check: which
// room may import which, and what the light rooms never import.
package deps

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/postseal/postseal/"

// ground is what everybody may import.
const ground = "internal/oid internal/der internal/ber internal/rc2 internal/keywrap internal/aead internal/alg internal/mimeraw internal/spool internal/stage internal/recent"

// protocol is what the two protocols of the proxy may import, and sources what
// the commands may: all that knows keys and certificates.
const (
	protocol = ground + " pki cms smime keystore tls tls/relay internal/recipients internal/saslrelay internal/aside"
	sources  = ground + " pki pki/ca pki/fetch pki/dane pki/dane/dnsclient cms smime keystore keystore/store keystore/pkcs11 keystore/keyring keystore/smimea keystore/ldap keystore/files tls tls/relay tls/certs tls/mtasts tls/policy internal/recipients"
	proxies  = " internal/aside internal/facts internal/policy internal/mimetree internal/render internal/saslrelay internal/outgoing internal/smtpproxy internal/milter internal/imapproxy"
)

// rooms lists, for each room, the rooms that it may import: docs/architecture.md.
// A room's tests may import what makes test data and messages, and starts peers,
// besides.
var rooms = map[string]string{
	"internal/oid":                    "",
	"internal/der":                    "internal/oid",
	"internal/ber":                    "",
	"internal/rc2":                    "",
	"internal/keywrap":                "internal/rc2",
	"internal/aead":                   "",
	"internal/alg":                    "internal/oid internal/der internal/aead internal/keywrap internal/rc2",
	"internal/mimeraw":                "internal/stage",
	"internal/spool":                  "internal/stage",
	"internal/stage":                  "",
	"internal/recent":                 "",
	"internal/testpki":                "internal/oid internal/der",
	"internal/peers":                  "",
	"internal/dnstest":                "",
	"internal/deps":                   "",
	"internal/tools/testlines":        "",
	"bench":                           ground + " pki cms smime keystore keystore/store internal/testpki internal/peers",
	"internal/interop":                ground + " pki cms smime keystore internal/testpki internal/peers",
	"pki":                             ground,
	"pki/fetch":                       ground + " pki",
	"pki/ca":                          ground + " pki",
	"pki/dane":                        ground + " pki",
	"pki/dane/dnsclient":              ground + " pki pki/dane",
	"cms":                             ground + " pki",
	"smime":                           ground + " pki cms",
	"keystore":                        ground + " pki cms",
	"keystore/store":                  ground + " pki cms keystore",
	"keystore/pkcs11":                 ground + " pki cms keystore",
	"keystore/keyring":                ground + " pki keystore keystore/store",
	"keystore/files":                  ground + " pki cms keystore",
	"keystore/ldap":                   ground + " pki cms keystore tls",
	"keystore/smimea":                 ground + " pki pki/dane pki/dane/dnsclient cms keystore",
	"tls":                             ground + " pki",
	"tls/relay":                       "",
	"tls/mtasts":                      ground + " pki pki/dane",
	"tls/policy":                      ground + " pki pki/dane tls tls/mtasts",
	"internal/recipients":             ground + " pki cms keystore",
	"internal/policy":                 ground + " keystore",
	"internal/mimetree":               ground,
	"internal/facts":                  "",
	"internal/aside":                  "",
	"internal/render":                 ground + " pki cms smime",
	"internal/saslrelay":              "",
	"internal/outgoing":               ground + " pki cms smime keystore internal/recipients internal/policy",
	"internal/smtpproxy":              protocol + " internal/policy internal/outgoing",
	"internal/milter":                 ground + " smime internal/policy internal/outgoing",
	"internal/mailtest":               ground + " pki cms smime keystore internal/recipients internal/policy internal/outgoing internal/testpki",
	"internal/imapproxy":              protocol + " internal/facts internal/render internal/mimetree internal/policy internal/outgoing",
	"cmd/smimetool":                   sources + " internal/testpki cmd/smimetool/internal/inspect cmd/smimetool/internal/tlstool",
	"cmd/smimetool/internal/inspect":  ground + " pki cms smime keystore",
	"cmd/smimetool/internal/tlstool":  ground + " pki pki/dane tls tls/relay tls/mtasts tls/policy",
	"cmd/mailproxy":                   sources + proxies + " cmd/mailproxy/internal/config cmd/mailproxy/internal/account cmd/mailproxy/internal/upstream cmd/mailproxy/internal/origdst",
	"cmd/mailproxy/internal/config":   sources + proxies,
	"cmd/mailproxy/internal/account":  sources + proxies + " cmd/mailproxy/internal/config",
	"cmd/mailproxy/internal/upstream": sources + " cmd/mailproxy/internal/config",
	"cmd/mailproxy/internal/origdst":  "",
	"tls/certs":                       ground + " pki keystore tls",
}

// light are the rooms that a mail app takes in; forbidden is what they never
// import, and outside is all that they import from other modules.
var (
	light     = []string{"cms", "smime"}
	forbidden = []string{"os", "net", "log", "log/slog", "math/rand", "math/rand/v2", "encoding/asn1"}
	outside   = []string{"golang.org/x/crypto/", "github.com/emersion/go-message/textproto"}
)

// TestImports parses every source file of the project.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	files, seen := 0, make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != root) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		room := path.Dir(filepath.ToSlash(rel))
		files++
		seen[room] = true
		checkFile(t, room, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were checked", files)
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("%s is in the table and has no files", room)
		}
	}
}

func checkFile(t *testing.T, room, name string) {
	may, ok := rooms[room]
	if !ok {
		t.Errorf("%s is not in the table", room)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	isTest := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if ours, isOurs := strings.CutPrefix(imported, module); isOurs {
			list := may
			if isTest {
				list += " internal/testpki internal/mailtest internal/peers internal/dnstest pki/ca pki/fetch pki/dane/dnsclient keystore smime " + room
			}
			if !slices.Contains(strings.Fields(list), ours) {
				t.Errorf("%s: %s may not import %s", name, room, ours)
			}
			continue
		}
		if !isTest && slices.Contains(light, room) {
			checkLight(t, name, imported)
		}
	}
}

func checkLight(t *testing.T, name, imported string) {
	if slices.Contains(forbidden, imported) {
		t.Errorf("%s imports %s", name, imported)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	for _, prefix := range outside {
		if strings.HasPrefix(imported, prefix) {
			return
		}
	}
	t.Errorf("%s imports %s", name, imported)
}
