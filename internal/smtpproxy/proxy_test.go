package smtpproxy

import (
	cryptotls "crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/mailtest"
	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/smime"
)

const note = "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nCc: dave@elsewhere.test\r\nSubject: Lunch\r\n\r\nat noon\r\n.dot\r\n..\r\n"

func proxyOf(t testing.TB, w *mailtest.World, r *policy.Rules) *Proxy {
	return &Proxy{Rules: r, Keys: func(string) Keys { return w }, Tags: policy.Tags{Sign: "[sign]", Encrypt: "[encrypt]", Field: "X-Postseal"}}
}

// TestUntouched passes octet for octet what the policy leaves alone.
func TestUntouched(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr))
	c.say("EHLO client.test", 250)
	for _, message := range []string{note, "\r\n", "no header", "A: b\r\n\r\n", strings.Repeat("long line ", 500) + "\r\n", "8-bit: \xff\xfe\r\n\r\n\xe4\r\n"} {
		if !strings.HasSuffix(message, "\r\n") {
			message += "\r\n"
		}
		c.mail("alice@example.org", message, 250, "bob@example.org", "x@y.test")
		got := up.Got()
		last := got[len(got)-1]
		if last.Data != message || last.From != "alice@example.org" || !slices.Equal(last.To, []string{"bob@example.org", "x@y.test"}) {
			t.Errorf("%q went out as %q, from %s to %s", message, last.Data, last.From, last.To)
		}
	}
	c.say("QUIT", 221)
}

// TestForms sends a message to people who get it in different forms.
func TestForms(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob", "erin")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Addr))
	c.say("EHLO client.test", 250)
	// Erin is a hidden recipient.
	c.mail("alice@example.org", note, 250, "bob@example.org", "dave@elsewhere.test", "erin@example.org")
	got := up.Got()
	if len(got) != 3 {
		t.Fatalf("%d transactions", len(got))
	}
	byTo := make(map[string]mailtest.Received)
	for _, r := range got {
		byTo[strings.Join(r.To, "+")] = r
	}
	for who, status := range map[string]smime.Status{"bob@example.org": smime.StatusEncryptedSignedVerified,
		"erin@example.org": smime.StatusEncryptedSignedVerified, "dave@elsewhere.test": smime.StatusSignedVerified} {
		r, ok := byTo[who]
		if !ok {
			t.Errorf("%s got nothing", who)
			continue
		}
		m, err := w.Open(t, r.Data, who)
		if err != nil || m.Status != status {
			t.Errorf("%s: %v", who, err)
			continue
		}
		body, err := io.ReadAll(m.Body())
		if err != nil || !strings.Contains(string(body), "at noon\r\n.dot\r\n..\r\n") {
			t.Errorf("%s got %q: %v", who, body, err)
		}
		if encrypted := strings.Contains(r.Data, "at noon"); encrypted == (status == smime.StatusEncryptedSignedVerified) {
			t.Errorf("%s: what is encrypted is readable", who)
		}
	}
	// Nobody can see from Bob's copy that Erin has one.
	if _, err := w.Open(t, byTo["bob@example.org"].Data, "erin@example.org"); !errors.As(err, new(*cms.NoMatchError)) {
		t.Errorf("Erin opens Bob's copy: %v", err)
	}
}

// TestRequired refuses who cannot be encrypted to, at RCPT; the others get it.
func TestRequired(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t, policy.Rule{Encrypt: mailtest.Level(policy.EncryptRequire)})), up.Addr))
	c.say("EHLO client.test", 250)
	c.say("MAIL FROM:<alice@example.org>", 250)
	if text := c.say("RCPT TO:<dave@elsewhere.test>", 550); !strings.Contains(text, "5.7.5") || !strings.Contains(text, "no certificate is known for dave@elsewhere.test") {
		t.Error(text)
	}
	c.say("RCPT TO:<bob@example.org>", 250)
	c.say("DATA", 354)
	c.send(note + ".\r\n")
	c.expect(250)
	got := up.Got()
	if len(got) != 1 || !slices.Equal(got[0].To, []string{"bob@example.org"}) || strings.Contains(got[0].Data, "noon") {
		t.Errorf("%v", got)
	}
	// A source that is down is not "no certificate".
	w.Down = true
	c.say("MAIL FROM:<alice@example.org>", 250)
	c.say("RCPT TO:<bob@example.org>", 451)
	c.say("RSET", 250)
}

