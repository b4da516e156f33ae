package tlstool

import (
	"fmt"
	"io"
	"net"
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
	if host, _, err := net.SplitHostPort(r.Target); err == nil && host != r.ServerName {
		what += ", as " + r.ServerName
	}
	t.line("%s", printable(what))
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
		t.row("resumption", "%s", strings.TrimSpace("a ticket was given, and not taken "+r.Resumption.Error))
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
			t.row("DANE", "no records at %s", d.Name)
		default:
			t.row("DANE", "%s at %s, DNSSEC: %s, for this certificate: %s", records(len(d.Records)), d.Name, yesNo(d.Secure), yesNo(d.Matched))
			t.row("", "%s", d.Record+d.Mismatch)
		}
	}
	r.writeMail(t)
}

func (r *Report) writeMail(t *texter) {
	if m := r.Mail; m != nil {
		servers := m.Error
		if servers == "" {
			servers = strings.Join(m.MX, ", ")
		}
		if servers == "" {
			servers = "no MX records"
		}
		t.row("mail of", "%s: %s; DNSSEC: %s", m.Domain, servers, yesNo(m.Secure))
	}
	if s := r.MTASTS; s != nil {
		switch {
		case s.Mode != "":
			t.row("MTA-STS", "%s for %s, id %s, names this server: %s", s.Mode, span(s.MaxAge), s.ID, yesNo(s.Listed))
			t.row("", "hosts: %s", strings.Join(s.MX, ", "))
		case isNone(s.err):
			t.row("MTA-STS", "no policy")
		default:
			t.row("MTA-STS", "%s", s.Error)
		}
	}
	c := r.Client
	if c == nil || r.Mail == nil && (r.DANE == nil || len(r.DANE.Records) == 0 && r.DANE.Error == "") {
		return // what was said of trust is all
	}
	who := "a client"
	if r.Mail != nil && r.Mail.Listed {
		who = "a sender"
	}
	switch {
	case !c.Connects:
		t.row(who, "does not connect: %s", c.Error)
	case c.Authenticated:
		t.row(who, "connects, and knows whom to (%s)", c.Rule)
	default:
		t.row(who, "connects, and does not know whom to (%s)", c.Rule)
	}
	for _, why := range c.Why {
		t.row("", "%s", why)
	}
}

// span is a number of seconds in words.
func span(seconds int64) string {
	if d := time.Duration(seconds) * time.Second; d < 48*time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%d days", seconds/(24*60*60))
}

func records(n int) string {
	if n == 1 {
		return "one record"
	}
	return fmt.Sprintf("%d records", n)
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
