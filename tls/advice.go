package tls

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Advice returns a sentence of advice for people about an error of this package,
// of a handshake or of a TLS connection, or "" if there is none. In TLS 1.3 a server judges the
// client's certificate after the client's handshake has ended, so that what it
// says of it comes with the first Read.
func Advice(err error) string {
	if err == nil {
		return ""
	}
	if s := dialogueAdvice(err); s != "" {
		return s
	}
	if s := certificateAdvice(err); s != "" {
		return s
	}
	var alert cryptotls.AlertError
	if errors.As(err, &alert) {
		return alertAdvice[uint8(alert)]
	}
	// crypto/tls gives alerts of a peer as a *net.OpError around a type of its
	// own, which says no more than its text.
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err != nil {
		return remoteAdvice(op.Err.Error())
	}
	return connectionAdvice(err)
}

func dialogueAdvice(err error) string {
	var injection *InjectionError
	switch {
	case errors.Is(err, ErrStartTLSNotOffered):
		return "the server has no STARTTLS at this port, or somebody on the way removes it; implicit TLS at the port for it is safer"
	case errors.As(err, &injection):
		return "the peer is broken, or somebody on the way puts words into its mouth; do not go on"
	case errors.Is(err, ErrPreauth):
		return "use implicit TLS, or have the server greet with OK"
	}
	return ""
}

func certificateAdvice(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, ErrALPN):
		return "the other side may serve another protocol at this port, or know nothing of ALPN"
	case errors.As(err, &unknown):
		return "the certificate's issuer is not trusted here, or the server leaves out an intermediate certificate"
	case errors.As(err, &host), errors.As(err, new(*NameError)):
		return "the certificate is for another name; use the name that stands in it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet; look at both clocks"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "the certificate is not meant for this use"
	}
	return ""
}

func connectionAdvice(err error) string {
	var record cryptotls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return "what came is not TLS: the other side may expect STARTTLS at this port, or answer in plaintext"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "the other side did not answer in time: it may expect STARTTLS at this port, or drop big packets"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the other side hung up: it may refuse the versions, ciphers or names that were offered"
	}
	return ""
}

// alertAdvice is by number of the alert (RFC 8446, Section 6).
var alertAdvice = map[uint8]string{
	40:  "no cipher, curve or signature algorithm in common, or a client certificate is demanded",
	42:  "the other side does not like the certificate",
	43:  "the other side does not know certificates of this type",
	44:  "the certificate has been revoked",
	45:  "the other side says that the certificate has expired",
	46:  "the other side does not accept the certificate",
	48:  "the other side does not trust the issuer of the certificate",
	49:  "the other side understood, and does not want to go on",
	70:  "no TLS version in common; the profile \"old\" offers TLS 1.0 and 1.1",
	71:  "the other side demands stronger algorithms",
	80:  "the other side has a fault of its own",
	86:  "the other side says that this is a fall-back to an older version",
	112: "the other side does not serve this name",
	116: "the other side demands a client certificate",
	120: "the other side serves another protocol at this port (ALPN)",
}

// remoteAdvice finds the alert that crypto/tls describes with a text.
func remoteAdvice(text string) string {
	for number, advice := range alertAdvice {
		if strings.TrimPrefix(text, "tls: ") == strings.TrimPrefix(cryptotls.AlertError(number).Error(), "tls: ") {
			return advice
		}
	}
	return ""
}
