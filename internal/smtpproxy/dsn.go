package smtpproxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// errNobody says that there is nobody to send a notification to.
var errNobody = errors.New("the message has no sender to tell")

// notify sends a delivery status notification (RFC 3464) to the sender, by way of
// the upstream. It has the header of the message in it and not its body, which
// may have been meant to be encrypted.
func (s *session) notify(e *envelope, m *message, failed map[string]error) error {
	if e.from == "" {
		return errNobody
	}
	report := s.report(e, m, failed)
	var err error
	// RFC 5321, Section 4.5.5: notifications have no sender. Submission servers may
	// insist on one.
	for _, from := range []string{"", e.from} {
		if err = s.submit(from, e.from, report); err == nil {
			return nil
		}
		if s.up.err != nil {
			break
		}
		if _, rsetErr := s.up.command("RSET"); rsetErr != nil {
			return rsetErr
		}
	}
	return err
}

// submit sends a message that is at hand.
func (s *session) submit(from, to string, content []byte) error {
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"} {
		r, err := s.up.command("%s", line)
		if err != nil {
			return err
		}
		if !r.good() {
			return r
		}
	}
	r, err := s.up.data(bytes.NewReader(content))
	if err == nil && !r.good() {
		err = r
	}
	return err
}

// report writes the notification.
func (s *session) report(e *envelope, m *message, failed map[string]error) []byte {
	now := s.p.now()
	boundary := rand.Text()
	to := make([]string, 0, len(failed))
	for address := range failed {
		to = append(to, address)
	}
	slices.Sort(to)
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail Delivery Subsystem <MAILER-DAEMON@%s>", s.p.Name)
	line("To: <%s>", e.from)
	line("Subject: Your message did not reach all of its recipients")
	line("Date: %s", now.Format(time.RFC1123Z))
	line("Message-ID: <%s@%s>", rand.Text(), s.p.Name)
	line("Auto-Submitted: auto-replied") // RFC 3834
	line("MIME-Version: 1.0")
	line(`Content-Type: multipart/report; report-type=delivery-status; boundary="%s"`, boundary)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("Your message was sent in different forms, encrypted for some of its recipients, say.")
	line("Some have it. The mail server did not take it for these:")
	line("")
	for _, address := range to {
		line("  %s", oneLine(address))
		line("    %s", oneLine(diagnostic(failed[address])))
	}
	line("")
	line("--%s", boundary)
	line("Content-Type: message/delivery-status")
	line("")
	line("Reporting-MTA: dns; %s", s.p.Name)
	line("Arrival-Date: %s", now.Format(time.RFC1123Z))
	for _, address := range to {
		line("")
		line("Final-Recipient: rfc822; %s", oneLine(address))
		line("Action: failed")
		line("Status: %s", statusOf(failed[address]))
		line("Diagnostic-Code: smtp; %s", oneLine(diagnostic(failed[address])))
	}
	line("")
	line("--%s", boundary)
	line("Content-Type: text/rfc822-headers")
	line("")
	for _, f := range m.header.Fields {
		if !f.Is("Bcc") {
			b.Write(f.Raw)
		}
	}
	line("")
	line("--%s--", boundary)
	return b.Bytes()
}

// diagnostic returns a reply as it was.
func diagnostic(err error) string {
	if se, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return fmt.Sprintf("%d %d.%d.%d %s", se.Code, se.EnhancedCode[0], se.EnhancedCode[1], se.EnhancedCode[2], strings.ReplaceAll(se.Message, "\n", " / "))
	}
	return "451 4.4.2 the connection to the mail server was lost"
}

// statusOf returns the status of a failure (RFC 3463). There is no queue: what
// was put off has failed.
func statusOf(err error) string {
	if se, ok := errors.AsType[*smtp.SMTPError](err); ok && se.EnhancedCode[0] == 5 {
		return fmt.Sprintf("5.%d.%d", se.EnhancedCode[1], se.EnhancedCode[2])
	}
	return "5.4.7"
}
