package smtpproxy

import "github.com/postseal/postseal/internal/saslrelay"

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

// cancelAuth ends an exchange that the client has given up: go-smtp does not tell.
func (s *session) cancelAuth() error {
	if !s.authenticating {
		return nil
	}
	s.authenticating = false
	_, err := s.up.command("*") // RFC 4954, Section 4: the answer is 501
	return err
}
