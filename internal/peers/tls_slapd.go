package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Slapd is a running OpenLDAP server.
type Slapd struct {
	*Process        // Addr is for StartTLS
	LDAPS    string // TLS from the start
}

// StartSlapd starts OpenLDAP's slapd with a certificate and key, PEM files. ca
// may be empty. It has nothing but its root DSE.
func StartSlapd(tb testing.TB, cert, key, ca string) *Slapd {
	tb.Helper()
	return StartSlapdVerify(tb, cert, key, ca, "never")
}

// StartSlapdVerify is StartSlapd that asks clients for certificates: "never",
// "allow", "try" or "demand" (TLSVerifyClient).
func StartSlapdVerify(tb testing.TB, cert, key, ca, verify string) *Slapd {
	tb.Helper()
	NeedProgram(tb, "slapd", "slapd")
	more := "TLSVerifyClient " + verify + "\n" // the last one counts
	if ca != "" {
		more += "TLSCACertificateFile " + ca + "\n"
	}
	return startSlapd(tb, slapdConf(tb, cert, key, more))
}

// The directory of StartDirectory. Everybody may read it, but for what is below
// DirectoryClosed, which is for those who have logged in.
const (
	DirectorySuffix   = "dc=example,dc=org"
	DirectoryClosed   = "ou=closed," + DirectorySuffix
	DirectoryUser     = "cn=reader," + DirectorySuffix
	DirectoryPassword = "of the reader"
)

// directoryConf has the schemas that have certificates and addresses; the last
// are as Active Directory has them.
const directoryConf = `include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP top AUXILIARY MAY proxyAddresses )
modulepath /usr/lib/ldap
moduleload back_mdb
sortvals userCertificate
database mdb
maxsize 1073741824
suffix "` + DirectorySuffix + `"
rootdn "` + DirectoryUser + `"
rootpw "` + DirectoryPassword + `"
access to dn.subtree="` + DirectoryClosed + `" by users read by * none
access to * by * read
`

// StartDirectory is StartSlapd with entries, in LDIF, under DirectorySuffix. The
// entry of the suffix itself is added.
func StartDirectory(tb testing.TB, cert, key, ldif string) *Slapd {
	tb.Helper()
	NeedProgram(tb, "slapd", "slapd")
	add := NeedProgram(tb, "slapd", "slapadd")
	dir := short(tb)
	conf := slapdConf(tb, cert, key, directoryConf+"directory "+dir+"\n")
	ldif = "dn: " + DirectorySuffix + "\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n" + ldif
	cmd := exec.Command(add, "-q", "-f", conf)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("slapadd: %v\n%s", err, out)
	}
	return startSlapd(tb, conf)
}

// slapdConf writes a configuration.
func slapdConf(tb testing.TB, cert, key, more string) string {
	tb.Helper()
	dir := short(tb)
	conf := filepath.Join(dir, "slapd.conf")
	text := fmt.Sprintf("include /etc/ldap/schema/core.schema\npidfile %[1]s/pid\nargsfile %[1]s/args\n"+
		"TLSCertificateFile %[2]s\nTLSCertificateKeyFile %[3]s\nTLSVerifyClient never\n", dir, cert, key)
	if err := os.WriteFile(conf, []byte(text+more), 0o600); err != nil {
		tb.Fatal(err)
	}
	return conf
}

func startSlapd(tb testing.TB, conf string) *Slapd {
	tb.Helper()
	s := &Slapd{LDAPS: net.JoinHostPort("127.0.0.1", FreePort(tb))}
	addr := net.JoinHostPort("127.0.0.1", FreePort(tb))
	s.Process = StartProcess(tb, "slapd", "slapd", "-f", conf, "-h", "ldap://"+addr+"/ ldaps://"+s.LDAPS+"/", "-d", "0")
	s.Addr = addr
	s.waitPort(tb, addr)
	s.waitPort(tb, s.LDAPS)
	return s
}
