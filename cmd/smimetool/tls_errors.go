package main

import (
	"errors"
	"strings"

	"github.com/postseal/postseal/cmd/smimetool/internal/tlstool"
	"github.com/postseal/postseal/tls"
)

// explainTLS is for connections.
func explainTLS(err error, e *explanation) bool {
	if errors.As(err, new(*tlstool.UntrustedError)) {
		e.code, e.hints = exitUntrusted, []string{
			"--trust FILE trusts the authorities in a file, and --servername NAME looks for another name; tls connect --no-trust goes on all the same",
		}
		return true
	}
	if errors.As(err, new(*tlstool.CertificateWantedError)) {
		e.hints = []string{"give one with --client-cert FILE"}
		return true
	}
	if te, ok := errors.AsType[*tlstool.TargetError](err); ok {
		e.code, e.message = exitUsage, printable(te.Error())
		e.hints = []string{"a server is HOST:PORT, such as mx.example.org:25 or [::1]:993; --starttls takes " + strings.Join(tlstool.Protocols(), ", ")}
		return true
	}
	if ce, ok := errors.AsType[*tls.ConfigError](err); ok {
		e.code, e.message = exitUsage, printable(strings.TrimPrefix(ce.Error(), "tls: "))
		return true
	}
	switch {
	case errors.As(err, new(*tls.NotOfferedError)):
		e.hints = []string{"does the server have TLS at a port of its own, such as 465, 993 or 995? Somebody on the way may also have removed the offer"}
	case errors.As(err, new(*tls.InjectionError)):
		e.hints = []string{"whoever is between you and the server may be trying to add to what the server says; or the server speaks out of turn"}
	case errors.As(err, new(*tls.ProtocolError)):
		e.hints = []string{"does the server speak this protocol at this port? --starttls names another one, and --starttls none begins with TLS at once"}
	case errors.As(err, new(*tls.HandshakeError)), errors.As(err, new(*tlstool.DialError)):
	default:
		return false
	}
	return true
}
