package tlstool

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes a report for people.
func (r *Report) WriteText(w io.Writer) error {
	t := &texter{w: w}
	what := r.Target
	if r.Address != "" && r.Address != r.Target {
		what += " (" + r.Address + ")"
	}
	if r.Protocol != "" {
		what += ", " + strings.ToUpper(r.Protocol)
	}
	if r.StartTLS {
		what += " with STARTTLS"
	}
	t.line("%s", what)
	r.writeHandshake(t)
	for i, c := range r.Certificates {
		t.row(fmt.Sprintf("certificate %d", i+1), "%s", c.Subject)
		if len(c.Names) > 0 {
			t.row("", "names: %s", strings.Join(c.Names, ", "))
		}
		t.row("", "issuer: %s", c.Issuer)
		t.row("", "%s to %s, %s, signed with %s", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly), c.Key, c.Signature)
		t.row("", "SHA-256 %s", c.SHA256)
	}
	r.writeTrust(t)
	t.offers("versions", r.Versions)
	t.offers("TLS 1.2 ciphers", r.Suites)
	t.offers("key exchange", r.Groups)
	for _, a := range r.Advice {
		t.row(string(a.Severity), "%s", a.Text)
	}
	if len(r.Advice) == 0 {
		t.row("advice", "none: all is well")
	}
	return t.err
}

func (r *Report) writeHandshake(t *texter) {
	h := r.Handshake
	text := h.Version + ", " + h.CipherSuite
	if h.Group != "" {
		text += ", " + h.Group
	}
	if h.PostQuantum {
		text += " (post-quantum)"
	}
	t.row("handshake", "%s, %d ms", text, h.Milliseconds)
	if h.ALPN != "" {
		t.row("ALPN", "%s", h.ALPN)
	}
	switch c := h.ClientCertificate; {
	case c.Sent:
		t.row("client", "certificate asked for and shown")
	case c.Required:
		t.row("client", "certificate required")
	case c.Requested:
		t.row("client", "certificate asked for, not required")
	}
	switch {
	case r.Resumption.Resumed:
		t.row("resumption", "works")
	case r.Resumption.Ticket:
		t.row("resumption", "a ticket was given, and not taken %s", r.Resumption.Error)
	default:
		t.row("resumption", "no ticket")
	}
}

func (r *Report) writeTrust(t *texter) {
	if r.Trust.Trusted {
		t.row("trust", "trusted: %s", strings.Join(r.Trust.Path, " < "))
	} else {
		t.row("trust", "not trusted: %s", r.Trust.Error)
	}
	if o := r.OCSP; o.Stapled {
		t.row("OCSP", "stapled: %s", strings.Join(strings.Fields(o.Status+" "+o.Error), " "))
	}
	if d := r.DANE; d != nil {
		switch {
		case d.Error != "":
			t.row("DANE", "%s", d.Error)
		case len(d.Records) == 0:
			t.row("DANE", "no records")
		default:
			t.row("DANE", "%d records, DNSSEC: %s, for this certificate: %s", len(d.Records), yesNo(d.Secure), yesNo(d.Matched))
		}
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// A texter writes lines until one fails.
type texter struct {
	w   io.Writer
	err error
}

func (t *texter) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *texter) row(name, format string, args ...any) {
	t.line("  %-16s %s", name, fmt.Sprintf(format, args...))
}

// offers writes what was accepted, and what of it is weak.
func (t *texter) offers(name string, list []Offer) {
	var accepted []string
	for _, o := range list {
		if !o.Accepted {
			continue
		}
		text := o.Name
		if o.Weak {
			text += " (weak)"
		}
		accepted = append(accepted, text)
	}
	if len(accepted) > 0 {
		t.row(name, "%s", strings.Join(accepted, ", "))
	}
}
