package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postfix is a running Postfix.
type Postfix struct {
	*Process        // Addr is for STARTTLS
	SMTPS    string // TLS from the start
	// Config is the folder of its configuration.
	Config string
}

// StartPostfix starts a Postfix that takes no mail, with a certificate and key,
// PEM files. Lines of extra are added to main.cf. It takes root; without it the
// test is skipped.
func StartPostfix(tb testing.TB, cert, key, extra string) *Postfix {
	tb.Helper()
	return startPostfix(tb, cert, key, extra, "")
}

// StartPostfixTo is StartPostfix for one that takes mail for everybody, from this
// host, and gives it to the SMTP server at an address.
func StartPostfixTo(tb testing.TB, cert, key, next, extra string) *Postfix {
	tb.Helper()
	host, port, err := net.SplitHostPort(next)
	if err != nil {
		tb.Fatal(err)
	}
	return startPostfix(tb, cert, key, fmt.Sprintf("relayhost = [%s]:%s\n", host, port)+postfixRelay+extra, postfixDelivers)
}

func startPostfix(tb testing.TB, cert, key, main, master string) *Postfix {
	tb.Helper()
	NeedProgram(tb, "postfix", "postfix")
	if os.Getuid() != 0 {
		tb.Skip("postfix starts as root only")
	}
	dir := short(tb)
	p := &Postfix{Config: filepath.Join(dir, "etc"), SMTPS: net.JoinHostPort("127.0.0.1", FreePort(tb))}
	addr := net.JoinHostPort("127.0.0.1", FreePort(tb))
	for _, sub := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		tb.Fatal(err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		tb.Fatal(err)
	}
	if err = os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{
		"main.cf":   fmt.Sprintf(postfixMain, dir, cert, copyFile(tb, dir, key, 0o600)) + main,
		"master.cf": fmt.Sprintf(postfixMaster, addr, p.SMTPS) + master,
	}
	for name, text := range files {
		if err = os.WriteFile(filepath.Join(p.Config, name), []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	// "postfix start-fg" puts its master into a session of its own, where it would
	// outlive us. Checking makes the folders of the queue.
	if out, checkErr := exec.Command(NeedProgram(tb, "postfix", "postfix"), "-c", p.Config, "check").CombinedOutput(); checkErr != nil {
		tb.Fatalf("postfix check: %v\n%s", checkErr, out)
	}
	daemons, err := exec.Command(NeedProgram(tb, "postfix", "postconf"), "-c", p.Config, "-h", "daemon_directory").Output()
	if err != nil {
		tb.Fatal(err)
	}
	p.Process = StartProcess(tb, "postfix", filepath.Join(strings.TrimSpace(string(daemons)), "master"), "-c", p.Config, "-d")
	p.Addr = addr
	p.waitPort(tb, addr)
	p.waitPort(tb, p.SMTPS)
	return p
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
myhostname = mail.example.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[2]s
smtpd_tls_key_file = %[3]s
smtpd_tls_loglevel = 1
smtputf8_enable = no
default_database_type = texthash
`

const postfixMaster = `%[1]s inet n - n - - smtpd
%[2]s inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
`

const postfixRelay = `smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtp_destination_concurrency_limit = 50
smtp_destination_recipient_limit = 1000
smtp_tls_security_level = none
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
`

const postfixDelivers = `smtp unix - - n - 50 smtp
pickup unix n - n 1 1 pickup
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
scache unix - - n - 1 scache
`
