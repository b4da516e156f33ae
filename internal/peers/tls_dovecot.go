package peers

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

// Dovecot is a running Dovecot. The addresses are host:port; those without S
// offer STARTTLS and those with S are TLS from the start. Its user is "alice"
// with the password "secret".
type Dovecot struct {
	*Process
	IMAP, IMAPS, POP3, POP3S, LMTP, Sieve string
	// Config is the name of its configuration file.
	Config string
}

// StartDovecot starts Dovecot with a certificate and key, PEM files. Lines of
// extra are added to the configuration.
func StartDovecot(tb testing.TB, cert, key, extra string) *Dovecot {
	tb.Helper()
	NeedProgram(tb, "dovecot-imapd", "dovecot")
	dir := short(tb)
	me, err := user.Current()
	if err != nil {
		tb.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		tb.Fatal(err)
	}
	internal, login, mailUID := me.Username, me.Username, me.Uid
	if me.Uid == "0" {
		internal, login, mailUID = "dovecot", "dovenull", "8"
	}
	d := &Dovecot{Config: filepath.Join(dir, "dovecot.conf")}
	ports := make([]any, 0, 6)
	for _, addr := range []*string{&d.IMAP, &d.IMAPS, &d.POP3, &d.POP3S, &d.LMTP, &d.Sieve} {
		port := FreePort(tb)
		*addr = net.JoinHostPort("127.0.0.1", port)
		ports = append(ports, port)
	}
	passwd := filepath.Join(dir, "passwd")
	if err = os.WriteFile(passwd, []byte("alice:{PLAIN}secret\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	mail := filepath.Join(dir, "mail")
	if err = os.Mkdir(mail, 0o777); err != nil {
		tb.Fatal(err)
	}
	if err = os.Chmod(mail, 0o777); err != nil {
		tb.Fatal(err)
	}
	conf := fmt.Sprintf(dovecotGeneral, dir, internal, login, group.Name, cert, key, passwd, mailUID, mail) +
		fmt.Sprintf(dovecotServices, ports...) + extra
	if err = os.WriteFile(d.Config, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	d.Process = StartProcess(tb, "dovecot-imapd", "dovecot", "-F", "-c", d.Config)
	for _, addr := range []string{d.IMAP, d.IMAPS, d.POP3, d.POP3S, d.LMTP, d.Sieve} {
		d.waitPort(tb, addr)
	}
	return d
}

const dovecotGeneral = `
base_dir = %[1]s/run
state_dir = %[1]s/run
default_internal_user = %[2]s
default_login_user = %[3]s
default_internal_group = %[4]s
log_path = /dev/stderr
info_log_path = /dev/stderr
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[5]s
ssl_key = <%[6]s
disable_plaintext_auth = yes
first_valid_uid = 0
first_valid_gid = 0
passdb {
  driver = passwd-file
  args = %[7]s
}
userdb {
  driver = static
  args = uid=%[8]s gid=%[8]s home=%[9]s/%%u
}
mail_location = maildir:~/Maildir
service anvil {
  chroot =
}
service imap-login {
  chroot =
}
service pop3-login {
  chroot =
}
service managesieve-login {
  chroot =
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`

const dovecotServices = `
service imap-login {
  inet_listener imap {
    port = %s
  }
  inet_listener imaps {
    port = %s
    ssl = yes
  }
}
service pop3-login {
  inet_listener pop3 {
    port = %s
  }
  inet_listener pop3s {
    port = %s
    ssl = yes
  }
}
service lmtp {
  inet_listener lmtp {
    port = %s
  }
}
service managesieve-login {
  inet_listener sieve {
    port = %s
  }
}
`
