package main

import (
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
	"github.com/postseal/postseal/tls/certs"
)

const tlsLong = `
Looks at the TLS of mail servers, and talks to them by hand.

  smimetool tls probe mx.example.org:25       what it offers, and what is wrong
  smimetool tls connect imap.example.org:993  a conversation over TLS
  smimetool tls serve --listen 127.0.0.1:4433 --cert server.pem

At the ports of SMTP, LMTP, IMAP, POP3, ManageSieve, LDAP and XMPP STARTTLS comes
first where it is usual; at others name the protocol with --starttls.
`

func newTLS(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tls COMMAND", Short: "TLS of mail servers: probe, connect, serve",
		Long: strings.TrimSpace(tlsLong), Args: noSuchCommand,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{"no command was given", []string{"smimetool tls --help lists the commands"}}
		},
		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	cmd.AddCommand(newTLSProbe(a), newTLSConnect(a), newTLSServe(a))
	return cmd
}

// targetFlags say which server.
type targetFlags struct {
	startTLS, serverName string
	trust                []string
	timeout              time.Duration
	identity             identityFlag
}

func (f *targetFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	startTLSFlag(cmd, &f.startTLS, append(tlstool.Protocols(), "none"))
	flags.StringVar(&f.serverName, "servername", "", "the certificate is to be for `NAME`, which the server is asked for (default: the host)")
	flags.StringArrayVar(&f.trust, "trust", nil, "trust the authorities whose certificates are in `FILE`, and no others (repeatable; default: those of the system)")
	flags.DurationVar(&f.timeout, "timeout", tlstool.DefaultTimeout, "give a connection up that takes longer than `TIME` to its end of the handshake, such as 10s")
	f.identity.register(cmd, "client-cert", "certificate to show when the server asks for one: PEM, DER or PKCS#12, with its key or with --key")
	passphraseFlag(a, cmd)
	markFiles(cmd, "trust")
}

func startTLSFlag(cmd *cobra.Command, value *string, names []string) {
	cmd.Flags().StringVar(value, "starttls", "", "speak `PROTOCOL` and begin TLS with STARTTLS: "+strings.Join(names, ", "))
	complete(cmd, "starttls", names)
}

func (f *targetFlags) target(args []string) (*tlstool.Target, error) {
	if len(args) == 0 {
		return nil, &usageError{"which server? Give HOST:PORT", []string{"smimetool tls probe mx.example.org:25, for example"}}
	}
	t, err := tlstool.ParseTarget(args[0], f.startTLS)
	if err != nil {
		return nil, err
	}
	t.ServerName, t.Timeout = f.serverName, f.timeout
	return t, nil
}

// roots returns the authorities after --trust, nil for those of the system.
func (a *app) roots(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	authorities, err := a.readCerts(files)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range authorities {
		if c.X509 == nil {
			return nil, inFile(files[0], c.X509Err)
		}
		pool.AddCert(c.X509)
	}
	return pool, nil
}

// clientCertificate returns the first identity, nil for none.
func (a *app) clientCertificate(f *identityFlag) (*cryptotls.Certificate, error) {
	own, err := a.tlsCertificates(f)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	return &own[0], nil
}

// tlsCertificates returns one certificate, with its issuers, of each identity.
func (a *app) tlsCertificates(f *identityFlag) ([]cryptotls.Certificate, error) {
	files, err := f.pairs()
	if err != nil {
		return nil, err
	}
	var out []cryptotls.Certificate
	for _, file := range files {
		ids, loadErr := a.loadIdentity(file, a.secret.ask)
		if loadErr != nil {
			return nil, loadErr
		}
		found := false
		for i := range ids {
			if cert, certErr := certs.FromIdentity(&ids[i]); certErr == nil {
				out, found = append(out, cert), true
				break
			}
		}
		if !found {
			return nil, usagef("%s: no key in it can be used for TLS", file.cert)
		}
	}
	return out, nil
}

// versionFlags are the lowest and the highest version of TLS.
type versionFlags struct{ min, max string }

var tlsVersions = map[string]uint16{
	"1.0": cryptotls.VersionTLS10, "1.1": cryptotls.VersionTLS11, "1.2": cryptotls.VersionTLS12, "1.3": cryptotls.VersionTLS13,
}

func (f *versionFlags) register(cmd *cobra.Command) {
	names := []string{"1.0", "1.1", "1.2", "1.3"}
	cmd.Flags().StringVar(&f.min, "min", "1.2", "the lowest `VERSION` of TLS: "+strings.Join(names, ", "))
	cmd.Flags().StringVar(&f.max, "max", "1.3", "the highest `VERSION` of TLS")
	complete(cmd, "min", names)
	complete(cmd, "max", names)
}

func (f *versionFlags) versions() (lowest, highest uint16, err error) {
	lowest, highest = tlsVersions[f.min], tlsVersions[f.max]
	switch {
	case lowest == 0:
		return 0, 0, usagef("--min: there is no TLS %s", quote(f.min))
	case highest == 0:
		return 0, 0, usagef("--max: there is no TLS %s", quote(f.max))
	case lowest > highest:
		return 0, 0, usagef("--min %s is above --max %s", f.min, f.max)
	}
	return lowest, highest, nil
}

// talkFlags are those of a conversation.
type talkFlags struct {
	crlf, verbose bool
	keyLog        string
	changed       func(flag string) bool
}

func (f *talkFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.changed = flags.Changed
	flags.BoolVar(&f.crlf, "crlf", false, "end the lines of the input in CRLF (default: if they are typed on a terminal)")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "tell what is said before TLS, and all about certificates")
	flags.StringVar(&f.keyLog, "keylog", "", "append the secrets of the connection to `FILE`, for Wireshark: whoever has them can read everything")
	markFiles(cmd, "keylog")
}

// streams are those of the program.
func (f *talkFlags) streams(a *app) *tlstool.Streams {
	crlf := f.crlf
	if !f.changed("crlf") {
		crlf = isTerminal(a.stdin)
	}
	return &tlstool.Streams{
		In: a.stdin, Out: a.stdout, CRLF: crlf,
		Say: func(format string, args ...any) { a.say(printable(fmt.Sprintf(format, args...))) },
	}
}

// openKeyLog opens the file of --keylog; the result is nil without. The caller
// closes it.
func (f *talkFlags) openKeyLog() (*os.File, error) {
	if f.keyLog == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.keyLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &namedError{"--keylog", err}
	}
	return file, nil
}
