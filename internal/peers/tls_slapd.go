package peers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Slapd is a running OpenLDAP server. It has nothing but its root DSE.
type Slapd struct {
	*Process        // Addr is for StartTLS
	LDAPS    string // TLS from the start
}

// StartSlapd starts OpenLDAP's slapd with a certificate and key, PEM files. ca
// may be empty.
func StartSlapd(tb testing.TB, cert, key, ca string) *Slapd {
	tb.Helper()
	NeedProgram(tb, "slapd", "slapd")
	dir := short(tb)
	conf := filepath.Join(dir, "slapd.conf")
	text := fmt.Sprintf("include /etc/ldap/schema/core.schema\npidfile %[1]s/pid\nargsfile %[1]s/args\n"+
		"TLSCertificateFile %[2]s\nTLSCertificateKeyFile %[3]s\nTLSVerifyClient never\n", dir, cert, key)
	if ca != "" {
		text += "TLSCACertificateFile " + ca + "\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s := &Slapd{LDAPS: net.JoinHostPort("127.0.0.1", FreePort(tb))}
	addr := net.JoinHostPort("127.0.0.1", FreePort(tb))
	s.Process = StartProcess(tb, "slapd", "slapd", "-f", conf, "-h", "ldap://"+addr+"/ ldaps://"+s.LDAPS+"/", "-d", "0")
	s.Addr = addr
	s.waitPort(tb, addr)
	s.waitPort(tb, s.LDAPS)
	return s
}