// TestWishes asks for more than the policy, and takes the tags out.
func TestWishes(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t)), up.Addr))
	c.say("EHLO client.test", 250)
	with := func(subject, more string) string {
		return strings.Replace(note, "Subject: Lunch\r\n", "Subject: "+subject+"\r\n"+more, 1)
	}
	c.mail("alice@example.org", with("[encrypt] Lunch", ""), 250, "bob@example.org")
	c.mail("alice@example.org", with("Lunch", "X-Postseal: sign\r\n"), 250, "bob@example.org")
	c.mail("alice@example.org", with("=?utf-8?q?=5Bsign=5D_L=C3=BCnch?=", ""), 250, "bob@example.org")
	got := up.Got()
	for i, want := range []smime.Status{smime.StatusUnknown, smime.StatusSignedVerified, smime.StatusSignedVerified} {
		m, err := w.Open(t, got[i].Data, "bob@example.org")
		if err != nil || m.Status != want || m.Encrypted != (i == 0) || strings.Contains(got[i].Data, "X-Postseal") || strings.Contains(got[i].Data, "[encrypt]") {
			t.Errorf("message %d: %v\n%s", i, err, got[i].Data)
		}
	}
	if !strings.Contains(got[2].Data, "Subject: =?utf-8?b?TMO8bmNo?=") {
		t.Errorf("subject:\n%s", got[2].Data)
	}
	// What cannot be done is refused as a whole, and nothing is sent.
	if text := c.mail("alice@example.org", with("[encrypt] Lunch", ""), 550, "bob@example.org", "dave@elsewhere.test"); !strings.Contains(text, "dave@elsewhere.test") {
		t.Error(text)
	}
	c.mail("nobody@example.org", strings.Replace(with("[sign] x", ""), "alice@", "nobody@", 1), 550, "bob@example.org")
	c.mail("alice@example.org", with("x", "X-Postseal: encrpyt\r\n"), 554, "bob@example.org")
	c.mail("carol@example.org", strings.Replace(with("[sign] x", ""), "alice@", "carol@", 1), 451, "bob@example.org") // her key is locked
	if n := len(up.Got()); n != 3 {
		t.Errorf("%d messages were sent", n)
	}
}

// sealed returns a message from Alice as she could have made it herself.
func sealed(t testing.TB, w *mailtest.World, encrypt, sign bool) string {
	t.Helper()
	var signers []cms.Signer
	if sign {
		signer, err := w.Signer(t.Context(), "alice@example.org")
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, *signer)
	}
	var b strings.Builder
	out, err := smime.Sign(&b, signers, nil)
	if encrypt {
		b.Reset()
		to := &cms.CertificateRecipient{Certificate: pki.FromX509(w.People["bob@example.org"].Cert)}
		out, err = smime.Encrypt(&b, []cms.Recipient{to}, &smime.EncryptOptions{Signers: signers})
	}
	if err == nil {
		_, err = io.WriteString(out, note)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestProtectedAlready leaves alone what somebody has protected: octet for octet,
// to all at once. What only says that it is protected is not.
func TestProtectedAlready(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t, policy.Rule{Recipient: "bob@example.org", Encrypt: mailtest.Level(policy.EncryptIfPossible)})), up.Addr))
	c.say("EHLO client.test", 250)
	header := "From: alice@example.org\r\nTo: bob@example.org\r\nMIME-Version: 1.0\r\nContent-Type: "
	pgp := "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x\r\n\r\n--x\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n" +
		"--x\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\nAAAA\r\n--x--\r\n"
	for name, message := range map[string]string{
		"encrypted": sealed(t, w, true, false), "both": sealed(t, w, true, true), "signed": sealed(t, w, false, true),
		"no type": strings.Replace(sealed(t, w, true, true), "smime-type=authEnveloped-data;\r\n", "\r\n", 1),
		"PGP":     header + fmt.Sprintf(pgp, "-----BEGIN PGP MESSAGE-----"),
	} {
		c.mail("alice@example.org", message, 250, "bob@example.org", "dave@elsewhere.test")
		if got := up.Got(); got[len(got)-1].Data != message || len(got[len(got)-1].To) != 2 {
			t.Errorf("%s: %+v", name, got[len(got)-1])
		}
	}
	for name, message := range map[string]string{
		"not CMS":       header + "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nsecret plan\r\n",
		"another OID":   header + "application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\nMAsGCSqGSIb3DQEHAQ==\r\nsecret plan\r\n",
		"not PGP":       header + fmt.Sprintf(pgp, "secret plan"),
		"no parts":      header + "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x\r\n\r\nsecret plan\r\n",
		"no signature":  header + "multipart/signed; boundary=x; protocol=\"application/pkcs7-signature\"\r\n\r\n--x\r\n\r\nsecret plan\r\n--x--\r\n",
		"no parameters": header + "multipart/signed\r\n\r\nsecret plan\r\n",
	} {
		c.mail("alice@example.org", message, 250, "bob@example.org")
		got := up.Got()
		m, err := w.Open(t, got[len(got)-1].Data, "bob@example.org")
		if strings.Contains(got[len(got)-1].Data, "secret plan") || m == nil || !m.Encrypted {
			t.Errorf("%s went out readable: %v\n%s", name, err, got[len(got)-1].Data)
		}
	}
}

