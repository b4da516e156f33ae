package main

import (
	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
)

const tlsConnectLong = `
Joins the standard input and output with a server, over TLS; what is negotiated
goes to the standard error stream. At the end of the input the server is told so
(close_notify), and has 10 seconds for what it still has to send.

With --crlf a line that you type ends as mail protocols want it.
`

type tlsConnect struct {
	targetFlags
	versionFlags
	crlf, noTrust bool
	alpn          []string
}

func newTLSConnect(a *app) *cobra.Command {
	f := &tlsConnect{}
	cmd := a.newCommand("connect [--starttls PROTOCOL] [--crlf] HOST:PORT", "Talk to a server over TLS", tlsConnectLong, 1,
		func(args []string) error { return a.tlsConnect(f, args) })
	f.targetFlags.register(a, cmd)
	f.versionFlags.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.crlf, "crlf", false, "end the lines of the input in CRLF")
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
	opts := &tlstool.ConnectOptions{NoTrust: f.noTrust, ALPN: f.alpn}
	if opts.MinVersion, opts.MaxVersion, err = f.versions(); err != nil {
		return err
	}
	if opts.Roots, err = a.roots(f.trust); err != nil {
		return err
	}
	if opts.Certificate, err = a.clientCertificate(&f.identity); err != nil {
		return err
	}
	return tlstool.Connect(a.context(), t, a.tlsStreams(f.crlf), opts)
}
