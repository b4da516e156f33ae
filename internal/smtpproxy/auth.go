package smtpproxy

import (
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postseal/postseal/internal/saslrelay"
)

// An exchange passes an authentication on. It implements sasl.Server.
type exchange struct {
	s         *session
	mechanism string
	begun     bool
	login     saslrelay.Name
}

// Next implements sasl.Server.
func (x *exchange) Next(response []byte) ([]byte, bool, error) {
	x.login.See(x.mechanism, response)
	var r *Reply
	var err error
	if x.s.p.Route != nil && !x.begun {
		if response == nil {
			return []byte(saslrelay.Begin(x.mechanism)), false, nil
		}
		if err = x.s.route(x.login.String()); err != nil {
			return nil, false, err
		}
		if x.mechanism == "LOGIN" { // its first question was asked here
			x.begun = true
			if r, err = x.s.up.auth(x.mechanism, nil); err != nil || r.Code != 334 {
				return x.next(r, err)
			}
		}
	}
	if !x.begun {
		x.begun = true
		r, err = x.s.up.auth(x.mechanism, response)
	} else {
		r, err = x.s.up.respond(response)
	}
	return x.next(r, err)
}

// next passes a reply of the upstream on.
func (x *exchange) next(r *Reply, err error) ([]byte, bool, error) {
	x.s.authenticating = err == nil && r.Code == 334
	switch {
	case err != nil:
		return nil, false, x.s.lost(err)
	case r.Code == 334:
		challenge, decodeErr := r.challenge()
		if decodeErr != nil {
			return nil, false, x.s.lost(ErrUpstreamReply)
		}
		return challenge, false, nil
	case r.Code == 235:
		x.s.authenticated(&x.login)
		return nil, true, nil
	}
	x.s.p.log().Info("login refused", "account", x.login.String(), "mechanism", x.mechanism, "code", r.Code)
	return nil, false, r.forClient()
}

// cancel ends an exchange that the client has given up: go-smtp does not tell.
func (s *session) cancelAuth() error {
	if !s.authenticating {
		return nil
	}
	s.authenticating = false
	_, err := s.up.command("*") // RFC 4954, Section 4: the answer is 501
	return err
}

// forClient returns a reply of the upstream as one to the client.
func (r *Reply) forClient() error {
	e := &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.EnhancedCode{r.Code / 100, 0, 0}}
	if r.Code/100 != 4 && r.Code/100 != 5 {
		// Something else was to come: it is not the client's fault.
		e.Code, e.EnhancedCode = 451, smtp.EnhancedCode{4, 3, 0}
	}
	text := make([]string, len(r.Lines))
	for i, line := range r.Lines {
		var code smtp.EnhancedCode
		code, text[i] = cutEnhanced(line)
		if code[0] == e.Code/100 {
			e.EnhancedCode = code
		}
	}
	e.Message = strings.Join(text, "\n")
	return e
}

// cutEnhanced splits a line into its enhanced status code (RFC 2034) and the
// rest. Without one the code is zero.
func cutEnhanced(line string) (smtp.EnhancedCode, string) {
	first, rest, _ := strings.Cut(line, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 {
		return smtp.EnhancedCode{}, line
	}
	var code smtp.EnhancedCode
	for i, part := range parts {
		if part == "" || len(part) > 3 {
			return smtp.EnhancedCode{}, line
		}
		for _, c := range part {
			if c < '0' || c > '9' {
				return smtp.EnhancedCode{}, line
			}
			code[i] = code[i]*10 + int(c-'0')
		}
	}
	return code, rest
}
