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

	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/smime"
)

// errNobody says that there is nobody to send a notification to.
var errNobody = errors.New("the message has no sender to tell")

// notify sends a delivery status notification (RFC 3464) to the sender, by way of
// the upstream, about those who want to be told of.
func (s *session) notify(e *envelope, m *outgoing.Message, outcomes []outcome, failed map[string]error) error {
	told := make(map[string]error)
	for address, reply := range failed {
		if !e.find(address).silent {
			told[address] = reply
		}
	}
	if len(told) == 0 {
		return nil
	}
	if e.from == "" {
		return errNobody
	}
	secret := s.p.Headers >= smime.HeadersBaseline && slices.ContainsFunc(outcomes, func(o outcome) bool { return o.copy.Encrypt })
	report := s.report(e, m, told, secret)
	var err error
	// RFC 5321, Section 4.5.5: notifications have no sender. Submission servers may
	// insist on one.
	for _, from := range []string{"", e.from} {
		if err = s.submit(from, e.from, report); err == nil || s.up.err != nil {
			return err
		}
	}
	return err
}

// submit sends a message that is at hand.
func (s *session) submit(from, to string, content []byte) error {
	params := ""
	if !isASCII(to) {
		params = " SMTPUTF8"
	}
	if !isASCII(string(content)) && s.up.has("8BITMIME") {
		params += " BODY=8BITMIME"
	}
	sender, _ := path(from, true) // both have been said once
	recipient, _ := path(to, true)
	replies, err := s.up.commands([]string{"RSET", "MAIL FROM:" + sender + params, "RCPT TO:" + recipient})
	if err != nil {
		return err
	}
	for _, r := range replies {
		if !r.good() {
			return r
		}
	}
	r, err := s.up.message(bytes.NewReader(content), int64(len(content)))
	if err == nil && !r.good() {
		err = r
	}
	return err
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > '~' })
}

// written is an address in US-ASCII.
func written(address string) string {
	if isASCII(address) {
		return oneLine(address)
	}
	return utf8xtext(address)
}

// hidden are the fields that a message with protected header shows nobody (RFC
// 9788, Section 3.2.1: hcp_baseline).
var hidden = []string{"Subject", "Comments", "Keywords"}

// report writes the notification. It has the header of the message in it and not
// its body, which may have been meant to be encrypted; with secret it has no
// subject, either.
func (s *session) report(e *envelope, m *outgoing.Message, failed map[string]error, secret bool) []byte {
	now := s.p.now().Format(time.RFC1123Z)
	boundary := rand.Text()
	to := make([]string, 0, len(failed))
	for address := range failed {
		to = append(to, address)
	}
	slices.Sort(to)
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail Delivery Subsystem <MAILER-DAEMON@%s>", s.p.Name)
	path, _ := path(e.from, true) // it has been said once
	line("To: %s", path)
	line("Subject: Your message did not reach all of its recipients")
	line("Date: %s", now)
	line("Message-ID: <%s@%s>", rand.Text(), s.p.Name)
	line("Auto-Submitted: auto-replied") // RFC 3834
	line("MIME-Version: 1.0")
	line(`Content-Type: multipart/report; report-type=delivery-status; boundary="%s"`, boundary)
	line("\r\n--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii\r\n")
	line("Your message was sent in different forms, encrypted for some of its recipients, say.")
	line("Some have it. The mail server did not take it for these:\r\n")
	for _, address := range to {
		line("  %s", written(address))
		line("    %s", oneLine(diagnostic(failed[address])))
	}
	line("\r\n--%s", boundary)
	line("Content-Type: message/delivery-status\r\n")
	line("Reporting-MTA: dns; %s", s.p.Name)
	if e.id != "" {
		line("Original-Envelope-Id: %s", oneLine(e.id))
	}
	line("Arrival-Date: %s", now)
	for _, address := range to {
		line("")
		if original := e.find(address).original; original != "" {
			line("Original-Recipient: %s", original)
		}
		kind := "rfc822"
		if !isASCII(address) {
			kind = "utf-8" // RFC 6533, Section 3
		}
		line("Final-Recipient: %s; %s", kind, written(address))
		line("Action: failed")
		line("Status: %s", statusOf(failed[address]))
		line("Diagnostic-Code: smtp; %s", oneLine(diagnostic(failed[address])))
	}
	line("\r\n--%s", boundary)
	header := returned(m, secret)
	line("Content-Type: text/rfc822-headers")
	if !isASCII(string(header)) {
		line("Content-Transfer-Encoding: 8bit")
	}
	line("")
	b.Write(header)
	line("\r\n--%s--", boundary)
	return b.Bytes()
}

// returned is the header of a message as a notification has it.
func returned(m *outgoing.Message, secret bool) []byte {
	var b bytes.Buffer
	for _, f := range m.Header.Fields {
		if f.Is("Bcc") || secret && slices.ContainsFunc(hidden, f.Is) {
			continue
		}
		b.Write(f.Raw)
	}
	return b.Bytes()
}

// diagnostic returns a reply as it was.
func diagnostic(err error) string {
	if se, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return fmt.Sprintf("%d %d.%d.%d %s", se.Code, se.EnhancedCode[0], se.EnhancedCode[1], se.EnhancedCode[2], strings.ReplaceAll(se.Message, "\n", " / "))
	}
	return "421 4.4.2 The connection to the mail server was lost"
}

// statusOf returns the status of a failure (RFC 3463). There is no queue: what
// was put off has failed.
func statusOf(err error) string {
	if se, ok := errors.AsType[*smtp.SMTPError](err); ok && se.EnhancedCode[0] == 5 {
		return fmt.Sprintf("5.%d.%d", se.EnhancedCode[1], se.EnhancedCode[2])
	}
	return "5.4.7"
}
