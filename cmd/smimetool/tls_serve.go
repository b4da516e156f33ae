package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
	"github.com/postseal/postseal/tls"
)

const tlsServeLong = `
Is a TLS server for tests: what a client sends goes to the standard output, and the
standard input to the client. With --echo it goes back to the client instead, and
there may be many of them. What is negotiated, and the address that it listens on,
goes to the standard error stream. It ends with an interrupt or SIGTERM, or, with
--once, with its first client.

With --starttls it speaks the protocol up to STARTTLS, and nothing after it: what
the server says then is typed, as is the greeting without --starttls. What a client
offers is told when its handshake fails, and with -v always.

  smimetool tls serve --listen 127.0.0.1:2525 --cert server.pem --starttls smtp -v
  swaks --server 127.0.0.1:2525 --tls --to you@example.org
`

type tlsServe struct {
	versionFlags
	identity         identityFlag
	listen, startTLS string
	clientCA, alpn   []string
	echo, once       bool
	askClient        bool
	talkFlags
}

// startTLSServers are the protocols that can be upgraded here.
var startTLSServers = []string{"smtp", "lmtp", "imap", "pop3"}

func newTLSServe(a *app) *cobra.Command {
	f := &tlsServe{}
	cmd := a.newCommand("serve --listen HOST:PORT --cert FILE [--key FILE] [--once]", "Be a TLS server for tests", tlsServeLong, 0,
		func([]string) error { return a.tlsServe(f) })
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "", "listen on `HOST:PORT`; port 0 is any that is free")
	f.identity.register(cmd, "cert", "certificate of the server: PEM, DER or PKCS#12, with its key or with --key (repeatable: the client names one)")
	startTLSFlag(cmd, &f.startTLS, startTLSServers)
	flags.StringArrayVar(&f.clientCA, "client-ca", nil, "clients need a certificate from an authority in `FILE` (repeatable)")
	flags.StringSliceVar(&f.alpn, "alpn", nil, "negotiate one of the `NAME`s of protocols (ALPN)")
	flags.BoolVar(&f.echo, "echo", false, "send back what comes")
	flags.BoolVar(&f.once, "once", false, "end with the first client")
	flags.BoolVar(&f.askClient, "ask-client-cert", false, "ask clients for a certificate, and tell which they show, whoever has issued it")
	f.talkFlags.register(cmd)
	f.versionFlags.register(cmd)
	passphraseFlag(a, cmd)
	markFiles(cmd, "client-ca")
	return cmd
}

func (a *app) tlsServe(f *tlsServe) error {
	switch {
	case f.listen == "":
		return &usageError{"--listen HOST:PORT is needed", []string{"--listen 127.0.0.1:4433 serves this computer alone"}}
	case f.askClient && len(f.clientCA) > 0:
		return usagef("--ask-client-cert and --client-ca exclude each other")
	case len(f.identity.files) == 0:
		return &usageError{"--cert FILE is needed", []string{"smimetool ca issue makes one, and so does openssl req -x509"}}
	}
	opts := &tlstool.ServeOptions{Echo: f.echo, Once: f.once, ALPN: f.alpn, StartTLS: f.startTLS != "", AskClient: f.askClient, Verbose: f.verbose}
	var err error
	if f.startTLS != "" {
		if opts.Protocol, err = tls.ParseProtocol(f.startTLS); err != nil {
			return err
		}
	}
	if opts.MinVersion, opts.MaxVersion, err = f.versions(); err != nil {
		return err
	}
	if opts.Certificates, err = a.tlsCertificates(&f.identity); err != nil {
		return err
	}
	if opts.ClientCAs, err = a.roots(f.clientCA); err != nil {
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
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return &namedError{"--listen", err}
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM) // here they are a good end
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a.say("listening on " + ln.Addr().String())
	return tlstool.Serve(ctx, ln, f.streams(a), opts)
}