// TestSignedAlready encrypts around a signature where that is required.
func TestSignedAlready(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Rules(t, policy.Rule{Sign: mailtest.Level(policy.SignAlways), Encrypt: mailtest.Level(policy.EncryptRequire)})), up.Addr))
	c.say("EHLO client.test", 250)
	c.mail("alice@example.org", sealed(t, w, false, true), 250, "bob@example.org")
	m, err := w.Open(t, up.Got()[0].Data, "bob@example.org")
	if err != nil || m.Status != smime.StatusEncryptedSignedVerified || len(m.Layers) != 2 {
		t.Errorf("%v\n%s", err, up.Got()[0].Data)
	}
}

// TestPartialFailure has the second of two transactions fail: the sender is told
// by a notification, and the client that the message is sent.
func TestPartialFailure(t *testing.T) {
	for name, fail := range map[string]func(*mailtest.Server){
		"recipient": func(m *mailtest.Server) {
			m.Refuse = func(n int, to string) error {
				if n == 3 && to == "dave@elsewhere.test" { // 1 is the one that is given up
					return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
				}
				return nil
			}
		},
		"message": func(m *mailtest.Server) {
			m.RefuseData = func(n int) error {
				if n == 3 {
					return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
				}
				return nil
			}
		},
	} {
		w := mailtest.NewWorld(t, "alice", "bob")
		up := mailtest.NewServer(t, nil)
		fail(up)
		p := proxyOf(t, w, mailtest.Everything(t))
		p.Headers = smime.HeadersBaseline
		c := dial(t, serve(t, p, up.Addr))
		c.say("EHLO client.test", 250)
		c.mail("alice@example.org", note, 250, "bob@example.org", "dave@elsewhere.test")
		got := up.Got()
		if len(got) != 2 || got[1].From != "" || !slices.Equal(got[1].To, []string{"alice@example.org"}) {
			t.Fatalf("%s: %v", name, got)
		}
		for _, want := range []string{"multipart/report; report-type=delivery-status", "Final-Recipient: rfc822; dave@elsewhere.test", "Status: 5.1.1",
			"no such user", "To: bob@example.org", "Action: failed"} {
			if !strings.Contains(got[1].Data, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, got[1].Data)
			}
		}
		if strings.Contains(got[1].Data, "at noon") || strings.Contains(got[1].Data, "Lunch") {
			t.Errorf("%s: the notification has what was to be encrypted", name)
		}
	}
}

