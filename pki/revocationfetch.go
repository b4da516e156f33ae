package pki

import (
	"errors"
)

// get runs one request and remembers how it went: nothing is asked for twice.
func (s *session) get(key string, fetch func() error) error {
	if err, done := s.fetched[key]; done {
		return err
	}
	err := s.ctx.Err()
	if err == nil {
		if s.fetches++; s.fetches > maxFetches {
			err = errBudget
		} else {
			err = fetch()
		}
	}
	s.fetched[key] = err
	return err
}

// fetchOCSP asks the responders that chain[0] names, until one answers. Its
// answer joins the others at hand. Errors are of type [*SourceError].
func (s *session) fetchOCSP(chain []*Certificate) []error {
	c := chain[0]
	if len(chain) < 2 {
		return nil
	}
	var errs []error
	for _, url := range webURLs(OCSPServers(c)) {
		err := s.get("OCSP "+url+" "+string(c.Raw), func() error { return s.askOCSP(c, chain[1], url) })
		if err == nil {
			break
		}
		fault := &SourceError{Source: "the OCSP responder at " + printable(url), Fault: SourceUnavailable, Err: err}
		switch {
		case errors.Is(err, errNonce):
			fault.Fault = SourceNonce
		case errors.As(err, new(*OCSPStatusError)):
			fault.Fault = SourceRefused
		case errors.As(err, new(*RevocationParseError)):
			fault.Fault = SourceMalformed
		}
		errs = append(errs, fault)
	}
	return errs
}

// errNonce says that a response has not the nonce of its request.
var errNonce = errors.New("the nonce does not match")

func (s *session) askOCSP(c, issuer *Certificate, url string) error {
	request, err := NewOCSPRequest(c, issuer, OCSPRequestOptions{NoNonce: s.opts.Nonce == NonceNone})
	if err != nil {
		return err
	}
	raw, err := s.opts.Fetcher.FetchOCSP(s.ctx, url, request)
	if err != nil {
		return err
	}
	response, err := ParseOCSPResponse(raw)
	if err != nil {
		return err
	}
	if !request.checkNonce(response, s.opts.Nonce == NonceRequired) {
		return errNonce
	}
	s.ocsp = append(s.ocsp, response)
	return nil
}

// fetchCRLs gets the CRLs at the distribution points of chain[0], and the delta
// CRLs that go with them. They join the others at hand. Errors are of type
// [*SourceError].
func (s *session) fetchCRLs(chain []*Certificate) []error {
	c := chain[0]
	points, _ := CRLDistributionPoints(c)
	fresh, _ := pointsOf(c, extFreshestCRL)
	var errs []error
	seen := len(s.crls)
	for _, list := range [][]DistributionPoint{points, fresh} {
		errs = append(errs, s.fetchPoints(list)...)
	}
	for _, crl := range append([]*CRL(nil), s.crls[min(seen, len(s.crls)):]...) {
		errs = append(errs, s.fetchPoints(crl.Freshest)...)
	}
	s.sortCRLs()
	return errs
}

// fetchPoints gets one CRL from each point: its URLs are alternatives.
func (s *session) fetchPoints(points []DistributionPoint) []error {
	var errs []error
	for i := range points {
		for _, url := range webURLs(points[i].URIs) {
			err := s.get("CRL "+url, func() error { return s.getCRL(url) })
			if err == nil {
				break
			}
			fault := SourceUnavailable
			if errors.As(err, new(*RevocationParseError)) {
				fault = SourceMalformed
			}
			errs = append(errs, &SourceError{Source: "the CRL at " + printable(url), Fault: fault, Err: err})
		}
	}
	return errs
}

func (s *session) getCRL(url string) error {
	raw, err := s.opts.Fetcher.FetchCRL(s.ctx, url)
	if err != nil {
		return err
	}
	crl, err := ParseCRL(raw)
	if err != nil {
		return err
	}
	s.crls = append(s.crls, crl)
	return nil
}
