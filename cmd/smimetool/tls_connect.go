package main

import (
	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
)

const tlsConnectLong = `
Joins the standard input and output with a server, over TLS; what is negotiated
goes to the standard error stream. At the end of the input (Ctrl-D) the server is
told so (close_notify), and has 10 seconds for what it still has to send. No line
that you type is a command: Q and R are sent like all others.

  smimetool tls connect -v mx.example.org:25
  printf 'a1 CAPABILITY\r\n' | smimetool tls connect imap.example.org:993

After STARTTLS the server waits: begin with EHLO, or another command. With
--no-trust it is said what is wrong with the certificate. --resume shows whether
the server resumes sessions.
`

type tlsConnect struct {
	targetFlags
	versionFlags
	talkFlags
	noTrust, resume, showCerts bool
	alpn                       []string
}

func newTLSConnect(a *app) *cobra.Command {
	f := &tlsConnect{}
	cmd := a.newCommand("connect [--starttls PROTOCOL] [-v] HOST:PORT", "Talk to a server over TLS", tlsConnectLong, 1,
		func(args []string) error { return a.tlsConnect(f, args) })
	f.targetFlags.register(a, cmd)
	f.versionFlags.register(cmd)
	f.talkFlags.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.resume, "resume", false, "connect twice, and resume the session of the first connection in the second")
	flags.BoolVar(&f.showCerts, "show-certs", false, "print the server's certificates in PEM")
	flags.BoolVar(&f.noTrust, "no-trust", false, "go on whoever the server is")
	flags.StringSliceVar(&f.alpn, "alpn", nil, "offer `NAME`s of protocols (ALPN; default: that of the protocol)")
	return cmd
}

func (a *app) tlsConnect(f *tlsConnect, args []string) error {
	t, err := f.target(args)
	if err != nil {
		return err
	}
	if f.noTrust && len(f.trust) > 0 {
		return usagef("--trust and --no-trust exclude each other")
	}
	opts := &tlstool.ConnectOptions{NoTrust: f.noTrust, ALPN: f.alpn, Resume: f.resume, Verbose: f.verbose, PEM: f.showCerts}
	if opts.MinVersion, opts.MaxVersion, err = f.versions(); err != nil {
		return err
	}
	if opts.Roots, err = a.roots(f.trust); err != nil {
		return err
	}
	if opts.Certificate, err = a.clientCertificate(&f.identity); err != nil {
		return err
	}
	keyLog, err := f.openKeyLog()
	if err != nil {
		return err
	}
	if keyLog != nil {
		defer func() { _ = keyLog.Close() }() // what is lost is for people to look at
		opts.KeyLog = keyLog
	}
	return tlstool.Connect(a.context(), t, f.streams(a), opts)
}