// TestFirstFails has the first of two transactions fail: nobody has the message,
// and the client is told so.
func TestFirstFails(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	up.RefuseData = func(int) error {
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "disk full"}
	}
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Addr))
	c.say("EHLO client.test", 250)
	if text := c.mail("alice@example.org", note, 452, "bob@example.org", "dave@elsewhere.test"); !strings.Contains(text, "4.3.1 disk full") {
		t.Error(text)
	}
	c.mail("alice@example.org", note, 452, "bob@example.org")
	if n := len(up.Got()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestAuth passes authentication on, whatever it is.
func TestAuth(t *testing.T) {
	w := mailtest.NewWorld(t)
	up := mailtest.NewServer(t, nil)
	host := mailtest.NewHost(t)
	server, config := host.Server, host.Client
	p := proxyOf(t, w, mailtest.Rules(t))
	p.TLS = server
	var accounts []string
	p.Keys = func(account string) Keys {
		accounts = append(accounts, account)
		return nil
	}
	addr := serve(t, p, up.Addr)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		name  string
		lines []string // and the replies to them
		codes []int
	}{
		{"PLAIN", []string{"AUTH PLAIN " + b64("\x00alice\x00secret")}, []int{235}},
		{"PLAIN, later", []string{"AUTH PLAIN", b64("\x00alice\x00secret")}, []int{334, 235}},
		{"LOGIN", []string{"AUTH LOGIN", b64("alice"), b64("secret")}, []int{334, 334, 235}},
		{"a wrong password, then the right one", []string{"AUTH PLAIN " + b64("\x00alice\x00wrong"), "AUTH PLAIN " + b64("\x00alice\x00secret")}, []int{535, 235}},
		{"given up, then done", []string{"AUTH LOGIN", "*", "AUTH LOGIN", b64("alice"), b64("secret")}, []int{334, 501, 334, 334, 235}},
		{"another mechanism", []string{"AUTH GSSAPI", "AUTH PLAIN " + b64("\x00alice\x00secret")}, []int{504, 235}},
		{"long", []string{"AUTH PLAIN " + b64("\x00alice\x00"+strings.Repeat("x", 9000)), "AUTH PLAIN " + b64("\x00alice\x00secret")}, []int{535, 235}},
	} {
		c := dial(t, addr)
		if text := c.say("EHLO client.test", 250); strings.Contains(text, "AUTH") || !strings.Contains(text, "STARTTLS") {
			t.Errorf("in the clear: %s", text)
		}
		c.say("MAIL FROM:<alice@example.org>", 530)
		c.startTLS(config)
		if text := c.say("EHLO client.test", 250); !strings.Contains(text, "AUTH PLAIN LOGIN\r\n") {
			t.Errorf("%s", text)
		}
		for i, line := range tc.lines {
			if text := c.say(line, tc.codes[i]); strings.Contains(text, "secret") {
				t.Errorf("%s: %s", tc.name, text)
			}
		}
		c.mail("alice@example.org", note, 250, "bob@example.org")
		if accounts[len(accounts)-1] != "alice" || up.Logins()[len(up.Logins())-1] != "alice" {
			t.Errorf("%s: the account is %q", tc.name, accounts[len(accounts)-1])
		}
		c.say("QUIT", 221)
	}
}

func (c *client) startTLS(config *cryptotls.Config) {
	c.t.Helper()
	c.say("STARTTLS", 220)
	conn := cryptotls.Client(c.conn, config)
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn = conn
	c.br.Reset(conn)
}

