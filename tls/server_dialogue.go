package tls

import "strings"

// A dialect is what differs between the protocols before STARTTLS. Replies have
// %s where the tag of an IMAP command goes; there is none in the others.
type dialect struct {
	greet    string // before the text of the greeting
	startTLS string // the command
	ready    string // the last line before the handshake
	unasked  string // said to a client that says more after the command
	tooMany  string // said to a client that never asks
	tagged   bool
	// reply returns the reply to another command, and whether the client leaves.
	reply func(s *Server, verb string) (text string, quit bool)
}

var dialects = [...]dialect{
	SMTP: smtpDialect, LMTP: smtpDialect,
	IMAP: {
		greet: "* OK ", startTLS: "STARTTLS", ready: "%s OK begin TLS now\r\n", tagged: true,
		unasked: "* BYE nothing may follow STARTTLS before TLS\r\n",
		tooMany: "* BYE too many commands without TLS\r\n",
		reply:   (*Server).imapReply,
	},
	POP3: {
		greet: "+OK ", startTLS: "STLS", ready: "+OK begin TLS now\r\n",
		unasked: "-ERR nothing may follow STLS before TLS\r\n",
		tooMany: "-ERR too many commands without TLS\r\n",
		reply:   (*Server).pop3Reply,
	},
}

var smtpDialect = dialect{
	greet: "220 ", startTLS: "STARTTLS", ready: "220 2.0.0 begin TLS now\r\n",
	// RFC 3207, Section 4: a client waits for the reply.
	unasked: "554 5.5.0 nothing may follow STARTTLS before TLS\r\n",
	tooMany: "421 4.7.0 too many commands without TLS\r\n",
	reply:   (*Server).smtpReply,
}

// dialogue greets and answers until the client asks for TLS.
func (s *Server) dialogue(w *wire) error {
	d := s.dialect
	if err := w.write(d.greet + s.cfg.Greeting + "\r\n"); err != nil {
		return err
	}
	w.step = stepCommand
	for range s.cfg.MaxCommands {
		line, err := w.line()
		if err != nil {
			return err
		}
		tag, command, ok := splitCommand(string(line), d.tagged)
		if !ok {
			return s.leave(w, d.tooMany, w.fail(ErrSyntax, nil))
		}
		if strings.EqualFold(command, d.startTLS) {
			return s.ready(w, tag)
		}
		if d.tagged && strings.HasSuffix(command, "+}") {
			// RFC 7888: its octets come without being asked for; it is no command
			// of ours that has them.
			return s.leave(w, d.tooMany, w.fail(ErrLiteral, nil))
		}
		verb, _, _ := strings.Cut(command, " ")
		text, quit := d.reply(s, strings.ToUpper(verb))
		if d.tagged {
			text = strings.ReplaceAll(text, "%s", tag)
		}
		if quit {
			return s.leave(w, text, w.fail(ErrNoStartTLS, nil))
		}
		if err = w.write(text); err != nil {
			return err
		}
	}
	return s.leave(w, d.tooMany, w.fail(ErrNoStartTLS, nil))
}

// ready answers the command for TLS, unless more follows it: that would have
// been said before TLS, and would count as said after it.
func (s *Server) ready(w *wire, tag string) error {
	w.step = stepStartTLS
	if err := w.quiet(); err != nil {
		return s.leave(w, s.dialect.unasked, err)
	}
	return w.write(strings.ReplaceAll(s.dialect.ready, "%s", tag))
}

// leave says a last word, if it can be said, and returns why.
func (s *Server) leave(w *wire, text string, err error) error {
	_ = w.write(text)
	return err
}

// splitCommand takes the tag off a command, if there are tags (RFC 9051, Section
// 2.2.1).
func splitCommand(line string, tagged bool) (tag, command string, ok bool) {
	if !tagged {
		return "", strings.TrimRight(line, " "), true
	}
	tag, command, ok = strings.Cut(line, " ")
	for _, r := range tag {
		ok = ok && r > 0x20 && r < 0x7f && !strings.ContainsRune(`(){%*"\]+`, r)
	}
	return tag, strings.TrimRight(command, " "), ok && tag != "" && len(tag) <= 64
}

// smtpReply is for SMTP and LMTP. RFC 3207, Section 4: what is not NOOP, EHLO,
// STARTTLS or QUIT gets 530.
func (s *Server) smtpReply(verb string) (text string, quit bool) {
	hello := "EHLO"
	if s.cfg.Protocol == LMTP {
		hello = "LHLO"
	}
	name, _, _ := strings.Cut(s.cfg.Greeting, " ")
	switch verb {
	case hello:
		text = "250-" + name + "\r\n"
		for _, c := range s.cfg.Capabilities {
			text += "250-" + c + "\r\n"
		}
		return text + "250 STARTTLS\r\n", false
	case "HELO":
		if s.cfg.Protocol == SMTP {
			return "250 " + name + "\r\n", false
		}
		return "500 5.5.1 this is LMTP\r\n", false // RFC 2033, Section 4.1
	case "NOOP", "RSET":
		return "250 2.0.0 done\r\n", false
	case "QUIT":
		return "221 2.0.0 bye\r\n", true
	case "STARTTLS":
		return "501 5.5.4 no parameters allowed\r\n", false
	}
	return "530 5.7.0 Must issue a STARTTLS command first\r\n", false
}

func (s *Server) imapReply(verb string) (text string, quit bool) {
	switch verb {
	case "CAPABILITY":
		// RFC 9051, Section 6.2.3: LOGINDISABLED.
		words := append([]string{"* CAPABILITY IMAP4rev1"}, s.cfg.Capabilities...)
		return strings.Join(append(words, "STARTTLS", "LOGINDISABLED"), " ") + "\r\n%s OK done\r\n", false
	case "NOOP":
		return "%s OK done\r\n", false
	case "LOGOUT":
		return "* BYE bye\r\n%s OK done\r\n", true
	case "STARTTLS":
		return "%s BAD no arguments allowed\r\n", false
	}
	// RFC 5530, Section 3. A client that has announced a literal gets this instead
	// of leave to send it.
	return "%s NO [PRIVACYREQUIRED] STARTTLS first\r\n", false
}

func (s *Server) pop3Reply(verb string) (text string, quit bool) {
	switch verb {
	case "CAPA":
		text = "+OK capabilities\r\n"
		for _, c := range s.cfg.Capabilities {
			text += c + "\r\n"
		}
		return text + "STLS\r\n.\r\n", false
	case "NOOP":
		return "+OK\r\n", false
	case "QUIT":
		return "+OK bye\r\n", true
	case "STLS":
		return "-ERR no arguments allowed\r\n", false
	}
	return "-ERR STLS first\r\n", false
}
