package tlstool

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"slices"

	"github.com/postseal/postseal/tls"
)

// hybrids are the key exchanges that a quantum computer does not break.
var hybrids = []cryptotls.CurveID{cryptotls.X25519MLKEM768, cryptotls.SecP256r1MLKEM768, cryptotls.SecP384r1MLKEM1024}

// classical are the others.
var classical = []cryptotls.CurveID{cryptotls.X25519, cryptotls.CurveP256, cryptotls.CurveP384, cryptotls.CurveP521}

// try makes a connection with an offer. An error is one of the report.
func (p *prober) try(ctx context.Context, change func(*cryptotls.Config)) (*cryptotls.ConnectionState, error) {
	config := p.config()
	if p.report.Handshake.ALPN == "" {
		config.NextProtos = nil
	}
	if p.opts.Certificate != nil {
		config.Certificates = []cryptotls.Certificate{*p.opts.Certificate}
	}
	config.CipherSuites = allSuites()
	change(config)
	conn, err := p.t.dial(ctx, config, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return &state, nil
}

// allSuites are those of TLS 1.2 and before that crypto/tls knows.
func allSuites() []uint16 {
	var ids []uint16
	for _, s := range append(cryptotls.CipherSuites(), cryptotls.InsecureCipherSuites()...) {
		if slices.Contains(s.SupportedVersions, cryptotls.VersionTLS12) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func insecure(suite uint16) bool {
	return slices.ContainsFunc(cryptotls.InsecureCipherSuites(), func(s *cryptotls.CipherSuite) bool { return s.ID == suite })
}

// offer records the outcome of an offer. It reports whether the next one is worth
// while: a server that is not there any more says nothing about offers.
func offer(list *[]Offer, o Offer, err error) bool {
	if o.Accepted = err == nil; err != nil {
		o.Error = printable(reason(err))
	}
	*list = append(*list, o)
	return err == nil || refused(err)
}

// reason is the end of an error's text: what the server said.
func reason(err error) string {
	if h, ok := errors.AsType[*tls.HandshakeError](err); ok {
		return h.Err.Error()
	}
	return err.Error()
}

// versions tries each version of TLS alone. What came out of the first connection
// is known.
func (p *prober) versions(ctx context.Context) {
	for v := uint16(cryptotls.VersionTLS13); v >= cryptotls.VersionTLS10; v-- {
		o := Offer{Name: cryptotls.VersionName(v), Weak: v < cryptotls.VersionTLS12}
		var err error
		if v != p.state.Version {
			_, err = p.try(ctx, func(c *cryptotls.Config) { c.MinVersion, c.MaxVersion = v, v })
		}
		if !offer(&p.report.Versions, o, err) {
			return
		}
	}
}

func (p *prober) accepts(version uint16) bool {
	return slices.ContainsFunc(p.report.Versions, func(o Offer) bool {
		return o.Accepted && o.Name == cryptotls.VersionName(version)
	})
}

// suites finds those of TLS 1.2: each time without the one that was chosen last.
func (p *prober) suites(ctx context.Context) {
	if !p.accepts(cryptotls.VersionTLS12) {
		return
	}
	left := allSuites()
	for len(left) > 0 {
		state, err := p.try(ctx, func(c *cryptotls.Config) {
			c.MinVersion, c.MaxVersion, c.CipherSuites = cryptotls.VersionTLS12, cryptotls.VersionTLS12, left
		})
		if err != nil {
			return
		}
		i := slices.Index(left, state.CipherSuite)
		if i < 0 {
			return
		}
		left = slices.Delete(left, i, i+1)
		offer(&p.report.Suites, Offer{Name: cryptotls.CipherSuiteName(state.CipherSuite), Weak: insecure(state.CipherSuite)}, nil)
	}
}

// groups tries each key exchange alone.
func (p *prober) groups(ctx context.Context) {
	version, list := uint16(cryptotls.VersionTLS13), slices.Concat(hybrids, classical)
	if !p.accepts(version) {
		version, list = cryptotls.VersionTLS12, classical
	}
	for _, group := range list {
		state, err := &p.state, error(nil)
		if group != p.state.CurveID {
			state, err = p.try(ctx, func(c *cryptotls.Config) {
				c.MinVersion, c.MaxVersion, c.CurvePreferences = version, version, []cryptotls.CurveID{group}
			})
		}
		if err == nil && state.CurveID != group {
			continue // the key exchange is another one, RSA
		}
		if !offer(&p.report.Groups, Offer{Name: group.String()}, err) {
			return
		}
	}
}