// TestStartTLSAttacks has clients that go on in the clear, or send something
// along with STARTTLS.
func TestStartTLSAttacks(t *testing.T) {
	w := mailtest.NewWorld(t)
	up := mailtest.NewServer(t, nil)
	host := mailtest.NewHost(t)
	server, config := host.Server, host.Client
	p := proxyOf(t, w, mailtest.Rules(t))
	p.TLS = server
	addr := serve(t, p, up.Addr)
	for name, lines := range map[string]string{
		"command":   "STARTTLS\r\nMAIL FROM:<mallory@example.org>\r\n",
		"bare LF":   "starttls\nNOOP\r\n",
		"blanks":    "STARTTLS \r\nNOOP\r\n",
		"one octet": "STARTTLS\r\nN",
		"a message": "STARTTLS\r\nEHLO x\r\nMAIL FROM:<mallory@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nx\r\n.\r\n",
	} {
		c := dial(t, addr)
		c.say("EHLO client.test", 250)
		c.send(lines)
		if code, text := c.reply(); code/100 == 2 {
			t.Errorf("%s: %s", name, text)
		}
		if rest, _ := io.ReadAll(c.br); strings.Contains(string(rest), "220") || strings.Contains(string(rest), "250") {
			t.Errorf("%s: and then %q", name, rest)
		}
	}
	for name, line := range map[string]string{"a parameter": "STARTTLS x", "a longer word": "STARTTLSX"} {
		c := dial(t, addr)
		c.send(line + "\r\n")
		if code, text := c.reply(); code/100 == 2 {
			t.Errorf("%s: %s", name, text)
		}
	}
	// A handshake that fails ends the connection.
	c := dial(t, addr)
	c.say("EHLO client.test", 250)
	c.say("STARTTLS", 220)
	c.send("MAIL FROM:<mallory@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
	rest, err := io.ReadAll(c.br)
	if strings.Contains(string(rest), "250") || strings.Contains(string(rest), "550") {
		t.Errorf("after the handshake failed: %q, %v", rest, err)
	}
	// In the clear there is nothing but STARTTLS, and after it none of what was said
	// before.
	c = dial(t, addr)
	c.say("EHLO client.test", 250)
	for _, line := range []string{"MAIL FROM:<alice@example.org>", "AUTH PLAIN AGEAYg==", "RCPT TO:<bob@example.org>", "DATA", "BDAT 5 LAST"} {
		c.say(line, 530)
	}
	c.startTLS(config)
	c.say("MAIL FROM:<alice@example.org>", 502)
	c.say("STARTTLS", 502)
	if text := c.say("EHLO client.test", 250); strings.Contains(text, "STARTTLS") {
		t.Error(text)
	}
	if up.Transactions() != 0 {
		t.Errorf("%d transactions", up.Transactions())
	}
}

// TestExtensions are those of the upstream, and SIZE leaves room for growth.
func TestExtensions(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, func(s *smtp.Server) { s.EnableSMTPUTF8, s.EnableDSN, s.MaxMessageBytes = false, false, 1<<20 })
	p := proxyOf(t, w, mailtest.Everything(t))
	c := dial(t, serve(t, p, up.Addr))
	text := c.say("EHLO client.test", 250)
	if strings.Contains(text, "SMTPUTF8") || strings.Contains(text, "DSN") || !strings.Contains(text, fmt.Sprintf("SIZE %d\r\n", shrunk(1<<20))) {
		t.Error(text)
	}
	// The largest message that is taken fits when it is protected.
	body := strings.Repeat("0123456789abcde\r\n", int(shrunk(1<<20)-300)/17)
	c.mail("alice@example.org", note+body, 250, "bob@example.org")
	if got := up.Got(); len(got) != 1 || len(got[0].Data) > 1<<20 {
		t.Errorf("%d messages", len(got))
	}
	c.mail("alice@example.org", note+body+body, 552, "bob@example.org")

	up = mailtest.NewServer(t, nil)
	c = dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Addr))
	c.say("EHLO client.test", 250)
	c.say("MAIL FROM:<alice@example.org> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>", 250)
	c.say("RCPT TO:<bob@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.org", 250)
	c.say("DATA", 354)
	c.send(note + ".\r\n")
	c.expect(250)
	if o := up.Got()[0].Opts; o.Body != smtp.Body8BitMIME || !o.UTF8 || o.Return != smtp.DSNReturnHeaders || o.EnvelopeID != "a+b" || o.Auth == nil || *o.Auth != "" {
		t.Errorf("%+v", o)
	}
}

// TestChunks sends a message with BDAT.
func TestChunks(t *testing.T) {
	w := mailtest.NewWorld(t, "alice", "bob")
	up := mailtest.NewServer(t, nil)
	c := dial(t, serve(t, proxyOf(t, w, mailtest.Everything(t)), up.Addr))
	c.say("EHLO client.test", 250)
	c.say("MAIL FROM:<alice@example.org>", 250)
	c.say("RCPT TO:<bob@example.org>", 250)
	c.send(fmt.Sprintf("BDAT %d\r\n%s", 20, note[:20]))
	c.expect(250)
	c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(note)-20, note[20:]))
	c.expect(250)
	m, err := w.Open(t, up.Got()[0].Data, "bob@example.org")
	if err != nil || m.Status != smime.StatusEncryptedSignedVerified {
		t.Errorf("%v", err)
	}
	// A reset in the middle leaves nothing behind.
	c.say("MAIL FROM:<alice@example.org>", 250)
	c.say("RCPT TO:<bob@example.org>", 250)
	c.send("BDAT 4\r\nab\r\n")
	c.expect(250)
	c.say("RSET", 250)
	c.mail("alice@example.org", note, 250, "bob@example.org")
	if n := len(up.Got()); n != 2 {
		t.Errorf("%d messages", n)
	}
}
